"""Metrics for the textfile collector of Prometheus's node_exporter.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/. Samples have no
timestamps, which the collector refuses; the time of the file is that of the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator, Mapping

from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import PlacedRun, Results
from kallithea_tune.system import written_path
from kallithea_tune.system.written_path import Output, Place
from kallithea_tune.text import printable

SUFFIX = ".prom"  # of the files that the collector reads
FIRST = "# HELP kallithea_tune_"
# Numbers by which an alert can say how bad: unknown has a metric of its own.
GRADES = {Severity.ok: 0, Severity.advice: 1, Severity.warning: 2, Severity.error: 3}

OUTPUT = Output(
    "--prometheus",
    "metrics that --prometheus wrote",
    lambda head: head.startswith(FIRST.encode()),
)


@dataclass(frozen=True)
class Sample:
    """A value with its labels."""

    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Metric:
    """A gauge: its name without the common beginning, its help text and its samples."""

    name: str
    help: str
    samples: tuple[Sample, ...]


def place(path: str, instance: Instance) -> Place:
    """Return where `write` writes to, before anything is measured.

    Raises ConfigError for a name that the collector would not read, and as `written_path.examine`.
    """
    found = written_path.examine(path, OUTPUT, {"the ini file": instance.path})
    if found.stream is None and not found.path.endswith(SUFFIX):
        raise ConfigError(
            f"--prometheus {path} does not end in {SUFFIX}, so the textfile collector "
            f"would not read it; give a file that does"
        )
    return found


def write(results: Results, where: Place) -> None:
    """Write the metrics, completely or not at all, readable for the collector."""
    written_path.write(where, text(results), mode=0o644)


def text(results: Results) -> str:
    """Return all metrics in the exposition format."""
    return "".join(_lines(metric) for metric in metrics(results))


def metrics(results: Results) -> Iterator[Metric]:
    """Yield the metrics of all runs. Subjects are no labels: there may be thousands of them."""
    runs = results.runs
    yield Metric(
        "findings",
        "Findings of the last run by severity.",
        tuple(sample for placed in runs for sample in _counts(placed)),
    )
    yield Metric(
        "check_grade",
        "Worst finding of each check: 0 ok, 1 advice, 2 warning, 3 error.",
        tuple(sample for placed in runs for sample in _grades(placed)),
    )
    yield Metric(
        "check_measured",
        "Whether the check examined everything: 1 yes, 0 no.",
        tuple(sample for placed in runs for sample in _measured(placed)),
    )
    yield Metric(
        "check_impact_seconds",
        "Cost of the worst finding of a check, in the unit of the label.",
        tuple(sample for placed in runs for sample in _impacts(placed)),
    )
    yield Metric(
        "run_duration_seconds",
        "How long the last run took.",
        tuple(Sample(placed.run.seconds, _labels(placed)) for placed in runs),
    )
    yield Metric(
        "machines_silent",
        "Machines that sent no report in the last run.",
        (Sample(len(results.silent), {}),),
    )


def _labels(placed: PlacedRun) -> dict[str, str]:
    machine = {"machine": placed.place.machine} if placed.place.machine else {}
    return {"ini": placed.place.instance, **machine}


def _by_check(placed: PlacedRun) -> Mapping[tuple[str, str], list[Finding]]:
    found: dict[tuple[str, str], list[Finding]] = {}
    for finding in placed.run.findings:
        if not finding.ignored:
            found.setdefault((finding.check, finding.area), []).append(finding)
    return dict(sorted(found.items()))


def _counts(placed: PlacedRun) -> Iterator[Sample]:
    counted = [finding for finding in placed.run.findings if not finding.ignored]
    for severity in Severity:
        number = sum(finding.severity is severity for finding in counted)
        yield Sample(number, {**_labels(placed), "severity": severity.name})
    ignored = len(placed.run.findings) - len(counted)
    yield Sample(ignored, {**_labels(placed), "severity": "ignored"})


def _grades(placed: PlacedRun) -> Iterator[Sample]:
    for (check, area), findings in _by_check(placed).items():
        grades = [GRADES[one.severity] for one in findings if one.severity in GRADES]
        # Where nothing was measured there is no grade: not 0, which would be ok.
        if grades:
            yield Sample(max(grades), {**_labels(placed), "check": check, "area": area})


def _measured(placed: PlacedRun) -> Iterator[Sample]:
    for (check, area), findings in _by_check(placed).items():
        complete = all(one.severity is not Severity.unknown for one in findings)
        yield Sample(int(complete), {**_labels(placed), "check": check, "area": area})


def _impacts(placed: PlacedRun) -> Iterator[Sample]:
    for (check, _), findings in _by_check(placed).items():
        costs: dict[str, float] = {}
        for one in findings:
            if one.impact_ms is not None and math.isfinite(one.impact_ms):
                costs[one.impact_per] = max(costs.get(one.impact_per, -math.inf), one.impact_ms)
        for per, cost in costs.items():
            yield Sample(cost / 1000, {**_labels(placed), "check": check, "per": per})


def _lines(metric: Metric) -> str:
    if not metric.samples:
        return ""
    name = f"kallithea_tune_{metric.name}"
    head = [f"# HELP {name} {metric.help}", f"# TYPE {name} gauge"]
    return "\n".join([*head, *(_sample(name, item) for item in metric.samples), ""])


def _sample(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels.items())
    value = repr(float(sample.value)) if sample.value % 1 else str(int(sample.value))
    return f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
