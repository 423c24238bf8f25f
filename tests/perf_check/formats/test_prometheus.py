"""Metrics for the textfile collector, read by Prometheus's own parser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kallithea_tune.config.instance import Instance
from kallithea_tune.config.redact import Redactor
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.perf_check.formats import prometheus
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import Place, PlacedRun, Results, Silent
from kallithea_tune.perf_check.runner import Run

HOSTILE = 'a"b\\c\n# TYPE x counter\n'


def results() -> Results:
    findings = [
        Finding(Severity.error, "a", "one", check="DB001", area="database", impact_ms=1500.0),
        Finding(Severity.ok, "b", "two", check="DB001", area="database", impact_ms=20.0),
        Finding(Severity.unknown, "not measured: c", check="DB002", area="database"),
        Finding(Severity.warning, "d", check="WEB001", area="serving", ignored="known"),
    ]
    here = PlacedRun(Place("my.ini"), Run(findings, 2.25))
    there = PlacedRun(Place("my.ini", HOSTILE), Run([], 1.0))
    return Results((here, there), (Silent("worker3", "gone"),))


def samples() -> "dict[tuple[str, frozenset[tuple[str, str]]], float]":
    found = {}
    for family in text_string_to_metric_families(prometheus.text(results())):
        assert family.type == "gauge" and family.documentation
        for sample in family.samples:
            assert sample.timestamp is None
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, "a sample is there twice"
            found[key] = sample.value
    return found


def value(name: str, **labels: str) -> "float | None":
    return samples().get((f"kallithea_tune_{name}", frozenset(labels.items())))


def test_findings_are_counted_by_severity_and_place() -> None:
    assert value("findings", ini="my.ini", severity="error") == 1
    assert value("findings", ini="my.ini", severity="ignored") == 1
    assert value("findings", ini="my.ini", severity="warning") == 0
    assert value("run_duration_seconds", ini="my.ini") == 2.25
    assert value("machines_silent") == 1


def test_what_was_not_measured_has_no_grade() -> None:
    labels = {"ini": "my.ini", "area": "database"}
    assert value("check_grade", check="DB001", **labels) == 3
    assert value("check_grade", check="DB002", **labels) is None
    assert value("check_measured", check="DB001", **labels) == 1
    assert value("check_measured", check="DB002", **labels) == 0
    assert value("check_impact_seconds", ini="my.ini", check="DB001", per="") == 1.5


def test_a_hostile_name_is_a_label_and_nothing_else() -> None:
    machines = {dict(labels).get("machine") for _, labels in samples()}
    assert machines == {None, 'a"b\\c\\n# TYPE x counter\\n'}


def instance(directory: Path) -> Instance:
    return Instance(str(directory / "my.ini"), "main", "", "", {}, {}, {}, Redactor())


def test_the_file_is_replaced_and_readable_for_the_collector(tmp_path: Path) -> None:
    path = tmp_path / "kallithea.prom"
    for _ in range(2):
        prometheus.write(results(), prometheus.place(str(path), instance(tmp_path)))
    assert path.read_text() == prometheus.text(results())
    assert os.stat(path).st_mode & 0o777 == 0o644 and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name, error", [("kallithea.txt", ConfigError), ("other.prom", Refused)])
def test_what_the_collector_ignores_or_others_wrote_is_refused(
    tmp_path: Path, name: str, error: "type[Exception]"
) -> None:
    (tmp_path / "other.prom").write_text("node_load1 0.1\n")
    with pytest.raises(error):
        prometheus.place(str(tmp_path / name), instance(tmp_path))
    assert (tmp_path / "other.prom").read_text() == "node_load1 0.1\n"
