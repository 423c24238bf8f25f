"""Finds what processes that were killed left in repositories: lock files, what pushes and upgrades
that were not completed have written, a commit-graph that was damaged.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from typing import Iterable, Iterator, Optional

from kallithea_tune.system.files import Entry, below, entries, entry, opened, text

# The directories in which git has files that it locks; refs are looked at with all below.
_LOCKED = ("", "objects/info", "objects/info/commit-graphs", "objects/pack")
# git's own names: tmp-objdir.c, index-pack.c, pack-write.c, object-file.c, repack.c.
TEMPORARY = ("tmp_*", "incoming-*", ".tmp-*")
_PREFIXES = tuple(pattern[:-1] for pattern in TEMPORARY)
# hg debugupgraderepo keeps the old store (mercurial/upgrade_utils/engine.py).
BACKUP = "upgradebackup.*"
# What takes longer than this is not under way any more.
ABORTED_S = 86400
_GRAPH, _CHAIN = "objects/info/commit-graph", "objects/info/commit-graphs"
_HASH = 20  # The SHA-1 at the end of a commit-graph: gitformat-commit-graph manual.
# Mercurial's own text: host, with the number of the PID namespace, and process.
_OWNER = re.compile(r"(?P<host>[^/:\s]+)(?:/(?P<namespace>[0-9a-f]+))?:(?P<process>\d{1,10})$")


@dataclass(frozen=True)
class LockOwner:
    """Who made a lock of Mercurial: the number of a process on a host, or in a container there,
    which the number of its PID namespace tells.
    """

    host: str
    namespace: str
    process: int


@dataclass(frozen=True)
class LockFile:
    """A lock file: its path, and when it was made (seconds since 1970).

    Only Mercurial's say who is their `owner`. With a `journal` a transaction was under way.
    """

    path: str
    made: float
    owner: Optional[LockOwner] = None
    journal: bool = False


@dataclass(frozen=True)
class Aborted:
    """Files that were not completed within `ABORTED_S`, their bytes, and the age of the
    oldest in seconds.
    """

    count: int = 0
    bytes: int = 0
    age_s: float = 0.0


@dataclass(frozen=True)
class Leftovers:
    """What is left in a repository; `damaged_graph` is the commit-graph that is not as git wrote
    it, the file or the directory of a chain, empty where there is none.
    """

    locks: tuple[LockFile, ...] = ()
    aborted: Aborted = Aborted()
    damaged_graph: str = ""


def of_git(path: str, end: float) -> Leftovers:
    """Look for leftovers in the bare repository at `path`, until `end` of the monotonic clock."""
    locks = [LockFile(item.path, item.status.st_mtime) for item in _git_locks(path)]
    found = _temporary(path, end)
    return Leftovers(tuple(locks), aborted(found, time.time()), _damaged_graph(path, end))


def _git_locks(path: str) -> Iterator[Entry]:
    for directory in _LOCKED:
        yield from (item for item in entries(path, directory) if _is_lock(item))
    yield from (item for item in below(path, float("inf"), "refs") if _is_lock(item))


def _is_lock(item: Entry) -> bool:
    return item.name.endswith(".lock") and item.is_file


def _temporary(path: str, end: float) -> Iterator[Entry]:
    """Yield the files that git writes before it knows their name, or until a push is complete."""
    for directory in ("objects", "objects/pack"):
        for item in entries(path, directory):
            if item.name.startswith(_PREFIXES):
                name = os.path.join(directory, item.name)
                yield from below(path, end, name) if item.is_directory else (item,)


def of_hg(path: str, root: str, store: str, end: float) -> Leftovers:
    """Look for leftovers in the Mercurial repository at `path`, whose store is in `root`, until
    `end` of the monotonic clock.
    """
    journal = entry(root, os.path.join(store, "journal")) is not None
    places = ((path, ".hg/wlock"), (root, os.path.join(store, "lock")))
    found = (_hg_lock(*place, journal) for place in places)
    backups = (
        file
        for item in entries(path, ".hg")
        if item.is_directory and item.name.startswith(BACKUP[:-1])
        for file in below(path, end, f".hg/{item.name}")
    )
    return Leftovers(tuple(filter(None, found)), aborted(backups, time.time()))


def _hg_lock(directory: str, name: str, journal: bool) -> Optional[LockFile]:
    found = entry(directory, name)
    if found is None:
        return None
    # A file where the file system has no symbolic links.
    content = os.readlink(found.path) if found.kind == "link" else text(directory, name, 200)
    match = _OWNER.match(content.strip())
    owner = (
        LockOwner(match["host"], match["namespace"] or "", int(match["process"])) if match else None
    )
    return LockFile(found.path, found.status.st_mtime, owner, journal)


def aborted(files: Iterable[Entry], now: float) -> Aborted:
    """Sum up those of `files` that are older than `ABORTED_S`."""
    old = [item.status for item in files if now - item.status.st_mtime > ABORTED_S]
    return Aborted(
        len(old),
        sum(status.st_size for status in old),
        max((now - status.st_mtime for status in old), default=0.0),
    )


def _damaged_graph(path: str, end: float) -> str:
    if entry(path, _GRAPH) and not _sound(path, _GRAPH, end):
        return _GRAPH
    for line in text(path, f"{_CHAIN}/commit-graph-chain").split():
        name = f"{_CHAIN}/graph-{line}.graph"
        if line.isalnum() and entry(path, name) and not _sound(path, name, end):
            return _CHAIN
    return ""


def _sound(path: str, name: str, end: float) -> bool:
    """Whether a file ends with the hash of what is before, as far as there is time for that."""
    with opened(path, name) as file:
        left = os.fstat(file.fileno()).st_size - _HASH
        digest = hashlib.sha1()
        while left > 0 and time.monotonic() < end:
            data = file.read(min(left, 1 << 20))
            if not data:
                return False
            digest.update(data)
            left -= len(data)
        return left > 0 or (left == 0 and file.read(_HASH) == digest.digest())
