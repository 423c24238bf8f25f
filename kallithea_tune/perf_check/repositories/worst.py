"""Finds the repositories whose pages have the most to do: the most refs and revisions, the largest
README, the widest directory.

git is run on a scratch repository that borrows the objects of the real one; Mercurial opens it in a
process that cannot write there.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories import git_names
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.git import head_commit
from kallithea_tune.perf_check.repositories.survey import Survey, survey
from kallithea_tune.system import child, programs
from kallithea_tune.system.confine import confine
from kallithea_tune.system.files import Broken
from kallithea_tune.system.scratch import scratch

WORST_SECONDS = 1.0
# Those that Kallithea renders on a summary page (kallithea/lib/conf.py, ALL_READMES, ALL_EXTS);
# one in the root comes before one in doc/.
_README = re.compile(
    r"(?:(?:doc|docs|Docs|DOCS)/)?(?:readme|README|Readme)"
    r"(?:\.(?:rst|rest|RST|REST|txt|TXT|text|TEXT|md|MD|mkdn|MKDN|mdown|MDOWN|markdown|MARKDOWN))?$"
)


@dataclass(frozen=True)
class Extreme:
    """The repository `name` of `kind` with the largest of something: `size`, and where it is, the
    path of a README or of a directory (empty for the root).
    """

    name: str
    kind: Kind
    size: int
    place: str = ""


@dataclass(frozen=True)
class Contents:
    """The tip of a repository: its README and the bytes of that, its widest directory and the
    number of entries in that, both 0 where there is nothing; when it was committed (seconds since
    1970), 0 where nothing was.
    """

    name: str
    kind: Kind
    readme: str = ""
    readme_bytes: int = 0
    directory: str = ""
    entries: int = 0
    committed: float = 0.0


@dataclass(frozen=True)
class Tips:
    """The tips of those of `total` repositories that there was time to read."""

    contents: tuple[Contents, ...] = ()
    total: int = 0

    @property
    def examined(self) -> Examined:
        """How many tips were read."""
        return Examined(len(self.contents), self.total, "repository")


@dataclass(frozen=True)
class Worst:
    """The repositories with the most `refs`, the most `revisions` (Mercurial), the largest `readme`
    in bytes, and the widest `directory` in entries; None where no repository has any.

    The last two are of the tips of those of `total` repositories that there was time to `read`.
    """

    refs: Optional[Extreme] = None
    revisions: Optional[Extreme] = None
    readme: Optional[Extreme] = None
    directory: Optional[Extreme] = None
    read: int = 0
    total: int = 0

    @property
    def examined(self) -> Examined:
        """How many tips were read."""
        return Examined(self.read, self.total, "repository")


class _Listing(NamedTuple):
    """The paths of all files of a tip, what returns the bytes of one of them, and its date."""

    files: Sequence[str]
    size_of: Callable[[str], int]
    committed: float = 0.0


@measurement(
    seconds=WORST_SECONDS,
    writes="the system's temporary directory",
    needs=("database",),
    uses=(survey,),
    decided_by=("sqlalchemy.*", "git_path"),
)
def tips(context: Context) -> Tips:
    """Read the tips of the repositories, the largest repositories first."""
    surveyed = context.measure(survey)
    if not surveyed.git and not surveyed.hg:
        return Tips(total=surveyed.examined.total)
    within = max(0.3, min(WORST_SECONDS, context.deadline.left - 0.3))
    configured = context.instance.settings.get("git_path", "").strip()
    with scratch(tempfile.gettempdir()) as directory:
        contents = child.call(
            contents_of,
            within + 8,
            root=surveyed.root,
            names=_by_size(surveyed),
            directory=directory,
            # What git_path refers to may be a wrapper that takes its time.
            executable=programs.program("git") or configured,
            within=within,
        )
    return Tips(tuple(contents), surveyed.examined.total)


@measurement(needs=("database",), uses=(survey, tips))
def worst(context: Context) -> Worst:
    """Find the repositories whose pages have the most to do."""
    return judge_worst(context.measure(survey), context.measure(tips))


def _by_size(surveyed: Survey) -> Mapping[str, Kind]:
    kinds = {
        **{repository.name: Kind.git for repository in surveyed.git},
        **{repository.name: Kind.hg for repository in surveyed.hg},
    }
    return {name: kinds[name] for name in sorted(kinds, key=lambda name: -surveyed.sizes[name])}


def judge_worst(surveyed: Survey, read: Tips) -> Worst:
    """Return the extremes of what was surveyed and read."""
    contents = read.contents
    refs = [Extreme(item.name, Kind.git, item.refs.count) for item in surveyed.git]
    revisions = [Extreme(item.name, Kind.hg, item.revisions or 0) for item in surveyed.hg]
    readmes = [Extreme(item.name, item.kind, item.readme_bytes, item.readme) for item in contents]
    widest = [Extreme(item.name, item.kind, item.entries, item.directory) for item in contents]
    return Worst(
        refs=_largest(refs),
        revisions=_largest(revisions),
        readme=_largest(readmes),
        directory=_largest(widest),
        read=len(contents),
        total=read.total,
    )


def _largest(extremes: Sequence[Extreme]) -> Optional[Extreme]:
    largest = max(extremes, key=lambda extreme: extreme.size, default=None)
    return largest if largest and largest.size else None


def contents_of(
    root: str, names: Mapping[str, Kind], directory: str, executable: str, within: float
) -> Sequence[Contents]:
    """Read the tips of the repositories `names` in their order, for about `within` seconds.

    Those that cannot be read are left out. For a child process.
    """
    sys.dont_write_bytecode = True
    end = time.monotonic() + within
    git = hg = _git_listing(executable, directory, end)
    if Kind.hg in names.values():
        loading = time.monotonic()
        hg = _hg_listing(directory)
        end += time.monotonic() - loading
    found = []
    for name, kind in names.items():
        if time.monotonic() > end:
            break
        path = os.path.join(root, name)
        with contextlib.suppress(Broken, OSError, programs.TooLate):
            listed = git(path) if kind is Kind.git else hg(path)
            tip = summed_up(name, kind, listed.files, listed.size_of)
            found.append(replace(tip, committed=listed.committed))
    return found


def summed_up(
    name: str, kind: Kind, files: Sequence[str], size_of: Callable[[str], int]
) -> Contents:
    """Find README and widest directory among the paths `files`, and the former's `size_of`."""
    widths: Counter[str] = Counter()
    directories = set()
    for file in files:
        parent = os.path.dirname(file)
        widths[parent] += 1
        while parent and parent not in directories:
            directories.add(parent)
            parent = os.path.dirname(parent)
            widths[parent] += 1
    readmes = [file for file in files if file[:1] in "rRdD" and _README.match(file)]
    in_root = [file for file in readmes if "/" not in file]
    sizes = {file: size_of(file) for file in in_root or readmes}
    readme = max(sizes, key=lambda file: sizes[file], default="")
    widest = max(widths, key=lambda path: widths[path], default="")
    return Contents(
        name,
        kind,
        readme=readme,
        readme_bytes=sizes.get(readme, 0),
        directory=widest,
        entries=widths.get(widest, 0),
    )


def _git_listing(executable: str, directory: str, end: float) -> Callable[[str], _Listing]:
    """Return a function that lists the files at the HEAD of the Git repository at a path."""
    place = os.path.join(directory, "git")
    for name in ("objects/info", "refs"):
        os.makedirs(os.path.join(place, name))
    with open(os.path.join(place, "HEAD"), "wb") as file:
        file.write(b"ref: refs/heads/none\n")

    def run(*words: str) -> bytes:
        command = [executable, "--git-dir", place, *words]
        result = programs.run(command, max(0.3, end - time.monotonic()))
        if result.status:
            raise Broken("git cannot read it")
        return result.output

    def listing(path: str) -> _Listing:
        commit = head_commit(path)
        if not commit:
            return _Listing([], len)
        with open(os.path.join(place, "objects", "info", "alternates"), "wb") as file:
            file.write(git_names.quoted(os.path.join(path, "objects")) + b"\n")
        names = run("ls-tree", "-r", "--name-only", "-z", commit).split(b"\0")[:-1]
        return _Listing(
            list(map(os.fsdecode, names)),
            lambda file: int(run("cat-file", "-s", f"{commit}:{file}")),
            float(run("log", "-1", "--format=%ct", commit)),
        )

    return listing


def _hg_listing(directory: str) -> Callable[[str], _Listing]:
    """Return a function that lists the files at the tip of the Mercurial repository at a path."""
    hg, ui = importlib.import_module("mercurial.hg"), importlib.import_module("mercurial.ui").ui
    error = importlib.import_module("mercurial.error")
    unreadable = (error.RepoError, error.StorageError, error.Abort, LookupError, ValueError)
    confine(directory)

    def listing(path: str) -> _Listing:
        try:
            tip = hg.repository(ui.load(), os.fsencode(path))[b"tip"]
            files = list(map(os.fsdecode, tip.manifest()))
        except unreadable as failure:
            raise Broken(str(failure)) from None
        return _Listing(files, lambda file: size_of(tip, file), tip.date()[0])

    def size_of(tip: Any, file: str) -> int:
        try:
            return int(tip[os.fsencode(file)].size())
        except unreadable as failure:
            raise Broken(str(failure)) from None

    return listing
