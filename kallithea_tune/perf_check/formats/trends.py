"""Figures over many runs: what is followed, and what got notably worse since when."""

from __future__ import annotations

import datetime
import enum
import math
import re
import statistics
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Sequence

from kallithea_tune.perf_check.model import Finding
from kallithea_tune.perf_check.saved_run import SavedResults
from kallithea_tune.text import figure as shown
from kallithea_tune.text import label_and_unit

LOAD = "load"  # in the place of a check
# A change is one of the last ten values, by the ten before it: our judgement. A single first value
# is no measure of what is usual, once there are more.
LATEST = 10
USUAL = 10
FEWEST_USUAL = 3
# The same part as between two runs that --compare sets beside each other; and what nobody feels.
NOTABLE = 0.5
LEAST_MS = 0.1
_TIMES = {" us": 0.001, " ms": 1.0, " s": 1000.0}
_RATES = ("/s", " MB/s")
# Times that are won, times that are only set, and what nobody wants more of.
_GAIN = re.compile(r"\bsaved\b")
_SETTING = re.compile(r"\b(timeout|recycle)\b")
_HARM = re.compile(r"\b(swapped|errors)\b")


class Mark(enum.Enum):
    """What became of a figure; `changed` where more may be good or bad."""

    worse = "worse"
    better = "better"
    changed = "changed"
    none = ""


@dataclass(frozen=True)
class Figure:
    """A number that a check finds about a subject in each run: an entry of the evidence, and its
    `part` where that is a mapping.
    """

    place: str
    check: str
    subject: str
    name: str
    part: str = ""

    @property
    def label(self) -> str:
        """What it is, without its unit."""
        return f"{label_and_unit(self.name)[0]} {self.part}".strip()

    @property
    def unit(self) -> str:
        """Its unit, as it follows a number."""
        return label_and_unit(self.name)[1]

    @property
    def more_is_worse(self) -> Optional[bool]:
        """Whether more of it is worse or better; None where that depends."""
        if _SETTING.search(self.label):
            return None
        if _HARM.search(self.label):
            return True
        if self.unit in _TIMES:
            return not _GAIN.search(self.label)
        return False if self.unit in _RATES else None


@dataclass(frozen=True)
class History:
    """The figures of runs at `times`, the oldest first; NaN is what a run did not measure.

    `total` runs there are; `notes` say what could not be read.
    """

    times: tuple[datetime.datetime, ...]
    figures: Mapping[Figure, Sequence[float]]
    total: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A change that lasts: the median `now`, since the run `begin`, and of those `before`."""

    begin: int
    before: float
    now: float


def figures(found: SavedResults) -> dict[Figure, float]:
    """Return all numbers that a run measured; of two findings about one subject, the worse one's
    where they differ.
    """
    values: dict[Figure, float] = {}
    for item in found.places:
        place = str(item.place)
        for finding in sorted(item.findings, key=lambda one: -one.severity):
            for name, part, value in _numbers(finding):
                key = Figure(place, finding.check, finding.subject, name, part)
                values.setdefault(key, value)
    for load in found.loads:
        workers = f"with {load.workers} workers"
        for name, value in load.figures.items():
            if math.isfinite(value):
                key = Figure(str(found.places[0].place), LOAD, load.subject, name, workers)
                values.setdefault(key, value)
    return values


def _numbers(finding: Finding) -> Iterator[tuple[str, str, float]]:
    """Yield the name of each number, its part, and the number."""
    entries: list[tuple[str, str, object]] = [
        ("costs_ms", f"per {finding.impact_per}", finding.impact_ms)
    ]
    for name, value in finding.evidence.items():
        if isinstance(value, Mapping):
            entries += [(name, part, inner) for part, inner in value.items()]
        else:
            entries.append((name, "", value))
    for name, part, value in entries:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and math.isfinite(value):  # type: ignore[arg-type]
            yield name, part, float(value)  # type: ignore[arg-type]


def step(figure: Figure, values: Sequence[float]) -> Optional[Step]:
    """Return the largest lasting change among the last values, None where there is no notable one.

    All values since are larger, or all smaller, than each of those before it.
    """
    measured = [(run, value) for run, value in enumerate(values) if value == value]
    fewest = min(FEWEST_USUAL, len(measured) - 1)
    found = []
    for split in range(max(1, fewest, len(measured) - LATEST), len(measured)):
        usual = [value for _, value in measured[max(0, split - USUAL) : split]]
        latest = [value for _, value in measured[split:]]
        if min(latest) > max(usual) or max(latest) < min(usual):
            now, before = statistics.median(latest), statistics.median(usual)
            found.append(Step(measured[split][0], before, now))
    notable = [one for one in found if _is_notable(one, figure.unit)]
    return max(notable, key=lambda one: abs(one.now - one.before), default=None)


def _is_notable(step: Step, unit: str) -> bool:
    difference = abs(step.now - step.before)
    if difference * _TIMES.get(unit, math.inf) < LEAST_MS:
        return False
    return difference >= NOTABLE * min(abs(step.now), abs(step.before))


def mark(figure: Figure, step: Optional[Step]) -> Mark:
    """Return whether a step is one to the worse."""
    if step is None:
        return Mark.none
    if figure.more_is_worse is None:
        return Mark.changed
    return Mark.worse if (step.now > step.before) is figure.more_is_worse else Mark.better


def said(figure: Figure, step: Step, times: Sequence[datetime.datetime]) -> str:
    """Return a step in words."""
    return (
        f"{mark(figure, step).value} since {times[step.begin]:%Y-%m-%d %H:%M}: "
        f"{shown(step.now)}{figure.unit} instead of {shown(step.before)}{figure.unit}"
    )
