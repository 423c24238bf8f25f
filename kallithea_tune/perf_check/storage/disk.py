"""How long a disk takes to store a write, to make and read small files, to read a large one.

Each probe runs in a child, in a directory of its own that the child makes and removes. Where the
child is killed, because it hangs or the command is interrupted, another one removes what it left.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import Callable, Generic, Iterator, Optional, Sequence, TypeVar

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline, Examined, measurement
from kallithea_tune.perf_check.storage.directories import FileSystem, directories
from kallithea_tune.system import child, files
from kallithea_tune.system.scratch import PREFIX

T = TypeVar("T")
MB = 1 << 20
# fio's "bs" in etcd's measure of a disk: what its log writes at a time.
WRITE_BYTES = 2300
SYNCS, FILES = 500, 1000
FILE_BYTES = 1024
READ_MB, OWN_MB, WORTH_MB = 32, 16, 4
# Seconds that a single operation may take beyond the time of its probe.
OPERATION_SECONDS = 3.0
# All probes together write less than 32 MB; where that could hurt, nothing is written.
ROOM_MB, ROOM_INODES = 64, 2000
LARGE_FILES_IN = ("repositories", "archives", "index_dir")


@dataclass(frozen=True)
class SyncTimes:
    """The milliseconds that each ``fdatasync(2)`` took."""

    ms: tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """The same operation on `count` files."""

    count: int
    seconds: float

    @property
    def each(self) -> float:
        """Seconds per file."""
        return self.seconds / self.count


@dataclass(frozen=True)
class SmallFiles:
    """The steps in the life of small files; later ones may have had no time for all files."""

    create: Step
    stat: Step
    read: Step
    unlink: Step


@dataclass(frozen=True)
class Reading:
    """A large file read past the page cache; `own` when it was made for that."""

    bytes: int
    seconds: float
    own: bool


@dataclass(frozen=True)
class Result(Generic[T]):
    """What was measured on a file system, or the `reason` why nothing was."""

    file_system: FileSystem
    value: Optional[T] = None
    reason: str = ""


def _examined(results: Sequence[Result[T]]) -> Examined:
    measured = [result for result in results if result.value is not None]
    return Examined(len(measured), len(results), "file system")


@dataclass(frozen=True)
class SyncLatency:
    """`SyncTimes` of each file system, and the `journal_mode` of the SQLite file."""

    results: tuple[Result[SyncTimes], ...]
    journal_mode: str

    @property
    def examined(self) -> Examined:
        """How many of the file systems."""
        return _examined(self.results)


@dataclass(frozen=True)
class FileRates:
    """Small files and reading on a file system; `not_read` is the reason where nothing was read."""

    small_files: SmallFiles
    reading: Optional[Reading] = None
    not_read: str = ""


@dataclass(frozen=True)
class AllFileRates:
    """`FileRates` of each file system."""

    results: tuple[Result[FileRates], ...]

    @property
    def examined(self) -> Examined:
        """How many of the file systems."""
        return _examined(self.results)


@measurement(seconds=1.0, writes="1.2 MB in each mount", uses=(directories,))
def sync_latency(context: Context) -> SyncLatency:
    """Time ``fdatasync(2)`` on each file system."""
    results = _on_each(
        context,
        lambda system, deadline: run(
            syncs, system.writable, max(0.1, min(1.0, deadline.left - 0.2))
        ),
    )
    return SyncLatency(results, journal_mode(sqlite_file(context.instance.database_url)))


@measurement(seconds=1.5, writes="up to 1000 files, 17 MB in each mount", uses=(directories,))
def file_rates(context: Context) -> AllFileRates:
    """Time small files, and the reading of a large one, on each file system."""

    def rates(system: FileSystem, deadline: Deadline) -> FileRates:
        seconds = max(0.1, min(1.0, deadline.left * 0.5))
        small = run(small_files, system.writable, seconds)
        existing = [
            directory.usable
            for name, directory in system.directories.items()
            if name in LARGE_FILES_IN and directory.usable
        ]
        seconds = max(0.1, min(0.6, context.deadline.left - 0.1))
        try:
            read = run(read_large, system.writable, seconds, directories=existing)
        except NotMeasured as error:
            return FileRates(small, not_read=str(error))
        return FileRates(small, read)

    return AllFileRates(_on_each(context, rates))


def _on_each(context: Context, probe: Callable[[FileSystem, Deadline], T]) -> tuple[Result[T], ...]:
    """Run `probe` on each file system; the time left is shared among those still to come."""
    systems = context.measure(directories).file_systems
    if not systems:
        raise NotMeasured("none of the directories can be used; see STO003")
    results: list[Result[T]] = []
    for number, system in enumerate(systems):
        deadline = Deadline(context.deadline.left / (len(systems) - number))
        try:
            results.append(Result(system, probe(system, deadline)))
        except NotMeasured as error:
            results.append(Result(system, reason=str(error)))
    return tuple(results)


def journal_mode(path: Optional[str]) -> str:
    """Return ``wal`` or ``delete`` from the header of the SQLite file `path`.

    It does not distinguish the other modes (SQLite's file format, 1.3.3).
    """
    if path:
        place = os.path.split(os.path.realpath(path))
        with contextlib.suppress(OSError, files.NotAFile), files.opened(*place) as file:
            return "wal" if file.read(20)[18:19] == b"\2" else "delete"
    return "delete"


def run(function: Callable[..., T], directory: str, seconds: float, **arguments: object) -> T:
    """Call `function` in a child with the path of a new directory inside `directory`.

    It gets `seconds`, and the child more: a disk may be so slow that one operation takes seconds,
    which is worth knowing. Raises NotMeasured.
    """
    place = os.path.join(directory, PREFIX + secrets.token_hex(8))
    try:
        return child.call(
            function, seconds + OPERATION_SECONDS, place=place, within=seconds, **arguments
        )
    except BaseException:
        with contextlib.suppress(NotMeasured):
            child.clean_up(remove, 2, place=place)
        raise


def remove(place: str) -> None:
    """Remove a directory of `run`, if it is there; for a child."""
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def room(place: str) -> Iterator[None]:
    """Make and remove the directory `place`.

    Raises NotMeasured where there is too little room, or none left in the middle.
    """
    directory = os.path.dirname(place)
    try:
        space = os.statvfs(directory)
        free_mb = space.f_bavail * space.f_frsize // MB
        if free_mb < ROOM_MB:
            raise NotMeasured(f"there is too little room on {directory}: {free_mb} MB free")
        if space.f_files and space.f_favail < ROOM_INODES:
            raise NotMeasured(
                f"there is too little room on {directory}: {space.f_favail} inodes free"
            )
        os.mkdir(place, 0o700)
        try:
            yield
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise NotMeasured(f"{directory}: {os.strerror(error.errno or errno.EIO)}") from None


def syncs(place: str, within: float) -> SyncTimes:
    """Time ``fdatasync(2)`` after each ``write(2)`` of 2300 bytes to the end of a file.

    Up to 500 times within `within` seconds; for a child.
    """
    end = time.monotonic() + within
    taken: list[float] = []
    block = os.urandom(WRITE_BYTES)
    with room(place):
        descriptor = _new_file(os.path.join(place, "log"))
        try:
            while len(taken) < SYNCS and (not taken or time.monotonic() < end):
                os.write(descriptor, block)
                started = time.perf_counter()
                os.fdatasync(descriptor)
                taken.append((time.perf_counter() - started) * 1000)
        finally:
            os.close(descriptor)
    return SyncTimes(tuple(taken))


def _new_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def small_files(place: str, within: float) -> SmallFiles:
    """Make, stat, read and remove up to 1000 files of 1024 bytes.

    Half of `within` is for making them, and the other steps do not go beyond the end; for a child.
    """
    end = time.monotonic() + within
    data = os.urandom(FILE_BYTES)
    with room(place):
        names = [os.path.join(place, f"{number:04d}") for number in range(FILES)]
        created = _step(lambda name: _create(name, data), names, end - within / 2)
        names = names[: created.count]
        return SmallFiles(
            created,
            stat=_step(os.stat, names, end),
            read=_step(_read, names, end),
            unlink=_step(os.unlink, names, end),
        )


def _step(act: Callable[[str], object], names: Sequence[str], end: float) -> Step:
    """Call `act` for each name until `end`, for one at least."""
    started = time.perf_counter()
    done = 0
    while done < len(names) and (not done or time.monotonic() < end):
        act(names[done])
        done += 1
    return Step(done, time.perf_counter() - started)


def _create(name: str, data: bytes) -> None:
    descriptor = _new_file(name)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _read(name: str) -> None:
    descriptor = os.open(name, os.O_RDONLY)
    try:
        os.read(descriptor, FILE_BYTES)
    finally:
        os.close(descriptor)


def read_large(place: str, within: float, directories: Sequence[str] = ()) -> Reading:
    """Read a large file past the page cache (``O_DIRECT``), 1 MB at a time, 32 MB at most.

    It is the largest file of at least 4 MB found in `directories` within a fifth of `within`. Where
    there is none, or it cannot be read so, it is a new file of 16 MB, stored by fdatasync and
    dropped from the cache first; for a child.
    """
    end = time.monotonic() + within
    existing = _largest(directories, time.monotonic() + within / 5)
    if existing:
        with contextlib.suppress(OSError):
            return _read_past_cache(existing, end, own=False)
    own = os.path.join(place, "large")
    with room(place):
        descriptor = _new_file(own)
        try:
            for _ in range(OWN_MB):
                os.write(descriptor, os.urandom(MB))
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        # Making the file may have taken all the time: it is read for a moment all the same.
        end = max(end, time.monotonic() + 0.1)
        try:
            return _read_past_cache(own, end, own=True)
        except OSError:
            return _read_past_cache(own, end, own=True, flags=0)


def _largest(directories: Sequence[str], end: float) -> Optional[str]:
    largest, path = WORTH_MB * MB - 1, None
    for directory in directories:
        with contextlib.suppress(OSError):
            for entry in files.below(directory, end):
                if entry.is_file and entry.status.st_size > largest:
                    largest, path = entry.status.st_size, entry.path
    return path


def _read_past_cache(path: str, end: float, own: bool, flags: int = os.O_DIRECT) -> Reading:
    # It may no longer be the file that was found.
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        # Reading leaves no trace, not even a time of access; only the owner and root may request
        # that.
        descriptor = os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        descriptor = os.open(path, flags)
    with contextlib.closing(mmap.mmap(-1, MB)) as buffer:
        try:
            read, started = 0, time.perf_counter()
            while read < READ_MB * MB and (not read or time.monotonic() < end):
                count = os.preadv(descriptor, [buffer], read)
                read += count
                if count < MB:
                    break
            return Reading(read, time.perf_counter() - started, own)
        finally:
            os.close(descriptor)
