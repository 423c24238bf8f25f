"""Trends as the page shows them: what is notable first, then each figure with its line."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.perf_check.formats.anchors import Anchors, slug
from kallithea_tune.perf_check.formats.sparklines import Sparkline, sparkline
from kallithea_tune.perf_check.formats.trends import LOAD, Figure, History, Mark, Step, mark, step
from kallithea_tune.perf_check.formats.trends import said as words_of
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.results import Results
from kallithea_tune.text import counted, plain
from kallithea_tune.text import figure as shown

FIGURES = 400  # on a page; what changed comes before what did not
LISTED = 25  # of what is notable, those that changed most


@dataclass(frozen=True)
class Trend:
    """A figure with its line; `said` is what became of it, "" where that is nothing notable."""

    anchor: str
    name: str
    values: str
    measured: str
    description: str
    mark: str
    said: str
    line: Sparkline


@dataclass(frozen=True)
class Group:
    """The figures of one check at one place."""

    title: str
    anchor: str
    trends: tuple[Trend, ...]


@dataclass(frozen=True)
class Notable:
    """A line of the list at the beginning."""

    anchor: str
    mark: str
    text: str


@dataclass(frozen=True)
class Section:
    """All trends of a page."""

    runs: str
    notable: tuple[Notable, ...]
    verdict: str
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Judged:
    figure: Figure
    values: Sequence[float]
    step: Optional[Step]
    graded: Severity  # of the finding of the last run that the figure is evidence of

    @property
    def mark(self) -> Mark:
        return mark(self.figure, self.step)

    @property
    def is_notable(self) -> bool:
        """Whether it got worse, or changed while its finding is a bad one."""
        bad = self.mark is Mark.changed and self.graded >= Severity.advice
        return self.mark is Mark.worse or bad


def section(history: History, results: Results, titles: Mapping[str, str]) -> Section:
    """Return the trends of a history that ends with `results`; `titles` of checks by their ids."""
    judged = list(_judged(history, results))
    order = sorted(judged, key=_rank)
    chosen = {one.figure for one in order[:FIGURES]}
    groups, notable = _laid_out([one for one in judged if one.figure in chosen], history, titles)
    notes = list(history.notes)
    if len(judged) > FIGURES:
        notes.append(f"{FIGURES} of {len(judged):,} figures are shown, those that changed first")
    listed = [notable[one.figure] for one in order if one.figure in notable]
    if len(listed) > LISTED:
        notes.append(f"{LISTED} of {len(listed):,} notable figures are listed; all are marked")
    verdict = _verdict(judged, history)
    return Section(_runs(history), tuple(listed[:LISTED]), verdict, groups, tuple(notes))


def _rank(one: _Judged) -> tuple[bool, bool, float]:
    """Return by what figures are sorted: the worst first, and what changed most of these."""
    times = 0.0
    if one.step:
        smaller, larger = sorted((abs(one.step.before), abs(one.step.now)))
        times = larger / smaller if smaller else math.inf
    return not one.is_notable, one.mark is not Mark.worse, -times


def _judged(history: History, results: Results) -> Iterator[_Judged]:
    grades: dict[tuple[str, str, str], Severity] = {}
    for item in results.runs:
        for finding in item.run.findings:
            if not finding.ignored:
                # A history has names as JSON can hold them.
                key = (plain(str(item.place)), finding.check, plain(finding.subject))
                grades[key] = max(grades.get(key, Severity.ok), finding.severity)
    for figure, values in history.figures.items():
        graded = grades.get((figure.place, figure.check, figure.subject), Severity.ok)
        yield _Judged(figure, values, step(figure, values), graded)


def _runs(history: History) -> str:
    first, last = history.times[0], history.times[-1]
    number = len(history.times)
    runs = counted(number, "run")
    if number < history.total:
        runs = f"The newest {number:,} of {history.total:,} runs"
    return f"{runs}, from {_minute(first)} to {_minute(last)} {last:%Z}".strip()


def _verdict(judged: Sequence[_Judged], history: History) -> str:
    """Say what was looked at, so that an empty list means something."""
    compared = sum(sum(value == value for value in one.values) > 1 for one in judged)
    missing = sum(one.values[-1] != one.values[-1] for one in judged)
    marks = [one.mark for one in judged]
    said = f"Of {counted(len(judged), 'figure')}, {compared:,} were measured in two runs or more: "
    said += ", ".join(
        f"{marks.count(kind):,} {'got ' if kind is not Mark.changed else ''}{kind.value}"
        for kind in (Mark.worse, Mark.better, Mark.changed)
    )
    return f"{said}. Not measured in the last run: {missing:,}."


def _laid_out(
    judged: Iterable[_Judged], history: History, titles: Mapping[str, str]
) -> tuple[tuple[Group, ...], dict[Figure, Notable]]:
    anchors = Anchors()
    grouped: dict[tuple[str, str], list[Trend]] = {}
    notable = {}
    for one in judged:
        figure = one.figure
        anchor = anchors.take("trend", figure.place, figure.check, figure.subject, figure.label)
        trend = _trend(one, history, anchor)
        grouped.setdefault((figure.place, figure.check), []).append(trend)
        if one.is_notable:
            where = f"{figure.check}, {figure.place}"
            text = f"{trend.name} ({where}): {trend.said}"
            notable[figure] = Notable(anchor, trend.mark, text)
    places = list(dict.fromkeys(place for place, _ in grouped))
    by_place = sorted(grouped.items(), key=lambda item: places.index(item[0][0]))
    groups = tuple(
        Group(
            _title(place if len(places) > 1 else "", check, titles),
            slug(f"trends {place} {check}"),
            tuple(trends),
        )
        for (place, check), trends in by_place
    )
    return groups, notable


def _title(place: str, check: str, titles: Mapping[str, str]) -> str:
    name = "Load" if check == LOAD else check
    title = f"{name}: {titles[check]}" if check in titles else name
    return f"{title} ({place})" if place else title


def _trend(one: _Judged, history: History, anchor: str) -> Trend:
    figure, unit = one.figure, one.figure.unit
    measured = [value for value in one.values if value == value]
    first, last, low, high = measured[0], measured[-1], min(measured), max(measured)
    values = f"first {shown(first)}, last {shown(last)}, min {shown(low)}, max {shown(high)}{unit}"
    if low == high:
        values = f"always {shown(last)}{unit}"
    number = f"measured in {len(measured):,} of {counted(len(one.values), 'run')}"
    if one.values[-1] != one.values[-1]:
        newest = max(run for run, value in enumerate(one.values) if value == value)
        number += f", last on {_minute(history.times[newest])}"
    said = words_of(figure, one.step, history.times) if one.step else ""
    name = ", ".join(filter(None, (figure.subject, figure.label, unit.strip())))
    description = ". ".join(filter(None, (values, number, said)))
    line = sparkline(history.times, one.values)
    return Trend(anchor, name, values, number, description, one.mark.value, said, line)


def _minute(time: datetime.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
