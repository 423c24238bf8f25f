"""Which indexes are advised, and that the advised statements end the advice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database import indexes_checks as checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.facts import DatabaseFacts, TableFacts
from kallithea_tune.perf_check.database.indexes import IndexTimes, JournalTimes, Lookup
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, WARNING = Severity.ok, Severity.advice, Severity.warning
SQLITE = SqlClient("sqlite", ("/srv/a.db",))
POSTGRESQL = SqlClient("postgresql", ("-h", "db"), "kallithea", "kallithea")


def facts(rows: int, engine: str = "SQLite") -> DatabaseFacts:
    return DatabaseFacts(engine, "3.40.1", tables={"user_logs": TableFacts(rows)})


def judged(facts: DatabaseFacts, *lookups: Lookup) -> list[Finding]:
    return list(checks.indexes.judge(SQLITE, facts, IndexTimes(lookups, len(lookups), None)))


@pytest.mark.parametrize(
    "lookups, severity",
    [
        ([], OK),
        ([Lookup("user_logs", "user_id", 49.9)], OK),
        ([Lookup("user_logs", "user_id", 50.1)], ADVICE),
    ],
)
def test_a_foreign_key_needs_an_index_when_a_lookup_takes_50_ms(
    lookups: list[Lookup], severity: Severity
) -> None:
    (finding,) = judged(facts(12345), *lookups)
    assert finding.severity is severity
    if severity is ADVICE:
        index = 'CREATE INDEX "user_logs_user_id_idx" ON "user_logs" ("user_id")'
        assert str(finding.remedy) == f"sqlite3 -bail /srv/a.db '{index}'"
        assert finding.impact_ms == 50.1 and "12345" in finding.diagnosis


def test_each_slow_foreign_key_is_a_finding_of_its_own() -> None:
    findings = judged(
        facts(5),
        Lookup("user_logs", "user_id", 51.0),
        Lookup("user_logs", "repository_id", 60.0),
        Lookup("users", "fast_id", 1.0),
    )
    assert {finding.subject for finding in findings} == {
        "user_logs.user_id",
        "user_logs.repository_id",
    }


@pytest.mark.parametrize(
    "by_date, sorts, cut, severity, message",
    [
        (50.9, True, False, OK, "take 50.9 ms"),
        (51.1, True, False, ADVICE, ": 51.1 ms"),
        (101.1, True, False, WARNING, ": 101 ms"),
        (2028.3, True, False, WARNING, ": 2028 ms"),
        (3000.0, True, True, WARNING, "more than 3000 ms"),
        (500.0, False, False, OK, "take 500 ms"),
    ],
)
def test_the_journal_needs_an_index_by_what_the_sort_costs(
    by_date: float, sorts: bool, cut: bool, severity: Severity, message: str
) -> None:
    journal = JournalTimes(sorts, cut, (by_date,), (1.0,), (3.0,))
    _, finding = checks.indexes.judge(
        POSTGRESQL, facts(100, "PostgreSQL"), IndexTimes((), 0, journal)
    )
    assert finding.severity is severity and message in finding.diagnosis
    assert ("INDEX CONCURRENTLY" in str(finding.remedy)) == (severity > OK)


def test_what_others_add_to_a_time_causes_no_advice() -> None:
    journal = JournalTimes(True, False, (400.0, 40.0, 300.0), (1.0, 90.0), (3.0,))
    _, finding = checks.indexes.judge(SQLITE, facts(100), IndexTimes((), 0, journal))
    assert finding.severity is OK and "take 40 ms" in finding.diagnosis


def test_a_journal_that_could_not_be_timed_does_not_hide_the_foreign_keys() -> None:
    findings = []
    with pytest.raises(NotMeasured, match="it died"):
        for finding in checks.indexes.judge(SQLITE, facts(5), IndexTimes((), 0, None, "it died")):
            findings.append(finding)
    assert [finding.subject for finding in findings] == ["foreign keys"]


@pytest.mark.once
def test_an_index_that_was_advised_ends_the_advice(instance: Path) -> None:
    path = str(instance.parent / "kallithea.db")

    def found() -> list[Finding]:
        return list(checks.indexes.findings(Context(load(str(instance)), Deadline(60))))

    with sqlite3.connect(path) as connection:
        # Long texts, so that reading all rows is felt without a million of them.
        connection.execute(
            "INSERT INTO user_logs (user_id, username, repository_name, action, action_date) "
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
            "SELECT 1, 'a', 'b', printf('%1000d', i), datetime('now', i || ' seconds') FROM n"
        )
    before = found()
    assert {finding.subject for finding in before} == {
        "journal",
        "user_logs.user_id",
        "user_logs.repository_id",
    }
    assert not {finding.severity for finding in before} - {ADVICE, WARNING}
    for finding in before:
        carry_out(finding.remedy, instance)
    assert {finding.severity for finding in found()} == {OK}
