"""Plots as SVG inside a page, in the page's own colours, light and dark.

leather (0.4.1) and pygal (3.1.3) write colours and fonts into each element, which no style of the
page can change, and neither draws the band of an interval; so these few lines are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Sequence

from kallithea_tune.perf_check.results import Band, Curve, Level
from kallithea_tune.text import figure

WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 40
TICKS = 5


@dataclass(frozen=True)
class Scale:
    """Where the values from 0 to `most` lie, between the pixels `begin` and `end`."""

    most: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.begin + (self.end - self.begin) * value / (self.most or 1.0)


@dataclass(frozen=True)
class Mark:
    """A point, and the text on which a pointer rests: ``4 workers: 12.5 requests/s``."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Plot:
    """A plot in pixels: axes with their ticks, a line, a band around it, and points."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    points: tuple[Mark, ...]
    line: str = ""
    band: str = ""

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM


def scaling(curve: Curve) -> Plot:
    """Plot the requests per second of each repeat by workers, with the band of the fit."""
    rates = [rate for level in curve.levels for rate in level.requests_s]
    x = Scale(max(level.workers for level in curve.levels), LEFT, WIDTH - RIGHT)
    most = max([*rates, *(band.high for band in curve.bands)], default=1.0)
    y = Scale(_rounded_up(most), HEIGHT - BOTTOM, TOP)
    points = [
        Mark(x.at(level.workers), y.at(rate), f"{level.workers} workers: {figure(rate)} requests/s")
        for level in curve.levels
        for rate in level.requests_s
    ]
    return Plot(
        f"Throughput of {curve.subject}",
        "workers",
        "requests/s",
        tuple((x.at(level.workers), str(level.workers)) for level in curve.levels),
        _ticks(y),
        tuple(points),
        _path((x.at(band.workers), y.at(band.estimate)) for band in curve.bands),
        _band(curve.bands, x, y),
    )


def latencies(curve: Curve) -> Plot:
    """Plot the part of the requests that took no longer than so many ms, at the largest level."""
    level: Level = max(curve.levels, key=lambda one: one.workers)
    ranked = sorted(level.latencies_ms)
    # The slowest percent would squeeze all others into a corner; the table beside has it.
    shown = ranked[: max(1, len(ranked) * 99 // 100)]
    x = Scale(_rounded_up(shown[-1]), LEFT, WIDTH - RIGHT)
    y = Scale(100.0, HEIGHT - BOTTOM, TOP)
    steps = [
        (x.at(ms), y.at(100.0 * (number + 1) / len(ranked))) for number, ms in enumerate(shown)
    ]
    return Plot(
        f"Latency of {curve.subject} with {level.workers} workers",
        "milliseconds",
        "% of requests",
        _ticks(x),
        _ticks(y),
        (),
        _path(_thinned(steps)),
    )


def _thinned(steps: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Leave out what lies within a pixel: a page of 100,000 requests stays small."""
    kept: dict[int, tuple[float, float]] = {}
    for step in steps:
        kept[int(step[0])] = step
    return list(kept.values())


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _band(bands: Sequence[Band], x: Scale, y: Scale) -> str:
    above = [(x.at(band.workers), y.at(band.high)) for band in bands]
    below = [(x.at(band.workers), y.at(max(0.0, band.low))) for band in reversed(bands)]
    return _path([*above, *below])


def _rounded_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, ... that is not below `value`."""
    power = 1e-3
    while True:
        for factor in (1.0, 2.0, 5.0):
            if factor * power >= value:
                return factor * power
        power *= 10


def _ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    values = [scale.most * number / TICKS for number in range(TICKS + 1)]
    return tuple((scale.at(value), figure(value)) for value in values)
