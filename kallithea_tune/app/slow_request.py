"""Where a request that takes long spends its time, by the stack of its thread."""

from __future__ import annotations

import collections
import os
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import Iterator, Mapping, Optional

# A request is observed from its first second on: until then, looking would cost what is measured.
QUIET_S, SAMPLE_S = 1.0, 0.05
# What code in these files and packages does; the innermost counts, which the others wait for.
_WORK = {
    "subprocessio.py": "git",
    "dulwich": "git",
    "mercurial": "Mercurial",
    "sqlalchemy": "SQL",
    "docutils": "rendering text",
    "markdown": "rendering text",
    "pygments": "rendering text",
    "mako": "templates",
    "templates": "templates",
}
OTHER = "other code"


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


class Observed:
    """Work in a thread that goes from request to request, and may never end.

    The thread sets `current` to the number of its request and the monotonic time of its start.
    """

    def __init__(self) -> None:
        self.current: Optional[tuple[int, float]] = None
        self._seen: collections.Counter[str] = collections.Counter()
        self._of: Optional[tuple[int, float]] = None
        self._place = ""

    def watch(self, thread: threading.Thread, end: float) -> Optional[Unanswered]:
        """Wait for the thread until the monotonic time `end`; return what it has not done."""
        while True:
            thread.join(SAMPLE_S)
            current, now = self.current, time.monotonic()
            if not thread.is_alive():
                return None
            if current and now - current[1] > QUIET_S:
                self._look(thread, current)
                if now > end:
                    return self._unanswered(current[0], now - current[1])
            elif now > end + QUIET_S:
                return None

    def _look(self, thread: threading.Thread, current: tuple[int, float]) -> None:
        if current != self._of:
            self._of, self._place = current, ""
            self._seen.clear()
        frames = list(_outwards(sys._current_frames().get(thread.ident or 0)))
        self._seen[next(filter(None, map(_work_of, frames)), OTHER)] += 1
        self._place = next(filter(None, map(_own_place, frames)), self._place)

    def _unanswered(self, number: int, seconds: float) -> Unanswered:
        total = sum(self._seen.values())
        shares = {work: count / total for work, count in self._seen.most_common()}
        return Unanswered(number, seconds, shares, self._place)


def _outwards(frame: Optional[FrameType]) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _work_of(frame: FrameType) -> str:
    parts = frame.f_code.co_filename.split(os.sep)
    return next((_WORK[part] for part in reversed(parts) if part in _WORK), "")


def _own_place(frame: FrameType) -> str:
    _, inside, path = frame.f_code.co_filename.rpartition(f"{os.sep}kallithea{os.sep}")
    return f"kallithea/{path}, line {frame.f_lineno}, in {frame.f_code.co_name}" if inside else ""
