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
        Finding(Severity.ok, "a takes 1 ms", "a", check="A6"),
        Finding(Severity.ok, "b takes 1 ms", "b", check="A6"),
    ]
    assert merged(findings) == findings


def test_one_cause_of_several_subjects_is_one_finding() -> None:
    names = ("repositories", "cache_dir", "index_dir", "sessions")
    denied = [
        Finding(Severity.warning, f"{name}: kallithea may not write there", name, check="STO003")
        for name in names
    ]
    elsewhere = Finding(Severity.warning, "archives: its disk reports errors", "archives")
    (one, other) = merged([*denied, elsewhere])
    subjects = "repositories, cache_dir, index_dir and 1 more"
    assert (one.subject, one.diagnosis) == (subjects, f"{subjects}: kallithea may not write there")
    assert other is elsewhere
    same = [Finding(Severity.error, "its HEAD is lost", name, check="REPO003") for name in "ab"]
    assert finding_lines(*merged(same))[0] == "REPO003 error: its HEAD is lost (a, b)"
