"""Reads the hooks of a Git repository and whether they can start; none of them is ever run."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from typing import Mapping, Optional

from kallithea_tune.system.files import entries, text

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

    `hooks_path` is its setting ``core.hooksPath``, by which git looks for all hooks elsewhere.
    """

    post_receive: Optional[GitHook]
    pre_receive: Optional[GitHook] = None
    custom: tuple[str, ...] = ()
    hooks_path: str = ""


def read_hooks(path: str, settings: Mapping[str, str]) -> GitHooks:
    """Describe the hooks of the bare repository at `path`, which has these `settings`."""
    directory = os.path.join(path, "hooks")
    post, pre = (
        _read_hook(os.path.join(directory, name)) for name in ("post-receive", "pre-receive")
    )
    of_kallithea = {
        name
        for name, hook in (("post-receive", post), ("pre-receive", pre))
        if hook and hook.version
    }
    active = sorted(
        entry.name
        for entry in entries(directory)
        if not entry.name.endswith(".sample") and os.access(entry.path, os.X_OK) and entry.is_file()
    )
    custom = tuple(name for name in active if name not in of_kallithea)
    return GitHooks(post, pre, custom, settings.get("core.hookspath", ""))


def _read_hook(path: str) -> Optional[GitHook]:
    if not os.path.lexists(path):
        return None
    source = text(path, 4096)
    match = _VERSION.search(source)
    # Kallithea takes a symbolic link for somebody else's (kallithea/model/scm.py,
    # install_git_hooks).
    version = match[1] if match and not os.path.islink(path) else ""
    first = source.split("\n", 1)[0]
    words = first[2:].split() if first.startswith("#!") else []
    if words[:1] and os.path.basename(words[0]) == "env":
        words = words[1:]
    return GitHook(
        version=version,
        interpreter=words[0] if words else "",
        executable=os.access(path, os.X_OK),
        interpreter_found=bool(words and shutil.which(words[0])),
    )
