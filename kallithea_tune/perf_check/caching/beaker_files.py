"""The files that Beaker keeps: how many, how large, how old, and the entries of namespace files.

Nothing here unpickles: a pickle runs whatever its writer wanted. Its opcodes are only read.
"""

from __future__ import annotations

import math
import os
import pickletools
import re
import time
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Iterator, Mapping, Optional, Sequence

from kallithea_tune.app import beaker_config
from kallithea_tune.app.beaker_config import Use
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.caching.regions import (
    FILE_TYPES,
    Region,
    cache_regions,
    cache_uses,
)
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child, files
from kallithea_tune.system.files import Entry

_DAY = 86400
# A namespace smaller than this costs a few milliseconds at most, and is read only where a function
# is known to use it.
LARGE = 256 * 1024
# Files that nothing wrote to for so many days are old; a session is written to at each request.
OLD_DAYS = 30
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


@dataclass(frozen=True)
class Growth:
    """The regular files that Beaker keeps below a group of directories.

    `bytes` are those that the files occupy on disk. ``find -mtime +old_days`` finds the `old_files`
    with `old_bytes`; `week_files` are younger than a week. `places` are the directories that
    contain nothing but Beaker's files. The counts are a lower limit where they are not `complete`.
    """

    files: int
    bytes: int
    old_files: int
    old_bytes: int
    week_files: int
    oldest_days: float
    complete: bool
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class CacheGrowth:
    """The files of sessions and of the file cache, and from how many days on each are old.

    `section` is that of the application.
    """

    sessions: Growth
    caches: Growth
    session_days: int
    cache_days: int
    section: str = ""

    @property
    def examined(self) -> Examined:
        """The groups of directories that were counted to the end."""
        groups = [group for group in (self.sessions, self.caches) if group.places]
        return Examined(sum(group.complete for group in groups), len(groups), "directory")


@measurement(seconds=3.0, uses=(cache_regions,))
def cache_growth(context: Context) -> CacheGrowth:
    """Count the files of sessions and of the file cache, within the time there is."""
    settings = context.instance.settings
    sessions = beaker_config.session_directory(settings)
    seconds = settings.get("session.timeout", "").strip()
    days = max(OLD_DAYS, math.ceil(int(seconds) / _DAY)) if seconds.isdigit() else OLD_DAYS
    caches = dict.fromkeys(
        directory
        for region in context.measure(cache_regions).regions
        if region.type in FILE_TYPES
        for directory in (region.data_dir, region.lock_dir)
        if directory
    )
    sessions_growth, caches_growth = child.call(
        growth,
        context.deadline.left + 2,
        groups=[[sessions] if sessions else [], list(caches)],
        old_days=[days, OLD_DAYS],
        budget=context.deadline.left,
    )
    return CacheGrowth(sessions_growth, caches_growth, days, OLD_DAYS, context.instance.section)


def growth(groups: Sequence[Sequence[str]], old_days: Sequence[int], budget: float) -> list[Growth]:
    """Count the regular files of Beaker below each group of ``data_dir`` and ``lock_dir``.

    Uses scandir(3) and one lstat(2) per file, follows no symbolic link, and stops after `budget`
    seconds, which the groups share.
    """
    end = time.monotonic() + budget
    counted = []
    for number, (directories, days) in enumerate(zip(groups, old_days)):
        share = (end - time.monotonic()) / (len(groups) - number)
        places = [path for directory in directories for path in own_parts(directory)]
        count = _count(places, days, time.monotonic() + share)
        counted.append(replace(count, places=tuple(dict.fromkeys(places))))
    return counted


def own_parts(directory: str) -> Iterator[str]:
    """Yield the path of each part of `directory` that is Beaker's alone.

    Deleting there hits nothing else. These are ``container_*`` in a ``data_dir``, and an entire
    ``lock_dir`` that has sixteen directories at most, of one hexadecimal digit each.
    """
    found = sorted(files.entries(directory))
    for entry in found:
        if entry.name.startswith("container_") and entry.is_directory:
            yield entry.path
    if found and all(re.fullmatch("[0-9a-f]", entry.name) for entry in found):
        yield directory


def _count(directories: Sequence[str], old_days: int, end: float) -> Growth:
    now = time.time()
    count = size = old = old_size = week = 0
    oldest = now
    complete = True
    for number, entry in enumerate(_walk(directories)):
        if number % 200 == 199 and time.monotonic() > end:
            complete = False
            break
        if not entry.is_file:
            continue
        status = entry.status
        count += 1
        # What deleting frees is blocks: a lock file is empty, and costs an inode only.
        occupied = status.st_blocks * 512
        size += occupied
        days = (now - status.st_mtime) // _DAY
        oldest = min(oldest, status.st_mtime)
        week += days < 7
        if days > old_days:
            old += 1
            old_size += occupied
    return Growth(count, size, old, old_size, week, (now - oldest) / _DAY, complete)


def _walk(directories: Sequence[str]) -> Iterator[Entry]:
    waiting = list(directories)
    while waiting:
        try:
            for entry in files.entries(waiting.pop()):
                if entry.is_directory:
                    waiting.append(entry.path)
                else:
                    yield entry
        except PermissionError as error:
            raise NotMeasured(f"{error.filename}: {error.strerror}") from None


@dataclass(frozen=True)
class Namespace:
    """A namespace file of Beaker's file backend in a region's ``data_dir``.

    Counted are its `entries`, how many of them are `expired`, and how many keys contain a revision
    (`revision_keys`); `function` is the one that the last key refers to. Where the file was not
    read to its end (`complete`), the counts are scaled up from the part that was.
    """

    path: str
    data_dir: str
    bytes: int
    entries: int
    expired: int
    revision_keys: int
    function: str
    complete: bool


@dataclass(frozen=True)
class FileUse:
    """A function that caches in a file region which is enabled."""

    use: Use
    region: Region


@dataclass(frozen=True)
class Namespaces:
    """The namespace files that are used or large, and the functions that use file regions.

    `others` has the kind of what is in place of such a file, as in ``FIFO``, by its path, `section`
    is that of the application.
    """

    namespaces: tuple[Namespace, ...]
    uses: tuple[FileUse, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    section: str = ""

    @property
    def examined(self) -> Examined:
        """The files that were read to their end."""
        complete = sum(namespace.complete for namespace in self.namespaces)
        return Examined(complete, len(self.namespaces) + len(self.others), "namespace file")

    def of(self, use: Use, region: Region) -> Optional[Namespace]:
        """Return the namespace file of a function, or None where it has none.

        An application that runs from another path than this one has it under another name; the
        keys show whose it is.
        """
        path = use.file(region.data_dir)
        by_path = [kept for kept in self.namespaces if kept.path == path]
        by_key = [kept for kept in self.namespaces if kept.function == use.function]
        return next(iter(by_path or by_key), None)

    def function_of(self, namespace: Namespace) -> str:
        """Return the function that caches in a namespace file, by its path or by its keys."""
        users = (item.use for item in self.uses if self.of(item.use, item.region) == namespace)
        user = next(users, None)
        return user.function if user else namespace.function


@measurement(seconds=0.5, uses=(cache_regions, cache_uses))
def live_namespaces(context: Context) -> Namespaces:
    """Read the namespace files of the file regions that are used or large."""
    regions = context.measure(cache_regions)
    uses = []
    for use in context.measure(cache_uses).uses:
        region = regions.get(use.region)
        if region and region.type == "file" and region.enabled and region.data_dir:
            uses.append(FileUse(use, region))
    known = {item.use.file(item.region.data_dir): item.region.data_dir for item in uses}
    found = Namespaces(())
    if known:
        left = context.deadline.left
        found = child.call(read_namespaces, left + 2, known=known, budget=left / 4)
    return replace(found, uses=tuple(uses), section=context.instance.section)


def read_namespaces(known: Mapping[str, str], budget: float) -> Namespaces:
    """Read the namespace files of Beaker's file backend, the largest first.

    `known` maps the path of each that is expected to its region's ``data_dir``. Others in the same
    directories (``container_file/*/*/*.cache``) are read where they are large and were written to
    within a month, as far as `budget` seconds allow. Raises NotMeasured where one cannot be read.
    """
    end = time.monotonic() + budget
    found = {}
    for path, directory in known.items():
        entry = files.entry(directory, os.path.relpath(path, directory))
        if entry:
            found[path] = entry.status.st_size, directory
    for directory in sorted(set(known.values())):
        for path, size in _large(os.path.join(directory, "container_file"), end - budget / 2):
            found[path] = size, directory
    namespaces, others = [], {}
    for path, (_, directory) in sorted(found.items(), key=lambda item: -item[1][0]):
        try:
            # A little time is left to each, so that none is passed over.
            left = max(0.05, end - time.monotonic())
            namespaces.append(read_namespace(path, directory, left))
        except files.NotAFile as error:
            others[path] = error.kind
    return Namespaces(tuple(namespaces), others=others)


def _large(directory: str, end: float) -> list[tuple[str, int]]:
    """Return path and size of the five largest files in use, of those seen before `end`."""
    found = []
    youngest = time.time() - IN_USE_DAYS * _DAY
    for number, entry in enumerate(_walk([directory])):
        if number % 200 == 199 and time.monotonic() > end:
            break
        if entry.name.endswith(".cache"):
            status = entry.status
            if entry.is_file and status.st_size >= LARGE and status.st_mtime > youngest:
                found.append((entry.path, status.st_size))
    return sorted(found, key=lambda item: -item[1])[:5]


def read_namespace(path: str, data_dir: str, budget: float) -> Namespace:
    """Count the entries of a namespace file from its pickle's opcodes, never unpickling it.

    Stops after `budget` seconds. Raises NotMeasured where it cannot be read, NotAFile where
    something else is in its place.
    """
    entries = expired = revisions = 0
    complete = True
    function = ""
    now = time.time()
    try:
        with files.opened(data_dir, os.path.relpath(path, data_dir)) as file:
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
    return Namespace(
        path,
        data_dir,
        size,
        round(entries * scale),
        round(expired * scale),
        round(revisions * scale),
        function,
        complete,
    )


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
