"""File systems that are nearly full, and what of Kallithea takes the space or the inodes there."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass
from typing import Iterator, Mapping, NamedTuple, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.caching.beaker_files import own_parts
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.storage.archives import ARCHIVE
from kallithea_tune.perf_check.storage.directories import Directories, FileSystem, directories
from kallithea_tune.system import child, files
from kallithea_tune.system.files import Entry

GB = 1e9
# Our judgement: 10 % of a large disk is much, 50 GB of a small one nearly all.
LOW_SHARE, LOW_GB, LOW_INODES = 0.10, 50, 500_000
VERY_LOW_SHARE, VERY_LOW_GB, VERY_LOW_INODES = 0.02, 5, 50_000
_HOUR, _DAY = 60, 1440
# The minutes for which nothing wrote to what is deleted: the longest that help are chosen.
AGES = (90 * _DAY, 30 * _DAY, 7 * _DAY, _DAY, _HOUR, 0)
# More directories than these are not told apart.
MOST_DIRECTORIES = 100_000
_BEAKER = ("sessions", "file cache", "cache locks")


class SpaceLimit(NamedTuple):
    """What is free is below the share and the number alike."""

    share: float
    gigabytes: int
    inodes: int


LOW = SpaceLimit(LOW_SHARE, LOW_GB, LOW_INODES)
VERY_LOW = SpaceLimit(VERY_LOW_SHARE, VERY_LOW_GB, VERY_LOW_INODES)


def few_inodes(system: FileSystem, limit: SpaceLimit) -> bool:
    """Whether fewer inodes are free than the limit says."""
    location = system.location
    share = location.free_inodes / location.inodes if location.inodes else 1.0
    return share < limit.share and location.free_inodes < limit.inodes


def little_space(system: FileSystem, limit: SpaceLimit) -> bool:
    """Whether less space is free than the limit says; a file system that is `full` has none."""
    location = system.location
    share = location.free / location.size if location.size else 1.0
    return system.full or share < limit.share and location.free < limit.gigabytes * GB


@dataclass(frozen=True)
class Old:
    """The files, and their bytes, to which nothing wrote for so many `minutes`."""

    minutes: int
    files: int
    bytes: int


@dataclass(frozen=True)
class Occupant:
    """A directory of Kallithea, without the others in it: its files and directories, and bytes.

    More than half of the entries are in `heaviest`. `old` are those that may be deleted in `parts`,
    by age, the oldest first.
    """

    name: str
    path: str
    entries: int
    bytes: int
    heaviest: str
    parts: tuple[str, ...] = ()
    old: tuple[Old, ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class Space:
    """All file systems, and the occupants of those that are nearly full, by mount point."""

    systems: tuple[FileSystem, ...]
    occupants: Mapping[str, tuple[Occupant, ...]]
    unanswered: int = 0

    @property
    def examined(self) -> Examined:
        """The directories whose file system answered."""
        count = sum(len(system.directories) for system in self.systems)
        return Examined(count, count + self.unanswered, "directories")


@measurement(seconds=1.5, uses=(directories,))
def space(context: Context) -> Space:
    """Find the file systems that are nearly full, and count what is there."""
    found = context.measure(directories)
    systems = found.file_systems
    short = [one for one in systems if few_inodes(one, LOW) or little_space(one, LOW)]
    occupants = {}
    for number, system in enumerate(short):
        left = context.deadline.left / (len(short) - number)
        with contextlib.suppress(NotMeasured):
            occupants[system.mount.point] = child.call(
                survey, left + 2, roots=_roots(system), within=left
            )
    return Space(systems, occupants, _unanswered(found))


def _unanswered(found: Directories) -> int:
    total = len(found.by_name) + bool(found.unknown_root)
    return total - sum(len(system.directories) for system in found.file_systems)


def _roots(system: FileSystem) -> dict[str, str]:
    return {name: found.usable for name, found in system.directories.items() if found.usable}


def survey(roots: Mapping[str, str], within: float) -> tuple[Occupant, ...]:
    """Count what is in each of `roots`, but for the others of them; for a child."""
    end = time.monotonic() + within
    found = []
    # Two names may have the same path, and counting the large ones last leaves time for the others.
    paths = {path: name for name, path in reversed(list(roots.items()))}
    by_depth = sorted(paths, key=lambda path: -path.count("/"))
    for number, path in enumerate(by_depth):
        share = (end - time.monotonic()) / (len(by_depth) - number)
        with contextlib.suppress(OSError, files.NotAFile):
            found.append(_count(paths[path], path, set(by_depth), time.monotonic() + share))
    return tuple(found)


def _count(name: str, root: str, roots: set[str], end: float) -> Occupant:
    now = time.time()
    per_directory: dict[str, int] = {}
    ages: dict[int, list[int]] = {minutes: [0, 0] for minutes in AGES}
    parts = tuple(own_parts(root)) if name in _BEAKER else ()
    size = entries = 0
    for entry in _walk(root, roots, end):
        occupied = entry.status.st_blocks * 512
        size += occupied
        entries += 1
        parent = os.path.dirname(entry.path)
        if parent not in per_directory and len(per_directory) >= MOST_DIRECTORIES:
            parent = root
        per_directory[parent] = per_directory.get(parent, 0) + 1
        if entry.is_file and _deletable(name, root, entry, parts):
            for minutes in _ages_of(entry, now):
                ages[minutes][0] += 1
                ages[minutes][1] += occupied
    old = tuple(Old(minutes, *counted) for minutes, counted in ages.items())
    complete = time.monotonic() < end
    heaviest = _heaviest(root, per_directory, entries)
    return Occupant(
        name, root, entries, size, heaviest, parts or (root,), old if ages[0][0] else (), complete
    )


def _walk(root: str, roots: set[str], end: float) -> Iterator[Entry]:
    waiting = [root]
    number = 0
    while waiting:
        for entry in files.entries(waiting.pop()):
            number += 1
            if number % 200 == 0 and time.monotonic() > end:
                return
            if entry.is_directory and entry.path not in roots:
                waiting.append(entry.path)
            yield entry


def _deletable(name: str, root: str, entry: Entry, parts: Sequence[str]) -> bool:
    """Whether a file may be deleted when it is old enough: Kallithea makes it anew."""
    if name == "archives":
        return bool(ARCHIVE.search(entry.name)) and os.path.dirname(entry.path) == root
    return any(entry.path.startswith(part + "/") for part in parts)


def _ages_of(entry: Entry, now: float) -> Iterator[int]:
    """Yield the ages by which `find -mmin` finds a file.

    A session or cached value is never empty, and Beaker cannot read one that is, so it counts as
    old at once.
    """
    empty = entry.name.endswith(".cache") and not entry.status.st_size
    minutes = math.floor((now - entry.status.st_mtime) / 60)
    return (age for age in AGES if empty or not age or minutes > age)


def _heaviest(root: str, per_directory: Mapping[str, int], entries: int) -> str:
    """Return the deepest directory with more than half of the entries below `root`."""
    below = dict(per_directory)
    for path, count in per_directory.items():
        while path != root and len(path) > len(root):
            path = os.path.dirname(path)
            below[path] = below.get(path, 0) + count
    heavy = [path for path, count in below.items() if 2 * count > entries]
    return max(heavy, key=len, default=root)
