"""Finds the hooks of repositories, and whether they can start; none of them is ever run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import time
from typing import Any, Mapping, Optional

from kallithea_tune.system.files import entries, text

_VERSION = re.compile(r"(?m)^KALLITHEA_HOOK_VER\s*=\s*['\"]?([^'\"\n]*)")


def git_hooks(path: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """Describe the hooks of a bare Git repository with these `settings`: ``post_receive``,
    ``pre_receive``, ``custom``.

    The first two are None where there is no such file; ``version`` is Kallithea's that wrote it,
    empty for another's.
    """
    directory = os.path.join(path, "hooks")
    post, pre = (
        _git_hook(os.path.join(directory, name)) for name in ("post-receive", "pre-receive")
    )
    ours = {
        name
        for name, hook in (("post-receive", post), ("pre-receive", pre))
        if hook and hook["version"]
    }
    active = sorted(
        entry.name
        for entry in entries(directory)
        if not entry.name.endswith(".sample") and os.access(entry.path, os.X_OK) and entry.is_file()
    )
    return {
        "post_receive": post,
        "pre_receive": pre,
        "custom": [name for name in active if name not in ours],
        "hooks_path": settings.get("core.hookspath", ""),
    }


def _git_hook(path: str) -> Optional[dict[str, Any]]:
    if not os.path.lexists(path):
        return None
    written = text(path, 4096)
    match = _VERSION.search(written)
    # Kallithea takes a symbolic link for somebody else's (kallithea/model/scm.py,
    # install_git_hooks).
    version = match[1] if match and not os.path.islink(path) else ""
    first = written.split("\n", 1)[0]
    words = first[2:].split() if first.startswith("#!") else []
    if words[:1] and os.path.basename(words[0]) == "env":
        words = words[1:]
    return {
        "version": version,
        "interpreter": words[0] if words else "",
        "executable": os.access(path, os.X_OK),
        "starts": bool(words and shutil.which(words[0])),
    }


def hg_hooks(path: str) -> dict[str, str]:
    """Return the hooks that the ``hgrc`` of a Mercurial repository sets; included files are not
    read.
    """
    section, found = "", {}
    for line in text(os.path.join(path, ".hg", "hgrc")).splitlines():
        if line.startswith("["):
            section = line.strip().strip("[]")
        key, equals, value = line.partition("=")
        if section == "hooks" and equals and key.strip() and key[0] not in " \t#;":
            found[key.strip()] = value.strip()
    return found


def missing_file(hook: str) -> str:
    """Return the file, given by its absolute path, that a hook of Mercurial needs and that is not
    there, or nothing.
    """
    if hook.startswith("python:"):
        path = hook[len("python:") :].rpartition(":")[0]
    else:
        try:
            path = (shlex.split(hook) or [""])[0]
        except ValueError:
            return ""
    return path if os.path.isabs(path) and not os.path.exists(path) else ""


def repo_size(path: str, within: float) -> dict[str, Any]:
    """Time what Kallithea's hook ``repo_size`` does after each push: walk the repository and ask
    each file's size.

    Stops after `within` seconds and says so by ``complete``.
    """
    began = time.perf_counter()
    files = 0
    for parent, _, names in os.walk(path):
        for name in names:
            files += 1
            try:
                os.path.getsize(os.path.join(parent, name))
            except OSError:
                continue
        if time.perf_counter() - began > within:
            return {"ms": (time.perf_counter() - began) * 1000, "files": files, "complete": False}
    return {"ms": (time.perf_counter() - began) * 1000, "files": files, "complete": True}
