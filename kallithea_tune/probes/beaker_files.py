"""What Beaker keeps on disk: how many files, how large, how old, and what a namespace file holds.

Nothing here unpickles: a pickle runs whatever its writer wanted. Its opcodes are only read.
"""

from __future__ import annotations

import os
import pickletools
import re
import time
from typing import Any, BinaryIO, Iterator, Optional, Sequence

_DAY = 86400
# Beaker stores (time, expire, value) for each key; only a time between 2001 and 2096 can be the first of these.
_STORED_TIMES = (1e9, 4e9)
# A key that names a revision has a long hexadecimal word; one that is nothing else is a hash of a longer key.
_REVISION = re.compile(r" [0-9a-f]{12,40}\b")


def growth(directories: Sequence[str], old_days: float, budget: float) -> list[dict[str, Any]]:
    """Count the files below each directory: number, bytes on disk, and what of them is older than `old_days`.

    Uses scandir(3) and one lstat(2) per file, follows no symbolic link, and stops after `budget` seconds, saying so by
    ``complete``. The age is that of the last modification.
    """
    end = time.monotonic() + budget
    now = time.time()
    return [_count(directory, old_days, end, now) for directory in directories]


def _count(directory: str, old_days: float, end: float, now: float) -> dict[str, Any]:
    files = size = old = old_size = week = 0
    oldest = now
    complete = True
    for entry in _walk(directory):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # The application removed it meanwhile.
        files += 1
        # What deleting frees is blocks: a lock file is empty, and costs an inode only.
        occupied = status.st_blocks * 512
        size += occupied
        age = now - status.st_mtime
        oldest = min(oldest, status.st_mtime)
        if age > old_days * _DAY:
            old += 1
            old_size += occupied
        elif age < 7 * _DAY:
            week += 1
        if files % 200 == 0 and time.monotonic() > end:
            complete = False
            break
    return {
        "directory": directory, "exists": os.path.isdir(directory), "files": files, "bytes": size, "old_files": old,
        "old_bytes": old_size, "week_files": week, "oldest_days": (now - oldest) / _DAY, "complete": complete,
    }


def _walk(directory: str) -> Iterator[os.DirEntry[str]]:
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry
        except (FileNotFoundError, NotADirectoryError):
            continue


def namespaces(directory: str, budget: float) -> list[dict[str, Any]]:
    """Describe every namespace file of Beaker's file backend below `directory`, the largest first.

    `directory` is a region's ``data_dir``; the files are ``container_file/*/*/*.cache``. Within `budget` seconds.
    """
    end = time.monotonic() + budget
    found = []
    for entry in _walk(os.path.join(directory, "container_file")):
        if entry.name.endswith(".cache"):
            try:
                found.append((entry.stat(follow_symlinks=False).st_size, entry.path))
            except FileNotFoundError:
                continue
    found.sort(reverse=True)
    # A read of one file waits for no other: the largest costs most, and comes first.
    return [dict(read_namespace(path, max(0.05, end - time.monotonic())), path=path, data_dir=directory)
            for _, path in found[:20]]


def read_namespace(path: str, budget: float) -> dict[str, Any]:
    """Count the entries of a namespace file from its pickle's opcodes, never unpickling it.

    Returns ``bytes``, ``entries``, how many of them are ``expired``, how many keys hold a revision
    (``revision_keys``), and whether all was read within `budget` seconds (``complete``); where not, the counts are
    scaled up from what was.
    """
    entries = expired = revisions = 0
    complete = True
    now = time.time()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            for key, stored, lifetime in _entries(file, time.monotonic() + budget):
                entries += 1
                expired += lifetime is not None and now >= stored + lifetime
                revisions += bool(_REVISION.search(key))
        except (ValueError, TimeoutError):
            complete = False  # Cut short, not a pickle at all, or no time left.
        scale = 1.0 if complete else size / max(1, file.tell())
    return {
        "bytes": size, "entries": round(entries * scale), "expired": round(expired * scale),
        "revision_keys": round(revisions * scale), "complete": complete,
    }


def _entries(file: BinaryIO, end: float) -> Iterator[tuple[str, float, Optional[int]]]:
    """Yield key, time stored and lifetime in seconds of each entry; TimeoutError after `end`."""
    key, stored = "", 0.0
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if stored and (opcode.name.startswith("BININT") or opcode.name == "NONE"):
            # The operation after the time pushes the lifetime, which is None for one without end.
            yield key, stored, argument
            key, stored = "", 0.0
        elif isinstance(argument, float) and _STORED_TIMES[0] < argument < _STORED_TIMES[1]:
            stored = argument
        elif isinstance(argument, (bytes, str)) and len(argument) < 1024:
            key = argument if isinstance(argument, str) else argument.decode("latin-1")
        if step % 500 == 499 and time.monotonic() > end:
            raise TimeoutError
