"""The report to look at: one page without any other file, script or address that it needs."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.perf_check import report
from kallithea_tune.perf_check.formats import curves, plots, trends_section
from kallithea_tune.perf_check.formats.anchors import Anchors, slug
from kallithea_tune.perf_check.formats.plots import Plot
from kallithea_tune.perf_check.formats.trends import History
from kallithea_tune.perf_check.model import Finding, Severity, all_checks
from kallithea_tune.perf_check.remedy import steps_of
from kallithea_tune.perf_check.results import Curve, Level, PlacedRun, Results
from kallithea_tune.system import written_path
from kallithea_tune.system.written_path import Output, Place
from kallithea_tune.text import evidence_text, figure, percentage, printable

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
    """A line of the summary: the worst of an area, and how many findings of each severity."""

    name: str
    severity: str
    diagnosis: str
    counts: str


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
    """A curve with its plots and its table; what was not measured has the reason only."""

    curve: Curve
    plots: tuple[Plot, ...]
    table: tuple[Percentiles, ...]


def place(path: str, instance: Instance) -> Place:
    """Return where `write` writes to. Raises as `examine`, before anything is measured."""
    return written_path.examine(path, OUTPUT, {"the ini file": instance.path})


def write(results: Results, where: Place, history: Optional[History] = None) -> None:
    """Write the page, completely or not at all."""
    written_path.write(where, page(results, datetime.datetime.now(), history))


def page(results: Results, when: datetime.datetime, history: Optional[History] = None) -> str:
    """Return the page, with the trends of a history that ends with `results`.

    All that it shows is escaped, and nothing in it is a link to elsewhere.
    """
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
        loads=list(map(_load, results.curves)),
        changes=results.changes,
        trends=_trends(history, results) if history and history.times else None,
    )
    return HEAD + rendered + "\n"


def _trends(history: History, results: Results) -> trends_section.Section:
    titles = {check.id: check.title for check in all_checks()}
    return trends_section.section(history, results, titles)


def _visible(value: object) -> object:
    """Show what a browser would not, or would reorder the text around."""
    return printable(value, lines=True) if isinstance(value, str) else value


def _section(placed: PlacedRun, number: int) -> Section:
    run = placed.run
    title = str(placed.place)
    prefix = slug(title) if number else ""
    shown = [item for item in report.merged(run.findings) if item.severity > Severity.ok]
    return Section(
        title,
        slug(title),
        report.left_out(run),
        tuple(_areas(run.findings)),
        tuple(_items(shown, prefix)),
        tuple(run.notes),
        f"{report.checks_of(run)}. {run.busyness or ''}".strip(),
    )


def _areas(findings: Sequence[Finding]) -> Iterable[Area]:
    for name, own, worst in report.by_area(findings):
        levels = [finding.severity for finding in own]
        counts = ", ".join(
            report.count_of(level, levels.count(level))
            for level in sorted(set(levels), reverse=True)
        )
        diagnosis = "" if worst.severity is Severity.ok else worst.diagnosis
        yield Area(name, worst.severity.name, diagnosis, counts)


def _items(findings: Sequence[Finding], prefix: str) -> Iterable[Item]:
    anchors = Anchors()
    for finding in findings:
        yield _item(finding, anchors.take(prefix, finding.check, finding.subject))


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


def _load(curve: Curve) -> Load:
    if not curve.levels:
        return Load(curve, (), ())
    drawn = [plots.scaling(curve)]
    if max(curve.levels, key=lambda level: level.workers).latencies_ms:
        drawn.append(plots.latencies(curve))
    return Load(curve, tuple(drawn), tuple(map(_percentiles, curve.levels)))


def _percentiles(level: Level) -> Percentiles:
    p50, p95, p99 = (curves.percentile(level, part) for part in curves.PERCENTILES)
    rates = ", ".join(map(figure, level.requests_s))
    cpu = percentage(level.generator_cpu)
    return Percentiles(level.workers, rates, p50, p95, p99, level.errors, cpu)
