"""How long it takes until what is changed through one path is seen through another."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Optional, Sequence

from kallithea_tune.perf_check.storage import disk

LOOK_S = 0.01


@dataclass(frozen=True)
class Delay:
    """Seconds until a change through `written` was seen through `read`; None where it was not
    within `limit` seconds.
    """

    written: str
    read: str
    new_file: Optional[float]
    size: Optional[float]
    time: Optional[float]
    limit: float

    @property
    def longest(self) -> Optional[float]:
        """The longest of the three, None where one of them was not seen."""
        if self.new_file is None or self.size is None or self.time is None:
            return None
        return max(self.new_file, self.size, self.time)


@dataclass
class _Watch:
    """A file that is changed through one path, as the other one has seen it before."""

    written: str
    read: str
    before: Optional[os.stat_result]
    seen: dict[str, float]

    def look(self, began: float) -> bool:
        """Look for what has changed; return whether all of it has."""
        status = _stat(self.read)
        now = time.monotonic() - began
        if status and self.before is None:
            self.seen.setdefault("new_file", now)
        elif status and self.before:
            if status.st_size != self.before.st_size:
                self.seen.setdefault("size", now)
            if status.st_mtime_ns != self.before.st_mtime_ns:
                self.seen.setdefault("time", now)
        return len(self.seen) == (1 if self.before is None else 2)


def delays(place: str, within: float, others: Sequence[str] = ()) -> tuple[Delay, ...]:
    """Change files through each path, and wait until each other one sees it, at most `within`.

    `place` is a new directory, and `others` are further paths to the one that contains it. All are
    waited for at once. For a child.
    """
    parents = [os.path.dirname(place), *others]
    name = os.path.basename(place)
    pairs = [(one, other) for one in parents for other in parents if one != other]
    with disk.room(place):
        new = [_watch(pair, name, f"new{number}") for number, pair in enumerate(pairs)]
        grown = [_watch(pair, name, f"old{number}", make=True) for number, pair in enumerate(pairs)]
        began = time.monotonic()
        for watch in (*new, *grown):
            _append(watch.written)
        waiting = [*new, *grown]
        while waiting and time.monotonic() < began + within:
            waiting = [watch for watch in waiting if not watch.look(began)]
            time.sleep(LOOK_S)
    return tuple(
        Delay(
            *pair,
            first.seen.get("new_file"),
            second.seen.get("size"),
            second.seen.get("time"),
            within,
        )
        for pair, first, second in zip(pairs, new, grown)
    )


def _watch(pair: tuple[str, str], place: str, name: str, make: bool = False) -> _Watch:
    """Have both paths look for a file, so that what they remember is from before the change."""
    written, read = (os.path.join(parent, place, name) for parent in pair)
    if make:
        _append(written)
        # Of another time than the change, however coarse the clock of the file system is.
        os.utime(written, (1, 1))
    return _Watch(written, read, _stat(read), {})


def _append(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def _stat(path: str) -> Optional[os.stat_result]:
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path)
    return None
