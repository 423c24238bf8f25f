"""Ways in which what lies in repositories and caches has git, Mercurial or Kallithea start
something.

Each leaves a mark of its own, so that a test sees which were used. Programs leave them and not
Python's own `open`: the process that loads the application can write in its scratch directory only.
"""

from __future__ import annotations

import os
import pickle
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

_SIGNED = (
    "tree {tree}\nparent {parent}\nauthor A <a@example.com> {time} +0000\n"
    "committer A <a@example.com> {time} +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n YQ==\n"
    " -----END PGP SIGNATURE-----\n\nSigned\n"
)
ATTRIBUTES = "README.rst diff=command\nmodule_0.py diff=textconv\n* filter=planted\n"
_MISSING = "1" * 40


@dataclass(frozen=True)
class Git:
    """The `config` of a repository, and the arguments of a git that is led by it to start
    ``{script}``.

    `prevented` says by what: the "environment", "options" of the command, or that it is "not run".
    """

    config: str
    arguments: str
    prevented: str = "environment"


_PROMISE = "\tpromisor = true\n\tpartialclonefilter = blob:none\n"
GIT: Mapping[str, Git] = {
    "fsmonitor": Git("[core]\n\tfsmonitor = {script}\n", "--work-tree={tree} status"),
    "hooksPath": Git("[core]\n\thooksPath = {hooks}\n", "update-ref refs/heads/x HEAD"),
    "alternateRefsCommand": Git(
        "[core]\n\talternateRefsCommand = {script}\n", "rev-list --alternate-refs --all"
    ),
    "editor": Git("[core]\n\teditor = {script}\n", "tag -a planted"),
    "gpg": Git("[gpg]\n\tprogram = {script}\n[log]\n\tshowSignature = true\n", "log -1"),
    "sshCommand": Git(
        '[core]\n\tsshCommand = {script}\n[remote "a"]\n\turl = ssh://a/a\n' + _PROMISE,
        f"cat-file -e {_MISSING}",
    ),
    "gitProxy": Git(
        '[core]\n\tgitProxy = {script}\n[remote "b"]\n\turl = git://b/b\n' + _PROMISE,
        f"cat-file -e {_MISSING}",
    ),
    "ext": Git(
        '[protocol "ext"]\n\tallow = always\n[remote "c"]\n\turl = ext::{script}\n' + _PROMISE,
        f"cat-file -e {_MISSING}",
    ),
    "uploadpack": Git(
        '[remote "d"]\n\turl = {repository}\n\tuploadpack = {script}\n' + _PROMISE,
        f"cat-file -e {_MISSING}",
    ),
    "submodule": Git("[diff]\n\tsubmodule = diff\n", "diff --no-ext-diff HEAD~1 HEAD -- sub"),
    "external": Git("[diff]\n\texternal = {script}\n", "diff HEAD~1 HEAD", "options"),
    "command": Git('[diff "command"]\n\tcommand = {script}\n', "diff HEAD~1 HEAD", "options"),
    "textconv": Git('[diff "textconv"]\n\ttextconv = {script}\n', "show HEAD", "options"),
    "blame": Git('[diff "textconv"]\n\ttextconv = {script}\n', "blame HEAD module_0.py", "options"),
    "include": Git("[include]\n\tpath = {included}\n", "diff HEAD~1 HEAD", "options"),
    "smudge": Git('[filter "planted"]\n\tsmudge = {script}\n', "archive HEAD", "not run"),
    "clean": Git(
        '[filter "planted"]\n\tclean = {script}\n', "hash-object --path a --stdin", "not run"
    ),
    "tar": Git('[tar "x"]\n\tcommand = {script}\n', "archive --format=x HEAD", "not run"),
    "alias": Git("[alias]\n\tplanted = !{script}\n", "planted", "not run"),
}
# The hgrc of a repository, and the arguments of an hg that is led by it to start {script}.
HG: Mapping[str, "tuple[str, str]"] = {
    "extension": ("[extensions]\nplanted = {module}\n", "log"),
    "hg-include": ("%include {included}\n", "log"),
    "pre-hook": ("[hooks]\npre-log = {script}\n", "log"),
    "python-hook": ("[hooks]\npre-log.python = python:{module}:run\n", "log"),
    "hg-alias": ("[alias]\nlog = !{script}\n", "log"),
    "hg-ssh": ("[ui]\nssh = {script}\n", "incoming ssh://a/a"),
}


class Planter:
    """Plants into repositories; `used` has the names of the ways that were used since."""

    def __init__(self, directory: Path) -> None:
        self._marks, self._tools = directory / "marks", directory / "tools"
        for place in (self._marks, self._tools):
            place.mkdir(parents=True)
        # Whoever uses a way leaves its mark.
        self._marks.chmod(0o1777)

    @property
    def used(self) -> "list[str]":
        return sorted(path.name for path in self._marks.iterdir())

    def forget(self) -> None:
        for path in self._marks.iterdir():
            path.unlink()

    def script(self, name: str) -> Path:
        """Return a program that leaves the mark `name`."""
        path = self._tools / name
        path.write_text(f"#!/bin/sh\n: > '{self._marks / name}'\n")
        path.chmod(0o755)
        return path

    def code(self, name: str) -> str:
        """Return a Python expression that leaves the mark `name`."""
        return f"__import__('os').system({str(self.script(name))!r})"

    def pickled(self, name: str) -> bytes:
        """Return a pickle of an empty dict that leaves the mark `name` when it is read."""
        expression = f"({self.code(name)} and {{}}) or {{}}"

        class Planted:
            def __reduce__(self) -> "tuple[object, ...]":
                return eval, (expression,)

        return pickle.dumps(Planted())

    def git(self, repository: Path, *names: str) -> "dict[str, str]":
        """Plant those of `GIT` into a bare repository; return the words for their arguments."""
        _commit(repository)
        info = repository / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(ATTRIBUTES)
        words = {"repository": str(repository), "tree": str(repository) + "-tree"}
        Path(words["tree"]).mkdir()
        for name in names:
            words["script"] = str(self.script(name))
            hooks = self._tools / "hooks"
            hooks.mkdir(exist_ok=True)
            if name == "hooksPath":
                for hook in ("reference-transaction", "post-index-change", "pre-auto-gc"):
                    (hooks / hook).write_text(f"#!/bin/sh\nexec {words['script']}\n")
                    (hooks / hook).chmod(0o755)
            included = self._tools / "gitconfig"
            included.write_text(GIT["external"].config.format(script=self.script("include")))
            with open(str(repository / "config"), "a") as file:
                file.write(
                    GIT[name].config.format(hooks=str(hooks), included=str(included), **words)
                )
            if name == "alternateRefsCommand":
                self._alternate(repository)
            if name == "submodule":
                run(repository / "sub", "config", "diff.external", words["script"])
        return words

    def _alternate(self, repository: Path) -> None:
        other = Path(str(repository) + "-other")
        subprocess.run(["git", "init", "-q", "--bare", str(other)], check=True)
        (repository / "objects" / "info").mkdir(exist_ok=True)
        (repository / "objects" / "info" / "alternates").write_text(f"{other / 'objects'}\n")

    def hg(self, repository: Path, *names: str) -> "dict[str, str]":
        """Plant those of `HG` into a repository; return the words for their arguments."""
        words = {"repository": str(repository), "tree": str(repository) + "-clone"}
        hgrc = ""
        for name in names:
            module, included = self._tools / f"{name}_module.py", self._tools / f"{name}_hgrc"
            module.write_text(f"{self.code(name)}\ndef run(*_, **__): pass\n")
            included.write_text(f"[extensions]\nincluded = {module}\n")
            words.update(script=str(self.script(name)), module=str(module), included=str(included))
            hgrc += HG[name][0].format(**words)
        (repository / ".hg" / "hgrc").write_text(hgrc)
        if "extension" in names:
            module = self._tools / "not_shared.py"
            module.write_text(self.code("not-shared") + "\n")
            (repository / ".hg" / "hgrc-not-shared").write_text(
                f"[extensions]\nnotshared = {module}\n"
            )
        return words


def run(repository: Path, *arguments: str, **options: object) -> str:
    """Return what git says about a repository."""
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        check=True,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        **options,  # type: ignore[call-overload]
    )
    return str(done.stdout).strip()


def _commit(repository: Path) -> None:
    """Add a signed commit of today that changes files of every driver, and the commit in `sub`."""
    nested = repository / "sub"
    subprocess.run(["git", "init", "-q", str(nested)], check=True)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    commits = []
    for content in ("one", "two"):
        (nested / "file").write_text(content)
        run(nested, "add", "file")
        run(nested, *who, "commit", "-q", "-m", content)
        commits.append(run(nested, "rev-parse", "HEAD"))
    branch, index = run(repository, "symbolic-ref", "HEAD"), str(repository) + ".index"
    environment = dict(os.environ, GIT_INDEX_FILE=index)
    run(repository, "read-tree", "HEAD", env=environment)
    for number, sub in enumerate(commits):
        entries = [f"160000,{sub},sub"]
        for name, content in (
            ("README.rst", f"Title\n=====\n\nText {number}\n"),
            ("module_0.py", f"number = {number}\n"),
            (".gitattributes", ATTRIBUTES),
            (".gitmodules", '[submodule "sub"]\n\tpath = sub\n\turl = https://example.com/sub\n'),
        ):
            blob = run(repository, "hash-object", "-w", "--stdin", input=content)
            entries.append(f"100644,{blob},{name}")
        for entry in entries:
            run(repository, "update-index", "--add", "--cacheinfo", entry, env=environment)
        tree = run(repository, "write-tree", env=environment)
        parent = run(repository, "rev-parse", "HEAD")
        commit = _SIGNED.format(tree=tree, parent=parent, time=1_790_000_000 + number)
        name = run(repository, "hash-object", "-t", "commit", "-w", "--stdin", input=commit)
        run(repository, "update-ref", branch, name)
    os.unlink(index)
    if not (repository / "index").exists():
        run(repository, "read-tree", "HEAD")
