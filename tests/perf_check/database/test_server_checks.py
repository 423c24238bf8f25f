"""What the database's checks make of their evidence, and what they find in real databases."""

from __future__ import annotations

import datetime
import json
import re
import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from servers import schema

from kallithea_tune.config.instance import load
from kallithea_tune.db.engine import create_engine
from kallithea_tune.perf_check.database import server_checks as checks
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, WARNING, ERROR = Severity.ok, Severity.advice, Severity.warning, Severity.error


def with_url(ini: Path, url: str) -> Path:
    """Put `url` into the ini file."""
    text, count = re.subn(
        r"(?m)^sqlalchemy\.url = .*$", lambda _: "sqlalchemy.url = " + url, ini.read_text()
    )
    assert count == 1
    ini.write_text(text)
    return ini


def found(check: Any, ini: Path, **options: Any) -> list[Finding]:
    """Run one check on an instance, as the runner would."""
    return list(check.run(Context(load(str(ini)), Deadline(60), **options)))


def facts(**other: Any) -> Mapping[str, Any]:
    return {
        "engine": "PostgreSQL",
        "version": "15.3",
        "foreign_keys": [],
        "tables": {"user_logs": {"rows": 7, "bytes": 2_000_000}},
        **other,
    }


@pytest.mark.parametrize(
    "other, severity, said",
    [
        ({}, OK, "PostgreSQL 15.3 answers"),
        (
            {
                "engine": "SQLite",
                "version": "3.40.1",
                "pages": 10,
                "page_size": 4096,
                "tables": {"a": {"rows": 1}},
            },
            OK,
            "SQLite 3.40.1 answers",
        ),
        ({"tables": {}}, ERROR, "the database is empty"),
    ],
)
def test_an_engine_that_answers_is_named_with_its_version(
    other: Mapping[str, Any], severity: Severity, said: str
) -> None:
    finding = checks.judge_reachable(facts(**other), "db-create")
    assert (finding.severity, finding.diagnosis) == (severity, said)


def test_an_engine_of_which_nothing_is_known_is_not_called_empty() -> None:
    unknown = {"engine": "mssql", "version": "16", "tables": {}}
    assert checks.judge_reachable(unknown, "db-create").severity is OK


@pytest.mark.parametrize(
    "taken, severity",
    [({}, OK), ({"user_logs.user_id": 9.9}, OK), ({"user_logs.user_id": 10.1}, ADVICE)],
)
def test_a_foreign_key_wants_an_index_when_looking_it_up_takes_10_ms(
    taken: Mapping[str, float], severity: Severity
) -> None:
    (finding,) = checks.judge_foreign_keys(taken, {"user_logs": {"rows": 12345}}, "CREATE INDEX")
    assert finding.severity is severity
    if severity is ADVICE:
        assert finding.remedy == "CREATE INDEX user_logs_user_id_idx ON user_logs (user_id);"
        assert finding.impact_ms == 10.1 and "12345" in finding.diagnosis


def test_each_slow_foreign_key_is_a_finding_of_its_own() -> None:
    slow = {"user_logs.user_id": 50.0, "user_logs.repository_id": 60.0, "users.fast_id": 1.0}
    findings = list(checks.judge_foreign_keys(slow, {"user_logs": {"rows": 5}}, "CREATE INDEX"))
    assert {finding.subject for finding in findings} == {
        "user_logs.user_id",
        "user_logs.repository_id",
    }


@pytest.mark.parametrize(
    "by_date, sorts, cut, severity, said",
    [
        (10.9, True, False, OK, "take 10.9 ms"),
        (11.1, True, False, ADVICE, ": 11.1 ms"),
        (101.1, True, False, WARNING, ": 101 ms"),
        (2028.3, True, False, WARNING, ": 2028 ms"),
        (3000.0, True, True, WARNING, "more than 3000 ms"),
        (500.0, False, False, OK, "take 500 ms"),
    ],
)
def test_the_journal_wants_an_index_by_what_the_sort_costs(
    by_date: float, sorts: bool, cut: bool, severity: Severity, said: str
) -> None:
    times = {
        "by_date_ms": [by_date],
        "by_key_ms": [1.0],
        "count_ms": [3.0],
        "sorts": sorts,
        "cut": cut,
    }
    finding = checks.judge_journal(100, times, "CREATE INDEX CONCURRENTLY")
    assert finding.severity is severity and said in finding.diagnosis
    assert ("INDEX CONCURRENTLY" in finding.remedy) == (severity > OK)


@pytest.mark.parametrize("rows, severity", [(499_999, OK), (500_000, ADVICE)])
def test_a_log_of_half_a_million_rows_is_worth_a_word(rows: int, severity: Severity) -> None:
    tables = {
        "user_logs": {"rows": rows},
        "users": {"rows": 3},
        "groups": {"rows": 0},
        "ui": {"rows": 5},
    }
    finding = checks.judge_growth(tables, 1234.5, datetime.date(2024, 2, 29))
    assert finding.severity is severity and "1234" in finding.diagnosis
    assert list(finding.evidence["largest"]) == ["user_logs", "ui"]
    assert ("'2023-03-01'" in finding.remedy) == (severity is ADVICE)


@pytest.mark.parametrize(
    "pages, free, severity",
    [
        (10_000, 0, OK),
        (100_000, 20_000, OK),
        (100_000, 20_001, ADVICE),
        (10_000, 2600, ADVICE),
        (1000, 900, OK),
        (0, 0, OK),
    ],
)
def test_free_pages_matter_from_20_percent_and_10_mb(
    pages: int, free: int, severity: Severity
) -> None:
    sqlite = facts(pages=pages, free_pages=free, page_size=4096)
    finding = checks.judge_free_pages(sqlite, "/srv/my data/kallithea.db")
    assert finding.severity is severity
    assert ("sqlite3 '/srv/my data/kallithea.db' VACUUM" in finding.remedy) == (severity is ADVICE)


def table(
    rows: int = 10_000, dead: int = 0, changed: int = 0, analyzed: bool = True, days: Any = 1.0
) -> Any:
    return {
        "rows": rows,
        "dead": dead,
        "changed": changed,
        "analyzed": analyzed,
        "vacuum_days": days,
        "analyze_days": days,
    }


@pytest.mark.parametrize(
    "tables, on, expected",
    [
        ({"a": table()}, True, {OK}),
        ({"a": table(dead=2050, changed=1050)}, True, {OK}),
        ({"a": table(dead=2051)}, True, {WARNING}),
        ({"a": table(changed=1051)}, True, {ADVICE}),
        ({"a": table(rows=100, dead=900, changed=900)}, True, {OK}),
        ({"a": table(analyzed=False, days=None)}, True, {ADVICE}),
        ({"a": table(rows=999, analyzed=False)}, True, {OK}),
        ({"a": table(dead=5000), "b": table(changed=5000)}, False, {WARNING, ADVICE}),
        ({"a": table()}, False, {WARNING}),
        ({"a": table(rows=0, analyzed=False, days=None)}, True, {OK}),
    ],
)
def test_autovacuum_is_judged_by_its_own_limits(
    tables: Any, on: bool, expected: set[Severity]
) -> None:
    assert {finding.severity for finding in checks.judge_autovacuum(tables, on)} == expected


def test_the_worst_table_is_named_with_the_age_of_its_statistics() -> None:
    tables = {"a": table(dead=3000, days=2.5), "b": table(dead=4000, days=None)}
    (finding,) = checks.judge_autovacuum(tables, True)
    assert (
        finding.subject == "b"
        and finding.evidence["last_vacuum"] == "never"
        and finding.evidence["tables"] == 2
    )
    (finding,) = checks.judge_autovacuum({"a": tables["a"]}, True)
    assert finding.evidence["last_vacuum_days"] == 2.5


@pytest.mark.parametrize(
    "times, severity", [([0.2, 0.3, 50.0], OK), ([1.0], OK), ([0.1, 1.1, 1.2], ADVICE)]
)
def test_a_round_trip_matters_from_1_ms_in_the_middle(
    times: list[float], severity: Severity
) -> None:
    assert checks.judge_round_trip(times).severity is severity


def test_an_index_that_was_advised_ends_the_advice(instance: Path) -> None:
    path = str(instance.parent / "kallithea.db")
    with sqlite3.connect(path) as connection:
        for _ in range(9):
            connection.execute(
                "INSERT INTO user_logs (user_id, username, repository_name, action, action_date) "
                "SELECT user_id, username, repository_name, action, action_date FROM user_logs"
            )
    before = found(checks.indexes, instance)
    assert {finding.subject for finding in before} == {
        "journal",
        "user_logs.user_id",
        "user_logs.repository_id",
    }
    assert not {finding.severity for finding in before} - {ADVICE, WARNING}
    with sqlite3.connect(path) as connection:
        for finding in before:
            connection.execute(finding.remedy)
    assert {finding.severity for finding in found(checks.indexes, instance)} == {OK}


def test_postgresql_that_is_not_vacuumed_is_found_and_its_remedy_helps(
    instance: Path, postgresql: Any
) -> None:
    with_url(instance, schema.create(postgresql.url("checks"), 3000))
    cursor = postgresql.connect("checks").cursor()
    cursor.execute("ANALYZE user_logs")
    assert "autovacuum is off" in found(checks.vacuum, instance)[0].diagnosis
    cursor.execute("UPDATE user_logs SET action = 'push'")
    cursor.connection.close()
    worst = found(checks.vacuum, instance)[0]
    assert (
        worst.severity is WARNING
        and worst.subject == "user_logs"
        and worst.evidence["last_vacuum"] == "never"
    )
    postgresql.connect("checks").cursor().execute(worst.remedy.split(";")[0])
    assert "autovacuum is off" in found(checks.vacuum, instance)[0].diagnosis


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_a_server_is_read_by_all_checks_and_written_to_by_none(
    instance: Path, gearbox: Callable[..., Any], request: Any, server: str, tmp_path: Path
) -> None:
    url = schema.create(request.getfixturevalue(server).url("everything"), 500)
    with_url(instance, url)

    def content() -> Any:
        with create_engine(url).connect() as connection:
            names = sorted(connection.dialect.get_table_names(connection))
            return names, connection.execute(
                "SELECT * FROM user_logs ORDER BY user_log_id"
            ).fetchall()

    before = content()
    said = gearbox(
        "perf-check", "-c", instance, "--only", "database", "-f", "json", cwd=str(tmp_path)
    )
    checked = {row["check"]: row for row in json.loads(said.stdout)}
    only = {"postgresql": {"DB007"}, "mariadb": {"DB010"}}[server]
    assert set(checked) == {"DB000", "DB005", "DB006", "DB008", "DB009", "DB011", "DB014"} | only
    assert not [row for row in checked.values() if row["severity"] in ("unknown", "error")]
    assert said.returncode == 0 and content() == before
