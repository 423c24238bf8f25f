"""Small lines without axes, for many trends beside each other, as SVG inside a page."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence, Tuple

WIDTH, HEIGHT = 240, 56
LEFT, RIGHT, TOP, BOTTOM = 4, WIDTH - 4, 4, 38
LABELS = HEIGHT - 6  # the base line of the dates

Point = Tuple[float, float]


@dataclass(frozen=True)
class Sparkline:
    """A trend in pixels; `last` is where its last point is, if the last run measured it."""

    path: str
    begin: str
    end: str
    last: Optional[Point] = None

    width, height, left, right, bottom, labels = WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, LABELS


def sparkline(times: Sequence[datetime.datetime], values: Sequence[float]) -> Sparkline:
    """Draw the values of runs at `times`, the oldest first, from the smallest to the largest.

    NaN is a gap: what was not measured is not joined over. One value at least is a number.
    """
    xs = positions(times)
    measured = [value for value in values if value == value]
    low, high = min(measured), max(measured)
    points = [(x, _height(value, low, high)) for x, value in zip(xs, values)]
    path = "".join(map(_line, _pieces(points)))
    begin, end = labels(times[0], times[-1])
    return Sparkline(path, begin, end, points[-1] if values[-1] == values[-1] else None)


def positions(times: Sequence[datetime.datetime]) -> list[float]:
    """Return where each time lies between the first and the last; a single one is the last."""
    span = (times[-1] - times[0]).total_seconds()
    if span <= 0:
        return [float(RIGHT)] * len(times)
    width = RIGHT - LEFT
    return [LEFT + width * (time - times[0]).total_seconds() / span for time in times]


def labels(begin: datetime.datetime, end: datetime.datetime) -> tuple[str, str]:
    """Return the ends of the time axis: days, or times of one day."""
    if begin.date() == end.date():
        return f"{begin:%H:%M}", f"{end:%H:%M}"
    return f"{begin:%Y-%m-%d}", f"{end:%Y-%m-%d}"


def _height(value: float, low: float, high: float) -> float:
    """Return the pixel of a value; NaN stays NaN, and what never changes is in the middle."""
    part = (value - low) / (high - low) if high > low else 0.5 + 0 * value
    return BOTTOM + (TOP - BOTTOM) * part


def _pieces(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Yield what was measured in runs that follow each other."""
    piece: list[Point] = []
    for point in points:
        if point[1] == point[1]:
            piece.append(point)
        elif piece:
            yield piece
            piece = []
    if piece:
        yield piece


def _line(piece: Sequence[Point]) -> str:
    """Return the path of a piece; that of one point is a dot where the caps of lines are round."""
    shown = [f"{x:.1f},{y:.1f}" for x, y in _thinned(piece)]
    return f"M{shown[0]}L{' '.join(shown[1:] or shown)}"


def _thinned(piece: Sequence[Point]) -> Iterator[Point]:
    """Yield at most the lowest and the highest point of each pixel: 1,000 runs stay small."""
    columns: dict[int, list[Point]] = {}
    for point in piece:
        columns.setdefault(int(point[0]), []).append(point)
    for column in columns.values():
        ends = {min(column, key=lambda one: one[1]), max(column, key=lambda one: one[1])}
        yield from sorted(ends)
