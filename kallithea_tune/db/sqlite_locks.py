"""The locks on a SQLite file, as Linux lists them, and how much of its write-ahead log is in use.

The bytes that SQLite locks are those of https://www.sqlite.org/fileformat2.html (the lock-byte page
at 1 GiB) and https://www.sqlite.org/walformat.html (the locks of the WAL index).
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from dataclasses import dataclass
from typing import NamedTuple

from kallithea_tune.system import files, interruption

LOOK_EVERY_S = 0.02
_PENDING, _RESERVED, _SHARED = 0x40000000, 0x40000001, 0x40000002
_WAL_WRITE, _WAL_READ = 120, range(123, 128)
# iVersion, unused, iChange, isInit, bigEndCksum, szPage, mxFrame of the WAL index.
_WAL_INDEX = struct.Struct("=IIIBBHI")


@dataclass(frozen=True)
class Locker:
    """A process that held its lock whenever we looked, over `seconds` or longer."""

    process: int
    program: str
    seconds: float


@dataclass(frozen=True)
class SqliteLocks:
    """Who holds the write lock of a SQLite file, or reads from it, without a pause.

    `waiting` says that a writer waits for the readers to commit. In the journal mode WAL (`wal`),
    `wal_pages` are in use in the write-ahead log, since no checkpoint removed them.
    """

    path: str
    writers: tuple[Locker, ...] = ()
    readers: tuple[Locker, ...] = ()
    waiting: bool = False
    wal: bool = False
    wal_pages: int = 0
    wal_bytes: int = 0


class Lock(NamedTuple):
    """A lock of a process on a range of bytes of a file."""

    process: int
    writes: bool
    first: int
    last: float


def locks_on(path: str) -> list[Lock]:
    """Return the locks on the file, as Linux lists them in /proc/locks."""
    try:
        status = os.stat(path)
        with open("/proc/locks", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    found = []
    for fields in lines:
        # "1: POSIX ADVISORY WRITE 4242 08:01:655361 1073741826 1073742335"; "->" marks who waits.
        if len(fields) != 8 or fields[1] == "->":
            continue
        process, (major, minor, inode) = int(fields[4]), fields[5].split(":")
        if int(inode) != status.st_ino or process <= 0:
            continue
        device = os.makedev(int(major, 16), int(minor, 16))
        if device == status.st_dev or _has_open(process, status):
            last = float("inf") if fields[7] == "EOF" else float(fields[7])
            found.append(Lock(process, fields[3] == "WRITE", int(fields[6]), last))
    return found


def _has_open(process: int, status: os.stat_result) -> bool:
    """Whether the process has the file open: some file systems have a device of their own."""
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{process}/fd/{name}"), status):
                    return True
    return False


class _Look(NamedTuple):
    """Who was seen at one moment: the processes that write, read, and wait to commit."""

    writers: frozenset[int]
    readers: frozenset[int]
    waiting: bool


def _look(path: str) -> _Look:
    main, index = locks_on(path), locks_on(path + "-shm")
    written = _holding(main, True, _RESERVED) | _holding(main, True, _PENDING)
    written |= _holding(index, True, _WAL_WRITE)
    readers = _holding(main, False, _SHARED) if not index else frozenset()
    readers = readers.union(*(_holding(index, False, byte) for byte in _WAL_READ))
    waiting = _holding(main, True, _PENDING) and not _holding(main, True, _SHARED)
    return _Look(written, readers - written, bool(waiting))


def _holding(locks: list[Lock], writes: bool, byte: int) -> frozenset[int]:
    return frozenset(
        lock.process for lock in locks if lock.writes == writes and lock.first <= byte <= lock.last
    )


def watch(path: str, limit: float) -> SqliteLocks:
    """Look at the locks for up to `limit` seconds, as long as somebody has held one all the time.

    Nothing is opened by SQLite, so that no lock is taken. For a child.
    """
    started, commits = time.monotonic(), _commits(path)
    kept = _look(path)
    while kept.writers | kept.readers and time.monotonic() - started < limit:
        interruption.sleep(LOOK_EVERY_S)
        seen = _look(path)
        writers = kept.writers & seen.writers
        if _commits(path) != commits:
            # One who commits lets others have their turn.
            writers, commits = frozenset(), _commits(path)
        readers = kept.readers & seen.readers
        kept = _Look(writers, readers, kept.waiting and seen.waiting)
    watched = time.monotonic() - started
    pages, size = _wal(path)
    return SqliteLocks(
        path,
        tuple(_locker(item, watched) for item in sorted(kept.writers)),
        tuple(_locker(item, watched) for item in sorted(kept.readers)),
        kept.waiting,
        bool(size),
        pages,
        pages * size,
    )


def _locker(process: int, seconds: float) -> Locker:
    name = ""
    with contextlib.suppress(OSError), open(f"/proc/{process}/comm", errors="replace") as file:
        name = file.read().strip()
    return Locker(process, name, seconds)


def _commits(path: str) -> tuple[bytes, bytes]:
    """Return what every commit changes: the file's change counter, or the WAL index."""
    return _head(path, 28)[24:], _head(path + "-shm", 48)


def _wal(path: str) -> tuple[int, int]:
    """Return the pages in the write-ahead log and their size, as the WAL index has them."""
    head = _head(path + "-shm", _WAL_INDEX.size)
    if len(head) < _WAL_INDEX.size:
        return 0, 0
    *_, size, pages = _WAL_INDEX.unpack(head)
    return pages, 1 << 16 if size == 1 else size


def _head(path: str, length: int) -> bytes:
    try:
        with files.opened(*os.path.split(os.path.realpath(path))) as file:
            return file.read(length)
    except (OSError, files.Broken):
        return b""
