"""The line for a monitoring system: its status, its form, and what names cannot do to it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from kallithea_tune.perf_check.formats import nagios
from kallithea_tune.perf_check.formats.nagios import Status
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import Curve, Place, PlacedRun, Results, Silent
from kallithea_tune.perf_check.runner import Run


def results(*severities: Severity, silent: int = 0, diagnosis: str = "slow") -> Results:
    findings = [
        Finding(severity, diagnosis, check=f"DB{number:03}")
        for number, severity in enumerate(severities)
    ]
    machines = tuple(Silent(f"host{number}", "gone") for number in range(silent))
    return Results((PlacedRun(Place("my.ini"), Run(findings, 1.5)),), machines)


@pytest.mark.parametrize(
    "severities, fail_on, expected",
    [
        ([Severity.ok], "error", Status.ok),
        ([Severity.ok, Severity.error, Severity.unknown], "error", Status.critical),
        ([Severity.warning, Severity.ok], "error", Status.warning),
        ([Severity.warning], "warning", Status.warning),
        ([Severity.advice], "warning", Status.ok),
        ([Severity.advice, Severity.unknown], "advice", Status.warning),
        ([Severity.ok, Severity.unknown], "error", Status.unknown),
        ([Severity.warning, Severity.unknown], "error", Status.warning),
        ([], "error", Status.unknown),
    ],
)
def test_the_status_is_that_of_the_worst(
    severities: "list[Severity]", fail_on: str, expected: Status
) -> None:
    assert nagios.status_of(results(*severities), Severity[fail_on]) is expected


def test_a_machine_without_a_report_is_unknown_and_no_green() -> None:
    found = results(Severity.ok, silent=1)
    assert nagios.status_of(found, Severity.error) is Status.unknown
    assert "no report from host0" in nagios.line(found, Severity.error)


def test_a_load_that_was_not_measured_is_unknown() -> None:
    found = dataclasses.replace(results(Severity.ok), curves=(Curve("processes", ()),))
    assert nagios.status_of(found, Severity.error) is Status.unknown
    assert "not measured: processes" in nagios.line(found, Severity.error)


def test_an_ignored_error_is_not_counted() -> None:
    found = Finding(Severity.error, "known", ignored="until the move")
    run = Run([found, Finding(Severity.ok, "fine")], 1.0)
    alone = Results((PlacedRun(Place("my.ini"), run),))
    assert nagios.status_of(alone, Severity.error) is Status.ok
    assert " errors=0;" in nagios.line(alone, Severity.error)


def test_it_is_one_line_with_performance_data() -> None:
    text = nagios.line(results(Severity.error, Severity.warning), Severity.error)
    match = re.fullmatch(r"KALLITHEA CRITICAL - ([^|\n]*) \| ([^|\n]*)", text)
    assert match and match[1] == "DB000 error: slow; DB001 warning: slow"
    for item in match[2].split(" "):
        assert re.fullmatch(r"[a-z]+=\d+(\.\d+)?s?;\d*;\d*;0", item), item
    assert match[2].startswith("errors=1;;0;0 warnings=1;0;;0 ")


def test_a_hostile_name_adds_neither_a_line_nor_performance_data() -> None:
    text = nagios.line(
        results(Severity.error, diagnosis="x\n| errors=0 \x1b[2J" + "y" * 9000), Severity.error
    )
    assert "\n" not in text and "\x1b" not in text and text.count("|") == 1
    assert len(text) < 8000 and " errors=1;" in text
