"""The archives that Kallithea keeps of what users downloaded, and how a new one gets there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from typing import Optional

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.storage import disk
from kallithea_tune.perf_check.storage.directories import directories
from kallithea_tune.system import child, files
from kallithea_tune.system.scratch import scratch

OLD_DAYS = 30
MOVE_MB = 8
# The name of an archive, as kallithea.controllers.files makes it, ends with twelve digits of the
# revision and the kind of archive.
ARCHIVE = re.compile(r"-[0-9a-f]{12}\.(zip|tar\.gz|tar\.bz2)$")
_DAY = 86400


@dataclass(frozen=True)
class KeptArchives:
    """Archives, their bytes on disk, and the old ones: those that ``find -mtime +30`` finds.

    `complete` is False where the time was over before all were counted.
    """

    files: int
    bytes: int
    old_files: int
    old_bytes: int
    complete: bool


@dataclass(frozen=True)
class Move:
    """A file of `bytes` moved as Kallithea moves a new archive; `copied` if it was not renamed."""

    ms: float
    bytes: int
    copied: bool


@dataclass(frozen=True)
class Archives:
    """The archives in `directory`, "" where the setting archive_cache_dir is not set.

    `moved` is how a file got there from `temporary`, or None for the reason `not_moved`. `section`
    is that of the application.
    """

    directory: str
    kept: Optional[KeptArchives] = None
    temporary: str = ""
    moved: Optional[Move] = None
    not_moved: str = ""
    section: str = ""

    @property
    def examined(self) -> Examined:
        """Whether all archives were counted, where they are kept."""
        complete = self.kept is not None and self.kept.complete
        return Examined(int(complete), int(self.kept is not None), "directory of archives")


@measurement(seconds=0.2, writes="8 MB in TMPDIR and in archive_cache_dir", uses=(directories,))
def archives(context: Context) -> Archives:
    """Count the archives, and move a file from TMPDIR to them as Kallithea moves a new one."""
    configured = context.instance.directory("archive_cache_dir")
    if not configured:
        return Archives("", section=context.instance.section)
    location = context.measure(directories).by_name["archives"].location
    if not location:
        raise NotMeasured(f"{configured} cannot be used; see STO003")
    left = context.deadline.left
    kept = child.call(count, left + 2, directory=configured, old_days=OLD_DAYS, within=left / 2)
    temporary = tempfile.gettempdir()
    try:
        with scratch(temporary) as source:
            moved = disk.run(move, location.real, context.deadline.left, temporary=source)
    except NotMeasured as error:
        return Archives(configured, kept, temporary, not_moved=str(error))
    return Archives(configured, kept, temporary, moved)


def count(directory: str, old_days: int, within: float) -> KeptArchives:
    """Count the archives in `directory` for `within` seconds at most; for a child."""
    now, end = time.time(), time.monotonic() + within
    sizes: list[int] = []
    old_sizes: list[int] = []
    complete = True
    for number, entry in enumerate(files.entries(directory)):
        if number % 200 == 199 and time.monotonic() > end:
            complete = False
            break
        if not ARCHIVE.search(entry.name) or not entry.is_file:
            continue
        status = entry.status
        sizes.append(status.st_blocks * 512)
        if (now - status.st_mtime) // _DAY > old_days:
            old_sizes.append(sizes[-1])
    return KeptArchives(len(sizes), sum(sizes), len(old_sizes), sum(old_sizes), complete)


def move(place: str, within: float, temporary: str) -> Move:
    """Move 8 MB from the directory `temporary` to `place` by ``shutil.move``; for a child."""
    source, target = os.path.join(temporary, "archive"), os.path.join(place, "archive")
    with disk.room(place):
        with open(source, "xb") as file:
            for _ in range(MOVE_MB):
                file.write(os.urandom(disk.MB))
        before = os.stat(source)
        started = time.perf_counter()
        shutil.move(source, target)
        seconds = time.perf_counter() - started
        copied = not os.path.samestat(before, os.stat(target))
    return Move(seconds * 1000, MOVE_MB * disk.MB, copied)
