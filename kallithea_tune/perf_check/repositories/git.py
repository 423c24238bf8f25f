"""Reads the state of a bare Git repository from its files: objects, packs, refs, and what the last
gc left.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from kallithea_tune.perf_check.repositories.hooks import git_hooks
from kallithea_tune.system.files import Broken, below, entries, size, text

_SECTION = re.compile(r'\[\s*([\w.-]+)(?:\s+"(.*)")?\s*\]')
_OBJECT = re.compile(r"[0-9a-f]{40}$")
_FAN_OUT = re.compile(r"[0-9a-f]{2}$")
# What dulwich 0.19 cannot read, by the name in the repository's config.
_UNREADABLE = {"extensions.objectformat": "sha1", "extensions.refstorage": "files"}


def size_hint(path: str) -> int:
    """Return what `path` holds in packs, in bytes: enough to tell large from small, at the price of
    one directory.
    """
    return sum(size(entry) for entry in entries(os.path.join(path, "objects", "pack")))


def examine(path: str, end: float) -> dict[str, Any]:
    """Count objects, packs and refs as ``git count-objects`` and ``for-each-ref`` would; Broken
    where that fails.

    Stops at `end` of the monotonic clock and says so by ``complete``.
    """
    objects = os.path.join(path, "objects")
    settings = config(text(os.path.join(path, "config")))
    for key, readable in _UNREADABLE.items():
        if settings.get(key, readable) != readable:
            raise Broken(f"{key} = {settings[key]}, which Kallithea cannot read")
    for line in text(os.path.join(objects, "info", "alternates")).splitlines():
        if line and not line.startswith("#") and not os.path.isdir(os.path.join(objects, line)):
            raise Broken(f"it borrows objects from {line}, which is not there")
    graph = os.path.join(objects, "info", "commit-graph")
    found: dict[str, Any] = {
        **_packs(os.path.join(objects, "pack")),
        **_refs(path),
        "commit_graph": os.path.exists(graph)
        or os.path.exists(os.path.join(graph + "s", "commit-graph-chain")),
        "gc_log": " ".join(text(os.path.join(path, "gc.log"), 500).split()),
        "gc_auto": settings.get("gc.auto"),
        "receive_autogc": settings.get("receive.autogc"),
        "hooks": git_hooks(path, settings),
    }
    loose = _loose(objects, end)
    return {
        **found,
        **loose,
        "bytes": found["pack_bytes"] + loose["loose_bytes"],
        "complete": time.monotonic() < end,
    }


def _loose(objects: str, end: float) -> dict[str, Any]:
    count = total = 0
    for directory in entries(objects):
        if not _FAN_OUT.match(directory.name) or time.monotonic() > end:
            continue
        for entry in entries(directory.path):
            if len(entry.name) == 38:
                count += 1
                taken = size(entry)
                total += taken
                if not taken and os.path.exists(entry.path):
                    raise Broken(f"the object {directory.name}{entry.name} is an empty file")
    return {"loose": count, "loose_bytes": total}


def _packs(directory: str) -> dict[str, Any]:
    names: dict[str, int] = {entry.name: size(entry) for entry in entries(directory)}
    packs = [name[:-5] for name in names if name.startswith("pack-") and name.endswith(".pack")]
    for name in packs:
        # A pack is renamed into place before its index, so a missing index may be one of a push
        # under way.
        if name + ".idx" in names and names[name + ".pack"] < 32:
            raise Broken(f"the pack {name}.pack is cut off")
    for name in names:
        if name.startswith("pack-") and name.endswith(".idx") and name[:-4] + ".pack" not in names:
            raise Broken(f"the pack of {name} is not there")
    return {
        "packs": sum(name + ".keep" not in names for name in packs),
        "pack_bytes": sum(names.values()),
        "bitmap": any(name.endswith(".bitmap") for name in names),
    }


def _refs(path: str) -> dict[str, Any]:
    head = text(os.path.join(path, "HEAD"), 1000).strip()
    if not head:
        raise Broken("its HEAD is missing or empty")
    loose = _loose_refs(path)
    for name, taken in loose.items():
        if not taken and os.path.exists(os.path.join(path, name)):
            raise Broken(f"{name} is an empty file")
    every = set(loose).union(_packed_refs(path))
    target = head[5:].strip() if head.startswith("ref: ") else ""
    branches = [name for name in every if name.startswith("refs/heads/")]
    return {
        "refs": len(every),
        "loose_refs": len(loose),
        # Kallithea shows a repository whose HEAD leads nowhere as empty.
        "lost_head": target if target and branches and target not in every else "",
        "branch": min(branches, default=""),
    }


def refs(path: str) -> dict[str, str]:
    """Return every ref with the object it names; symbolic ones are left out."""
    loose = {name: text(os.path.join(path, name), 100).strip() for name in _loose_refs(path)}
    return {
        name: value
        for name, value in {**_packed_refs(path), **loose}.items()
        if _OBJECT.match(value)
    }


def _loose_refs(path: str) -> dict[str, int]:
    return {
        os.path.relpath(entry.path, path): size(entry)
        for entry in below(os.path.join(path, "refs"), float("inf"))
        if not entry.name.endswith(".lock")
    }


def _packed_refs(path: str) -> dict[str, str]:
    lines = (
        line.split(" ", 1)
        for line in text(os.path.join(path, "packed-refs"), 1 << 26).splitlines()
        if line[:1] not in ("#", "^", "") and " " in line
    )
    return {name: value for value, name in lines}


def config(written: str) -> dict[str, str]:
    """Return the settings of a Git configuration file as ``section.key``, the last of each; nothing
    is included.
    """
    section, found = "", {}
    for line in written.splitlines():
        match = _SECTION.match(line.strip())
        if match:
            section = match[1].lower() + (f".{match[2]}" if match[2] else "")
        key, equals, value = line.partition("=")
        if not match and equals and key.strip()[:1] not in ("#", ";"):
            found[f"{section}.{key.strip().lower()}"] = value.strip()
    return found
