"""How long a directory's disk takes: to keep a write, to make and read small files, to read a large
one.

Each measurement runs in a child, in a directory of its own that the child makes and removes. Where
the child is killed, because it hangs or the command is interrupted, another one removes what it
left.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import shutil
import signal
import time
from typing import Any, Iterator, Optional, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import child, files
from kallithea_tune.system.scratch import PREFIX

MB = 1 << 20
# fio's "bs" in etcd's measure of a disk: what its log writes at a time.
WRITE_BYTES = 2300
SYNCS, FILES = 500, 1000
FILE_BYTES = 1024
READ_BYTES, OWN_BYTES, WORTH_BYTES, MOVE_BYTES = 32 * MB, 16 * MB, 4 * MB, 8 * MB
# All measurements together write less than 32 MB; where that would be felt, nothing is written.
# Seconds that a single operation may take beyond the time of its measurement.
PATIENCE = 3.0
ROOM_BYTES, ROOM_INODES = 64 * MB, 2000


def measure(function: str, directory: str, seconds: float, **arguments: Any) -> Any:
    """Run `function` of this module on a new directory inside `directory`; it gets `seconds`, the
    child more.

    The disk may be so slow that one operation takes seconds, which is worth knowing. Raises
    NotMeasured.
    """
    place = os.path.join(directory, PREFIX + secrets.token_hex(8))
    try:
        return child.call(
            "kallithea_tune.perf_check.storage.disk:" + function,
            seconds + PATIENCE,
            place=place,
            within=seconds,
            **arguments,
        )
    except BaseException:
        # A second Ctrl-C must not keep what the first has begun: the removal takes two seconds at
        # most.
        held = signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        )
        try:
            with contextlib.suppress(NotMeasured):
                child.call("kallithea_tune.perf_check.storage.disk:remove", 2, place=place)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        raise


def remove(place: str) -> None:
    """Remove a directory of `measure`, if it is there; for a child."""
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def room(place: str) -> Iterator[None]:
    """Make and remove the directory `place`. Raises NotMeasured where there is too little room, or
    none at the end.
    """
    directory = os.path.dirname(place)
    try:
        space = os.statvfs(directory)
        free = space.f_bavail * space.f_frsize
        if free < ROOM_BYTES:
            raise NotMeasured(
                "there is too little room on %s: %d MB free" % (directory, free // MB)
            )
        if space.f_files and space.f_favail < ROOM_INODES:
            raise NotMeasured(
                "there is too little room on %s: %d inodes free" % (directory, space.f_favail)
            )
        os.mkdir(place, 0o700)
        try:
            yield
        finally:
            shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise NotMeasured(f"{directory}: {os.strerror(error.errno or errno.EIO)}") from None


def syncs(place: str, within: float) -> dict[str, Any]:
    """Return the milliseconds that each ``fdatasync(2)`` took after a ``write(2)`` of 2300 bytes to
    the file's end.

    Up to 500 times within `within` seconds; for a child.
    """
    end = time.monotonic() + within
    taken: list[float] = []
    block = os.urandom(WRITE_BYTES)
    with room(place):
        descriptor = os.open(
            os.path.join(place, "log"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )
        try:
            while len(taken) < SYNCS and (not taken or time.monotonic() < end):
                os.write(descriptor, block)
                started = time.perf_counter()
                os.fdatasync(descriptor)
                taken.append((time.perf_counter() - started) * 1000)
        finally:
            os.close(descriptor)
    return {"ms": taken}


def small_files(place: str, within: float) -> dict[str, Any]:
    """Make, stat, read and remove up to 1000 files of 1024 bytes; return their number and the
    seconds of each step.

    Making them is given half of `within`, the steps after it do not go on beyond the end; for a
    child.
    """
    end = time.monotonic() + within
    data = os.urandom(FILE_BYTES)
    with room(place):
        names = [os.path.join(place, "%04d" % number) for number in range(FILES)]
        found: dict[str, Any] = {}
        for step, act in (
            ("create", lambda name: _create(name, data)),
            ("stat", os.stat),
            ("read", _read),
            ("unlink", os.unlink),
        ):
            limit = end - within / 2 if step == "create" else end
            started = time.perf_counter()
            done = 0
            while done < len(names) and (not done or time.monotonic() < limit):
                act(names[done])
                done += 1
            found[step + "_s"] = time.perf_counter() - started
            found[step] = done
            if step == "create":
                names = names[:done]
    return found


def _create(name: str, data: bytes) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
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


def reading(place: str, within: float, directories: Sequence[str] = ()) -> dict[str, Any]:
    """Return how fast a large file is read past the page cache (``O_DIRECT``), 1 MB at a time, 32
    MB at most.

    The largest file of at least 4 MB found in `directories` within a fifth of `within`; where there
    is none, or it cannot be read so, a new file of 16 MB, kept by fdatasync and dropped from the
    cache first; for a child.
    """
    end = time.monotonic() + within
    existing = _largest(directories, time.monotonic() + within / 5)
    if existing:
        with contextlib.suppress(OSError):
            return dict(_read_direct(existing, end), own=False)
    own = os.path.join(place, "large")
    with room(place):
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for _ in range(OWN_BYTES // MB):
                os.write(descriptor, os.urandom(MB))
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
        # Making the file may have taken all the time: it is read for a moment all the same.
        end = max(end, time.monotonic() + 0.1)
        try:
            return dict(_read_direct(own, end), own=True)
        except OSError:
            return dict(_read_direct(own, end, flags=0), own=True)


def moving(place: str, within: float, temporary: str) -> dict[str, Any]:
    """Move 8 MB from the directory `temporary` to `place` by ``shutil.move``, as Kallithea moves an
    archive it made.

    Returns the milliseconds, and whether the file was ``copied``, because rename(2) does not reach
    there; for a child.
    """
    source, target = os.path.join(temporary, "archive"), os.path.join(place, "archive")
    with room(place):
        with open(source, "xb") as file:
            for _ in range(MOVE_BYTES // MB):
                file.write(os.urandom(MB))
        before = os.stat(source)
        started = time.perf_counter()
        shutil.move(source, target)
        taken = time.perf_counter() - started
        return {
            "ms": taken * 1000,
            "bytes": MOVE_BYTES,
            "copied": not os.path.samestat(before, os.stat(target)),
        }


def _largest(directories: Sequence[str], end: float) -> Optional[str]:
    largest, path = WORTH_BYTES - 1, None
    for directory in directories:
        with contextlib.suppress(OSError):
            for entry in files.below(directory, end):
                if entry.is_file(follow_symlinks=False) and files.size(entry) > largest:
                    largest, path = files.size(entry), entry.path
    return path


def _read_direct(path: str, end: float, flags: int = os.O_DIRECT) -> dict[str, Any]:
    try:
        # Reading is to leave no trace, not even a time of access; only the owner and root may ask
        # for that.
        descriptor = os.open(path, os.O_RDONLY | flags | os.O_NOATIME)
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY | flags)
    with contextlib.closing(mmap.mmap(-1, MB)) as buffer:
        try:
            read, started = 0, time.perf_counter()
            while read < READ_BYTES and (not read or time.monotonic() < end):
                count = os.preadv(descriptor, [buffer], read)
                read += count
                if count < MB:
                    break
            return {"bytes": read, "seconds": time.perf_counter() - started}
        finally:
            os.close(descriptor)
