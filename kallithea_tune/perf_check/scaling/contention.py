"""Has processes contend for locks on one storage, each through a path of its own to it."""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import mmap
import os
import struct
import time
from dataclasses import dataclass
from typing import Callable, Iterator, NoReturn, Sequence

from kallithea_tune.perf_check.storage import disk
from kallithea_tune.system.bootstrap import die_with_parent

# Each mechanism is tried for so many seconds, and until each process was inside so often: our
# judgement. A cache in a mount may hide for seconds that a lock was given back.
LEAST_S, LEAST_SECTIONS = 0.3, 5
# How long a process stays inside, and away: long enough for another to come.
INSIDE_S, AWAY_S = 0.0005, 0.001
# By process: whether it is inside, how often it was, and how often with another.
_OWN = struct.Struct("=qqq")


class Mechanism(enum.Enum):
    """How a program takes a lock, and gives it back."""

    flock = "flock(2)"
    create = "open(2) with O_EXCL, rename(2)"
    link = "symlink(2)"


@dataclass(frozen=True)
class Contest:
    """What came of a lock: by process how often it was inside, and how often one met another there.

    `lost` counts the numbers that were overwritten with an older one, although each was read and
    written while the lock was held. `error` is why a process could not take it, a name of errno(3).
    """

    mechanism: Mechanism
    sections: tuple[int, ...]
    overlaps: int = 0
    lost: int = 0
    error: str = ""


def contests(place: str, within: float, others: Sequence[str] = ()) -> tuple[Contest, ...]:
    """Try each mechanism for `LEAST_S` seconds, up to its part of `within` where one is slow.

    `place` is a new directory, and `others` are further paths to the one that contains it. With
    one path two processes use it. For a child.
    """
    parents = [os.path.dirname(place), *others]
    if len(parents) == 1:
        parents *= 2
    with disk.room(place):
        name = os.path.basename(place)
        paths = [os.path.join(parent, name) for parent in parents]
        return tuple(_contest(one, paths, within / len(Mechanism)) for one in Mechanism)


def _contest(mechanism: Mechanism, paths: Sequence[str], limit: float) -> Contest:
    with contextlib.closing(mmap.mmap(-1, _OWN.size * len(paths) + 1)) as shared:
        # What is shared is memory, not a file there: it does not depend on what is measured.
        meeting = Meeting(shared, len(paths))
        own = os.getpid()
        children = []
        for number, path in enumerate(paths):
            child = os.fork()
            if not child:
                _contend(mechanism, path, meeting, number, own, limit)
            children.append(child)
        ended = [_status(os.waitpid(child, 0)[1]) for child in children]
        sections = meeting.sections
        lost = 0
        if mechanism is Mechanism.create and not any(ended):
            lost = sum(sections) - _number(paths[0])
        error = next((errno.errorcode.get(code, "EIO") for code in ended if code), "")
        return Contest(mechanism, sections, meeting.overlaps, lost, error)


def _status(code: int) -> int:
    return os.WEXITSTATUS(code) if os.WIFEXITED(code) else errno.EIO


class Meeting:
    """Sees who is in the critical section together, in memory that the processes share."""

    def __init__(self, memory: mmap.mmap, processes: int) -> None:
        self._memory, self._processes = memory, processes

    def _get(self, number: int) -> tuple[int, int, int]:
        inside, sections, overlaps = _OWN.unpack_from(self._memory, number * _OWN.size)
        return inside, sections, overlaps

    @property
    def failed(self) -> bool:
        """Whether one of them cannot go on, so that the others need not wait for it."""
        return bool(self._memory[-1])

    def fail(self) -> None:
        """Tell the others not to wait."""
        self._memory[-1] = 1

    @property
    def sections(self) -> tuple[int, ...]:
        """How often each process was inside."""
        return tuple(self._get(number)[1] for number in range(self._processes))

    @property
    def overlaps(self) -> int:
        """How often one of them met another."""
        return sum(self._get(number)[2] for number in range(self._processes))

    def visit(self, number: int, work: Callable[[], None]) -> None:
        """Be inside for a moment, with `work` to do there."""
        sections, overlaps = self._get(number)[1:]
        _OWN.pack_into(self._memory, number * _OWN.size, 1, sections, overlaps)
        met = self._others(number)
        work()
        time.sleep(INSIDE_S)
        met = met or self._others(number)
        _OWN.pack_into(self._memory, number * _OWN.size, 0, sections + 1, overlaps + met)

    def _others(self, number: int) -> bool:
        return any(self._get(other)[0] for other in range(self._processes) if other != number)


def _contend(
    mechanism: Mechanism, path: str, meeting: Meeting, number: int, parent: int, within: float
) -> NoReturn:
    """Take the lock again and again until all were inside often enough; exit with an errno."""
    status = errno.EIO
    try:
        die_with_parent()
        now = time.monotonic()
        end, limit = now + LEAST_S, now + within
        hold = {Mechanism.flock: _flock, Mechanism.create: _create, Mechanism.link: _link}
        work: Callable[[], None] = lambda: None  # noqa: E731
        if mechanism is Mechanism.create:
            work = lambda: _count(path)  # noqa: E731
        while os.getppid() == parent and time.monotonic() < limit and not meeting.failed:
            if time.monotonic() > end and min(meeting.sections) >= LEAST_SECTIONS:
                break
            with hold[mechanism](path) as held:
                if held:
                    meeting.visit(number, work)
            time.sleep(AWAY_S)
        status = 0
    except OSError as error:
        status = error.errno or errno.EIO
    finally:
        if status:
            meeting.fail()
        # Nothing of the parent's is closed or printed here.
        os._exit(status)


@contextlib.contextmanager
def _flock(path: str) -> Iterator[bool]:
    """As Beaker and Whoosh: a file that stays."""
    descriptor = os.open(os.path.join(path, "flock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _create(path: str) -> Iterator[bool]:
    """As git and dulwich: the new content is written to a ``.lock``, and renamed to its place."""
    lock = os.path.join(path, "number.lock")
    try:
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        yield False
        return
    yield True
    os.rename(lock, os.path.join(path, "number"))


def _count(path: str) -> None:
    """Write to the ``.lock`` the next number."""
    with open(os.path.join(path, "number.lock"), "w", encoding="ascii") as file:
        file.write(str(_number(path) + 1))


def _number(path: str) -> int:
    try:
        with open(os.path.join(path, "number"), encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _link(path: str) -> Iterator[bool]:
    """As Mercurial: a link whose target says who has it."""
    lock = os.path.join(path, "link")
    try:
        os.symlink(f"locker:{os.getpid()}", lock)
    except FileExistsError:
        yield False
        return
    yield True
    os.unlink(lock)
