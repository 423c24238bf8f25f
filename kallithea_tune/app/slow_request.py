"""Where a request that takes long spends its time, by the stack of its thread."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import Callable, Iterator, Mapping, Optional

# A request is observed from its first second on: until then, looking would cost what is measured.
QUIET_S, SAMPLE_S = 1.0, 0.05
# A request that was interrupted ends within this time, unless it waits in a call of C.
REACTION_S = 2.0
# What code in these files and packages does; the innermost counts, which the others wait for.
_WORK = {
    "subprocessio.py": "git",
    "dulwich": "git",
    "mercurial": "Mercurial",
    "sqlalchemy": "SQL",
    "beaker": "the cache",
    "bleach": "rendering text",
    "docutils": "rendering text",
    "markdown": "rendering text",
    "pygments": "rendering text",
    "mako": "templates",
    "templates": "templates",
}
# Kallithea's own code about repositories lies in directories whose names say too little.
_BACKENDS = {"git": "git", "hg": "Mercurial"}
REPOSITORY_WORK = frozenset(_BACKENDS.values())
OTHER = "other code"


class Interrupted(BaseException):
    """Raised in a thread whose request has had its time, past every ``except Exception``."""


@dataclass(frozen=True)
class Unanswered:
    """A request, by its number in the list, that was not answered within `seconds`.

    `shares` has the parts of the time by what was done, from 0 to 1, the largest first; `place` is
    the line of Kallithea's own code that was waiting last, empty without one.
    """

    number: int
    seconds: float
    shares: Mapping[str, float]
    place: str = ""

    @property
    def work(self) -> str:
        """What most of the time went into."""
        return next(iter(self.shares), OTHER)


class Observed:
    """Work in a thread that goes from request to request, each of which may never end.

    The thread sets `current` to the number of its request and the monotonic time of its start.
    `unanswered` are the requests that were given up, after which `cancel` is called: what the
    thread waits for in a call of C is to end.
    """

    def __init__(self, cancel: Callable[[], object] = lambda: None) -> None:
        self._cancel = cancel
        self.current: Optional[tuple[int, float]] = None
        self.unanswered: list[Unanswered] = []
        self._seen: dict[tuple[int, float], collections.Counter[str]] = {}
        self._given_up: set[tuple[int, float]] = set()
        self._place = ""

    def has_given_up(self, request: tuple[int, float]) -> bool:
        """Whether `request` had its time, so that its answer is none."""
        return request in self._given_up

    def watch(self, thread: threading.Thread, patience: float, end: float) -> None:
        """Wait for the thread, and interrupt a request after `patience` seconds.

        At the monotonic time `end` the last one has had its time, too. A thread that does not even
        react to the interruption, as in a call of C, is left behind.
        """
        given_up, leave = None, end + QUIET_S
        while thread.is_alive():
            thread.join(SAMPLE_S)
            current, now = self.current, time.monotonic()
            if current and current != given_up and now - current[1] > QUIET_S:
                self._look(thread, current)
                if now > min(current[1] + patience, end):
                    given_up, leave = current, now + REACTION_S
                    self._give_up(thread, current, now)
            elif now > leave and current in (None, given_up):
                return

    def _give_up(self, thread: threading.Thread, request: tuple[int, float], now: float) -> None:
        number, began = request
        late = Unanswered(number, now - began, self.shares(request), self._place)
        self._given_up.add(request)
        self.unanswered.append(late)
        identity = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(Interrupted))
        with contextlib.suppress(Exception):
            self._cancel()

    def shares(self, request: tuple[int, float]) -> Mapping[str, float]:
        """Return the parts of the time of `request` so far by what was done, the largest first.

        There are none of a quick one.
        """
        seen = self._seen.get(request, collections.Counter())
        return {work: count / sum(seen.values()) for work, count in seen.most_common()}

    def _look(self, thread: threading.Thread, current: tuple[int, float]) -> None:
        if current not in self._seen:
            self._seen[current] = collections.Counter()
            self._place = ""
        frames = list(_outwards(sys._current_frames().get(thread.ident or 0)))
        self._seen[current][next(filter(None, map(_work_of, frames)), OTHER)] += 1
        self._place = next(filter(None, map(_own_place, frames)), self._place)


def _outwards(frame: Optional[FrameType]) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _work_of(frame: FrameType) -> str:
    parts = frame.f_code.co_filename.split(os.sep)
    if parts[-3:-2] == ["backends"] and parts[-2] in _BACKENDS:
        return _BACKENDS[parts[-2]]
    return next((_WORK[part] for part in reversed(parts) if part in _WORK), "")


def _own_place(frame: FrameType) -> str:
    _, inside, path = frame.f_code.co_filename.rpartition(f"{os.sep}kallithea{os.sep}")
    return f"kallithea/{path}, line {frame.f_lineno}, in {frame.f_code.co_name}" if inside else ""
