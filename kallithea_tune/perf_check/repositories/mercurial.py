"""Reads the state of a Mercurial repository from its files: format, revisions, branch cache, what a
crash left.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
import struct
import sys
import time
from typing import Any, Collection, Optional

from kallithea_tune.perf_check.repositories.hooks import hg_hooks
from kallithea_tune.system.confine import confine
from kallithea_tune.system.files import Broken, below, entries, size, size_of, text

# Added by extensions, which Kallithea may have switched on.
_OF_EXTENSIONS = frozenset({"largefiles", "lfs"})
_ENTRY = 64
_SLOW_PATH = re.compile(r"(?m)^\s*revlog\.persistent-nodemap\.slow-path\s*=\s*(\w+)")


def supported() -> Optional[list[str]]:
    """Return the requirements that the Mercurial of this Python knows; None when it cannot be
    asked.
    """
    for module, name in (
        ("mercurial.localrepo", "gathersupportedrequirements"),
        ("mercurial.repo.requirements", "gather_supported_requirements"),
    ):
        try:
            known = getattr(importlib.import_module(module), name)(
                importlib.import_module("mercurial.ui").ui()
            )
            return sorted(item.decode("ascii") for item in known)
        except (ImportError, AttributeError):
            continue
    return None


def rust() -> bool:
    """Whether the Mercurial of this Python has its Rust extensions, without which a persistent
    nodemap is a burden.
    """
    try:
        importlib.import_module("mercurial.rustext")
    except ImportError:
        return False
    return True


def size_hint(path: str) -> int:
    """Return the bytes of changelog and manifest: enough to tell large from small, at the price of
    four look-ups.
    """
    store = os.path.join(path, ".hg", "store")
    return sum(
        size_of(os.path.join(store, name))
        for name in ("00changelog.i", "00changelog.d", "00manifest.i", "00manifest.d")
    )


def examine(path: str, end: float, known: Optional[Collection[str]]) -> dict[str, Any]:
    """Read requirements, count revisions and bytes; Broken where Mercurial, knowing `known`, would
    not open it.

    Stops at `end` of the monotonic clock and says so by ``complete``.
    """
    control = os.path.join(path, ".hg")
    requires = set(text(os.path.join(control, "requires")).split())
    shared = (
        text(os.path.join(control, "sharedpath")).rstrip("\n")
        if requires & {"shared", "relshared"}
        else ""
    )
    source = os.path.normpath(os.path.join(control, shared))
    store = (
        os.path.join(source, "store") if "store" in requires or "share-safe" in requires else source
    )
    requires |= set(text(os.path.join(store, "requires")).split())
    unknown = sorted(requires - set(known) - _OF_EXTENSIONS) if known is not None else []
    if unknown:
        raise Broken(
            "it requires {}, which this Mercurial does not know".format(", ".join(unknown))
        )
    if not os.path.isdir(store):
        raise Broken("its store is not there")
    busy = any(
        os.path.lexists(os.path.join(where, name))
        for where, name in ((store, "lock"), (control, "wlock"))
    )
    if os.path.exists(os.path.join(store, "journal")) and not busy:
        raise Broken("a transaction was abandoned; nobody can push")
    try:
        revisions = count(os.path.join(store, "00changelog.i"))
        count(os.path.join(store, "00manifest.i"))
    except Broken:
        if not busy:
            raise
        revisions = None
    taken = sum(size(entry) for entry in below(control, end))
    return {
        "requires": sorted(requires),
        "revisions": revisions,
        "bytes": taken,
        "complete": time.monotonic() < end,
        "manifest_bytes": sum(
            size_of(os.path.join(store, "00manifest" + suffix)) for suffix in (".i", ".d")
        ),
        "hooks": hg_hooks(path),
        "slow_path": _slow_path(control),
        **_branch_cache(os.path.join(source, "cache"), store),
    }


def count(index: str) -> Optional[int]:
    """Return the number of revisions of a revlog, None for a format other than 1.

    Raises Broken when the index ends within an entry, or its data file before the end of the last
    revision (mercurial/revlogutils/constants.py, INDEX_ENTRY_V1).
    """
    taken = size_of(index)
    if not taken:
        return 0
    with open(index, "rb") as file:
        head = file.read(4)
        flags, version = struct.unpack(">HH", head) if len(head) == 4 else (0, 0)
        if version != 1:
            return None
        name = os.path.basename(index)
        if flags & 1:
            return _count_inline(file, taken, name)
        if taken % _ENTRY:
            raise Broken(f"{name} ends within an entry")
        file.seek(taken - _ENTRY)
        offset, length = struct.unpack(">QI", file.read(12))
        start = offset >> 16 if taken > _ENTRY else 0
    if size_of(index[:-1] + "d") < start + length:
        raise Broken(f"{name[:-1]}d is shorter than its index says")
    return taken // _ENTRY


def _count_inline(file: Any, taken: int, name: str) -> int:
    position = revisions = 0
    while position < taken:
        file.seek(position)
        entry = file.read(_ENTRY)
        if len(entry) < _ENTRY:
            break
        position += _ENTRY + int(struct.unpack(">I", entry[8:12])[0])
        revisions += 1
    if position != taken:
        raise Broken(f"{name} ends within an entry")
    return revisions


def _branch_cache(cache: str, store: str) -> dict[str, Any]:
    """Return the last revision that any of the branch caches knows, -1 without, and whether it can
    be renewed.
    """
    newest = -1
    for entry in entries(cache):
        # branch2, branch2-served, branch2-visible ...; the caches of smaller views serve the larger
        # ones.
        if entry.name.startswith("branch2") or entry.name.startswith("branch3"):
            words = text(entry.path, 200).split("\n", 1)[0].split(" ")
            if len(words) > 1 and words[1].isdigit():
                newest = max(newest, int(words[1]))
    there = cache if os.path.isdir(cache) else os.path.dirname(cache)
    return {"cached_revision": newest, "cache_writable": _writable(there, store)}


def _writable(directory: str, store: str) -> bool:
    """Whether Kallithea can write to `directory`; root, who can always, goes by who owns the
    store.
    """
    if os.geteuid():
        return os.access(directory, os.W_OK)
    status = os.stat(directory)
    return bool(status.st_mode & stat.S_IWUSR) and status.st_uid == os.stat(store).st_uid


def _slow_path(control: str) -> str:
    """Return what the repository's own configuration says of a persistent nodemap without Rust."""
    found = _SLOW_PATH.findall(text(os.path.join(control, "hgrc")))
    return str(found[-1]) if found else ""


def branch_times(path: str, directory: str, within: float) -> list[float]:
    """Return the milliseconds that each of up to three views needs for the branches of the
    repository at `path`.

    Mercurial opens it in this process, without the repository's own configuration, and cannot write
    but in `directory`: a cache that is stale stays so. For a child process.
    """
    os.environ.update(HGPLAIN="1", HGRCPATH="", HGRCSKIPREPO="1")
    sys.dont_write_bytecode = True
    end = time.monotonic() + within
    hg, ui = importlib.import_module("mercurial.hg"), importlib.import_module("mercurial.ui").ui
    confine(directory)
    taken: list[float] = []
    while len(taken) < 3 and (not taken or time.monotonic() + taken[-1] / 1000 < end):
        repository = hg.repository(ui.load(), os.fsencode(path)).unfiltered()
        began = time.perf_counter()
        repository.branchmap()
        taken.append((time.perf_counter() - began) * 1000)
    return taken
