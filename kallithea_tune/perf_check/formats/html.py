"""The report to look at: one page without any other file, script or address that it needs."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Iterable, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.perf_check import report
from kallithea_tune.perf_check.formats import plots
from kallithea_tune.perf_check.formats.plots import Plot
from kallithea_tune.perf_check.model import AREAS, Finding, Severity
from kallithea_tune.perf_check.remedy import steps_of
from kallithea_tune.perf_check.results import Curve, Level, PlacedRun, Results, Row
from kallithea_tune.system import written_path
from kallithea_tune.system.written_path import Output, Place
from kallithea_tune.text import counted, evidence_text, figure, printable

HEAD = "<!DOCTYPE html>\n<!-- a report of kallithea_tune -->\n"
OUTPUT = Output("--html", "a report that --html wrote", lambda head: head.startswith(HEAD.encode()))


@dataclass(frozen=True)
class Item:
    """A finding as the page shows it; `anchor` is the same in every report about the same."""

    anchor: str
    check: str
    severity: str
    diagnosis: str
    subject: str
    evidence: str
    threshold: str
    source: str
    remedy: str
    command: str
    ignored: str


@dataclass(frozen=True)
class Area:
    """A line of the summary: the worst of an area, and what of it was not examined."""

    name: str
    severity: str
    diagnosis: str
    counts: str
    unknown: int


@dataclass(frozen=True)
class Section:
    """The findings of one place."""

    title: str
    anchor: str
    left_out: str
    areas: tuple[Area, ...]
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    closing: str


@dataclass(frozen=True)
class Percentiles:
    """A line of the table beside a curve."""

    workers: int
    requests: str
    p50: str
    p95: str
    p99: str
    errors: int
    generator: str


@dataclass(frozen=True)
class Load:
    """A curve with its plots and its table."""

    curve: Curve
    plots: tuple[Plot, ...]
    table: tuple[Percentiles, ...]


def place(path: str, instance: Instance) -> Place:
    """Return where `write` writes to. Raises as `examine`, before anything is measured."""
    return written_path.examine(path, OUTPUT, {"the ini file": instance.path})


def write(results: Results, where: Place) -> None:
    """Write the page, completely or not at all."""
    written_path.write(where, page(results, datetime.datetime.now()))


def page(results: Results, when: datetime.datetime) -> str:
    """Return the page. All that it shows is escaped, and nothing in it is a link to elsewhere."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kallithea_tune.perf_check.formats", "."),
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rendered = environment.get_template("report.html.j2").render(
        when=when.strftime("%Y-%m-%d %H:%M"),
        sections=[_section(placed, number) for number, placed in enumerate(results.runs)],
        silent=results.silent,
        matrix=results.matrix,
        differing=_differing(results.matrix.rows) if results.matrix else (),
        loads=[_load(curve) for curve in results.curves if curve.levels],
        changes=results.changes,
    )
    return HEAD + rendered + "\n"


def _visible(value: object) -> object:
    """Show what a browser would not, or would reorder the text around."""
    return printable(value, lines=True) if isinstance(value, str) else value


def _section(placed: PlacedRun, number: int) -> Section:
    run = placed.run
    title = " on ".join(filter(None, (placed.place.instance, placed.place.machine)))
    prefix = _slug(title) if number else ""
    shown = [item for item in report.merged(run.findings) if item.severity > Severity.ok]
    seconds = f"{counted(len(run.checks), 'check')} in {run.seconds:.1f} s"
    return Section(
        title,
        _slug(title),
        report.left_out(run),
        tuple(_areas(run.findings)),
        tuple(_items(shown, prefix)),
        tuple(run.notes),
        f"{seconds}. {run.busyness or ''}".strip(),
    )


def _areas(findings: Sequence[Finding]) -> Iterable[Area]:
    found = []
    for name in dict.fromkeys([*AREAS, *(finding.area for finding in findings)]):
        own = [one for one in findings if one.area == name and not one.ignored]
        if not own:
            continue
        worst = max(own, key=lambda one: (one.severity, one.impact_ms or 0.0))
        unknown = sum(one.severity is Severity.unknown for one in own)
        counts = ", ".join(
            f"{number} {level.name}"
            for level in sorted(Severity, reverse=True)
            for number in [sum(one.severity is level for one in own)]
            if number
        )
        diagnosis = "" if worst.severity is Severity.ok else worst.diagnosis
        found.append(Area(name, worst.severity.name, diagnosis, counts, unknown))
    return sorted(found, key=lambda area: -Severity[area.severity])


def _items(findings: Sequence[Finding], prefix: str) -> Iterable[Item]:
    seen: dict[str, int] = {}
    for finding in findings:
        anchor = "-".join(filter(None, (prefix, finding.check, _slug(finding.subject))))
        seen[anchor] = seen.get(anchor, 0) + 1
        if seen[anchor] > 1:
            anchor += f"-{seen[anchor]}"
        yield _item(finding, anchor)


def _item(finding: Finding, anchor: str) -> Item:
    command = "\n".join(getattr(step, "line", str(step)) for step in steps_of(finding.remedy))
    return Item(
        anchor,
        finding.check,
        "ignored" if finding.ignored else finding.severity.name,
        finding.diagnosis,
        finding.subject if finding.subject not in finding.diagnosis else "",
        "; ".join(filter(None, (finding.impact, evidence_text(finding.evidence)))),
        finding.threshold,
        finding.source,
        "" if command else str(finding.remedy),
        command,
        finding.ignored,
    )


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60]


def _differing(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if not row.equal or row.severity > Severity.ok)


def _load(curve: Curve) -> Load:
    drawn = [plots.scaling(curve)]
    if max(curve.levels, key=lambda level: level.workers).latencies_ms:
        drawn.append(plots.latencies(curve))
    return Load(curve, tuple(drawn), tuple(map(_percentiles, curve.levels)))


def _percentiles(level: Level) -> Percentiles:
    ranked = sorted(level.latencies_ms)

    def at(percent: int) -> str:
        # Nearest rank, one of the latencies.
        return f"{figure(ranked[-(-len(ranked) * percent // 100) - 1])} ms" if ranked else "none"

    rates = ", ".join(map(figure, level.requests_s))
    cpu = f"{100 * level.generator_cpu:.0f} %"
    return Percentiles(level.workers, rates, at(50), at(95), at(99), level.errors, cpu)
