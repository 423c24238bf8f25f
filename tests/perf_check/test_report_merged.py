"""Checks that could not be measured for one and the same reason are one entry of the report."""

from __future__ import annotations

from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.report import finding_lines, merged


def unknown(check: str, reason: str = "not measured: no database", **other: str) -> Finding:
    return Finding(Severity.unknown, reason, check=check, **other)  # type: ignore[arg-type]


def test_the_same_reason_is_said_once_and_names_every_check() -> None:
    down = Finding(Severity.error, "down", check="DB000")
    findings = [down, *(unknown("DB%03d" % number) for number in range(4, 12))]
    error, one = merged(findings)
    assert error is down
    assert finding_lines(one) == [
        "DB004 unknown: not measured: no database",
        "  seen: also (DB005, DB006, DB007, DB008, DB009, DB010, DB011)",
        "  more: gearbox perf-check --explain DB004",
    ]


def test_other_reasons_subjects_and_measured_findings_stay_apart() -> None:
    findings = [
        unknown("A1"),
        unknown("A2", "not measured: no time"),
        unknown("A3", subject="one"),
        unknown("A4", subject="two"),
        unknown("A5", ignored="we know"),
        *(Finding(Severity.ok, "well", check="A6") for _ in range(2)),
    ]
    assert merged(findings) == findings
