"""What Beaker keeps on disk: how many files, how large, how old, and what a namespace file holds.

Nothing here unpickles: a pickle runs whatever its writer wanted. Its opcodes are only read.
"""

from __future__ import annotations

import os
import pickletools
import re
import shlex
import stat
import time
from typing import Any, BinaryIO, Iterator, Mapping, Optional, Sequence

from kallithea_tune.errors import NotMeasured

_DAY = 86400
# A namespace smaller than this costs a few milliseconds at most, and is read only where it is asked
# for by name.
LARGE = 256 * 1024
# A namespace that nothing wrote to for so many days is not in use.
IN_USE_DAYS = 30
# Strings of a pickle that are longer are values, not keys.
_KEY_BYTES = 1024
# Beaker stores (time, expire, value) for each key; only a time between 2001 and 2096 can be the
# first of these.
_STORED_TIMES = (1e9, 4e9)
# A key that names a revision has a long hexadecimal word; one that is nothing else is a hash of a
# longer key.
_REVISION = re.compile(r" [0-9a-f]{12,40}\b")


def growth(
    groups: Sequence[Sequence[str]], old_days: Sequence[int], budget: float
) -> list[dict[str, Any]]:
    """Count the regular files that Beaker keeps below each group of directories, ``data_dir`` and
    ``lock_dir``.

    Returns number, bytes on disk, and what of them ``find -mtime +old_days`` finds; ``places`` are
    the directories that hold nothing but Beaker's files, as words for a shell. Uses scandir(3) and
    one lstat(2) per file, follows no symbolic link, and stops after `budget` seconds, of which each
    group has its part, saying so by ``complete``.
    """
    end = time.monotonic() + budget
    counted = []
    for number, (directories, days) in enumerate(zip(groups, old_days)):
        share = (end - time.monotonic()) / (len(groups) - number)
        own = [(words, path) for directory in directories for words, path in _own(directory)]
        found = _count([path for _, path in own], days, time.monotonic() + share)
        counted.append(dict(found, places=" ".join(dict.fromkeys(words for words, _ in own))))
    return counted


def _own(directory: str) -> Iterator[tuple[str, str]]:
    """Yield what of `directory` is Beaker's alone, so that deleting there hits nothing else: a
    shell word, and a path.

    That is ``container_*`` in a ``data_dir``, and the whole of a ``lock_dir`` that has sixteen
    directories at most, of one hexadecimal digit each.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.startswith("container_"):
            yield shlex.quote(directory) + "/container_*", os.path.join(directory, name)
    if names and all(re.fullmatch("[0-9a-f]", name) for name in names):
        yield shlex.quote(directory), directory


def _count(directories: Sequence[str], old_days: int, end: float) -> dict[str, Any]:
    now = time.time()
    files = size = old = old_size = week = 0
    oldest = now
    complete = True
    for number, entry in enumerate(_walk(directories)):
        if number % 200 == 199 and time.monotonic() > end:
            complete = False
            break
        status = _status(entry)
        if status is None:
            continue
        files += 1
        # What deleting frees is blocks: a lock file is empty, and costs an inode only.
        occupied = status.st_blocks * 512
        size += occupied
        days = (now - status.st_mtime) // _DAY
        oldest = min(oldest, status.st_mtime)
        week += days < 7
        if days > old_days:
            old += 1
            old_size += occupied
    return {
        "files": files,
        "bytes": size,
        "old_files": old,
        "old_bytes": old_size,
        "week_files": week,
        "oldest_days": (now - oldest) / _DAY,
        "complete": complete,
    }


def _walk(directories: Sequence[str]) -> Iterator[os.DirEntry[str]]:
    waiting = list(directories)
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
        except PermissionError as error:
            raise NotMeasured(f"{error.filename}: {error.strerror}") from None


def _status(entry: os.DirEntry[str]) -> Optional[os.stat_result]:
    """Return the status of a regular file, None for anything else and for what the application has
    just removed.
    """
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def namespaces(known: Mapping[str, str], budget: float) -> list[dict[str, Any]]:
    """Describe the namespace files of Beaker's file backend, the largest first.

    `known` maps the path of each that is looked for to its region's ``data_dir``. Others in the
    same directories (``container_file/*/*/*.cache``) are read where they are large and were written
    to within a month, as far as `budget` seconds allow. Raises NotMeasured where one cannot be
    read.
    """
    end = time.monotonic() + budget
    found = {
        path: (os.path.getsize(path), directory)
        for path, directory in known.items()
        if os.path.isfile(path)
    }
    for directory in sorted(set(known.values())):
        for path, size in _large(os.path.join(directory, "container_file"), end - budget / 2):
            found[path] = size, directory
    described = []
    for path, (_, directory) in sorted(found.items(), key=lambda item: -item[1][0]):
        # A little time is left to each, so that none is passed over.
        share = max(0.05, end - time.monotonic())
        described.append(dict(read_namespace(path, share), path=path, data_dir=directory))
    return described


def _large(directory: str, end: float) -> list[tuple[str, int]]:
    """Return path and size of the five largest namespace files that are in use, of those seen
    before `end`.
    """
    found = []
    youngest = time.time() - IN_USE_DAYS * _DAY
    for number, entry in enumerate(_walk([directory])):
        if number % 200 == 199 and time.monotonic() > end:
            break
        if entry.name.endswith(".cache"):
            status = _status(entry)
            if status and status.st_size >= LARGE and status.st_mtime > youngest:
                found.append((entry.path, status.st_size))
    return sorted(found, key=lambda item: -item[1])[:5]


def read_namespace(path: str, budget: float) -> dict[str, Any]:
    """Count the entries of a namespace file from its pickle's opcodes, never unpickling it.

    Returns ``bytes``, ``entries``, how many of them are ``expired``, how many keys hold a revision
    (``revision_keys``), the ``function`` that the last key names, and whether all was read within
    `budget` seconds (``complete``); where not, the counts are scaled up from what was. Raises
    NotMeasured where it cannot be read.
    """
    entries = expired = revisions = 0
    complete = True
    function = ""
    now = time.time()
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                for key, stored, lifetime in _entries(file, time.monotonic() + budget):
                    entries += 1
                    expired += lifetime is not None and now >= stored + lifetime
                    revisions += bool(_REVISION.search(key))
                    function = key.partition(" ")[0] if " " in key else function
            except (ValueError, OverflowError, MemoryError, TimeoutError):
                complete = False  # Cut short, not a pickle at all, or no time left.
            scale = 1.0 if complete else size / max(1, file.tell())
    except OSError as error:
        raise NotMeasured(f"{path}: {error.strerror}") from None
    return {
        "bytes": size,
        "entries": round(entries * scale),
        "expired": round(expired * scale),
        "revision_keys": round(revisions * scale),
        "function": function,
        "complete": complete,
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
        elif isinstance(argument, (bytes, str)) and len(argument) < _KEY_BYTES:
            key = argument if isinstance(argument, str) else argument.decode("latin-1")
        if step % 500 == 499 and time.monotonic() > end:
            raise TimeoutError
