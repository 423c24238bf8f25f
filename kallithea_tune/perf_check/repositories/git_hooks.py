"""Reads the hooks of a Git repository and whether they can start; none of them is ever run."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import Mapping, Optional

from kallithea_tune.system.files import Entry, NotAFile, entries, entry, text

_VERSION = re.compile(r"(?m)^KALLITHEA_HOOK_VER\s*=\s*['\"]?([^'\"\n]*)")


@dataclass(frozen=True)
class GitHook:
    """A hook script.

    `version` is that of the Kallithea that wrote it, empty for a script of somebody else;
    `interpreter_found` says whether the program of its first line exists.
    """

    version: str
    interpreter: str
    executable: bool
    interpreter_found: bool


@dataclass(frozen=True)
class GitHooks:
    """The hooks of a repository: two that Kallithea writes, None where they are missing, and the
    names of the active others.

    `hooks_path` is its setting ``core.hooksPath``, by which git looks for all hooks elsewhere, or
    where the directory is `linked` to.
    """

    post_receive: Optional[GitHook]
    pre_receive: Optional[GitHook] = None
    custom: tuple[str, ...] = ()
    hooks_path: str = ""
    linked: bool = False


def read_hooks(path: str, settings: Mapping[str, str]) -> GitHooks:
    """Describe the hooks of the bare repository at `path`, which has these `settings`."""
    found = entry(path, "hooks")
    if found and found.kind == "link":
        # git follows it, and Kallithea's own hook is not looked for there.
        return GitHooks(None, hooks_path=os.readlink(found.path), linked=True)
    post, pre = (_read_hook(path, f"hooks/{name}") for name in ("post-receive", "pre-receive"))
    of_kallithea = {
        name
        for name, hook in (("post-receive", post), ("pre-receive", pre))
        if hook and hook.version
    }
    active = sorted(
        item.name
        for item in entries(path, "hooks")
        if not item.name.endswith(".sample") and _can_start(item)
    )
    custom = tuple(name for name in active if name not in of_kallithea)
    return GitHooks(post, pre, custom, settings.get("core.hookspath", ""))


def _can_start(hook: Entry) -> bool:
    # A link leads to somebody else's script, which is not looked at.
    return hook.kind in ("file", "link") and _executable(hook.path)


def _executable(path: str) -> bool:
    # As the owner of the data: by default the real user, root, would be asked about.
    return os.access(path, os.X_OK, effective_ids=True)


def _read_hook(path: str, name: str) -> Optional[GitHook]:
    hook = os.path.join(path, name)
    try:
        source = text(path, name, 4096)
    except NotAFile as error:
        if error.kind != "link":
            raise
        # Kallithea takes a symbolic link for somebody else's (kallithea/model/scm.py,
        # install_git_hooks).
        return GitHook("", "", _executable(hook), interpreter_found=True)
    if not entry(path, name):
        return None
    match = _VERSION.search(source)
    version = match[1] if match else ""
    first = source.split("\n", 1)[0]
    words = first[2:].split() if first.startswith("#!") else []
    if words[:1] and os.path.basename(words[0]) == "env":
        words = words[1:]
    return GitHook(
        version=version,
        interpreter=words[0] if words else "",
        executable=_executable(hook),
        interpreter_found=bool(words and shutil.which(words[0])),
    )
