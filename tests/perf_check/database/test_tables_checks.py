"""What is judged of growing tables, and that PostgreSQL's remedy helps on a real server."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from pathlib import Path
from typing import Callable, Mapping, Optional

import pytest
from carry_out import carry_out
from servers import schema
from servers.postgresql import PostgreSQL

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database import tables_checks as checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.facts import (
    DatabaseFacts,
    SqliteFacts,
    TableFacts,
    TableMaintenance,
)
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import Effect, Statements

OK, ADVICE, WARNING = Severity.ok, Severity.advice, Severity.warning
POSTGRESQL = SqlClient("postgresql", ("-h", "db"), "kallithea", "kallithea")


@pytest.mark.parametrize("rows, severity", [(499_999, OK), (500_000, ADVICE)])
def test_a_log_of_half_a_million_rows_is_advice(rows: int, severity: Severity) -> None:
    sizes = {"user_logs": rows, "users": 3, "groups": 0, "ui": 5}
    tables = {name: TableFacts(count) for name, count in sizes.items()}
    finding = checks.judge_growth(POSTGRESQL, tables, 1234.5, datetime.date(2024, 2, 29))
    assert finding.severity is severity and "1234" in finding.diagnosis
    largest = finding.evidence["largest"]
    assert isinstance(largest, dict) and list(largest) == ["user_logs", "ui"]
    assert largest == {"user_logs": rows, "ui": 5}
    assert ("'2023-03-01'" in str(finding.remedy)) == (severity is ADVICE)


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
    facts = DatabaseFacts("SQLite", "3.40.1", sqlite=SqliteFacts("delete", 4096, pages, free))
    client = SqlClient("sqlite", ("/srv/my data/kallithea.db",))
    (finding,) = checks.vacuum.judge(client, facts)
    assert finding.severity is severity
    assert ("sqlite3 -bail '/srv/my data/kallithea.db' VACUUM" in str(finding.remedy)) == (
        severity is ADVICE
    )


def table(
    rows: int = 10_000,
    dead: int = 0,
    changed: int = 0,
    analyzed: bool = True,
    days: Optional[float] = 1.0,
) -> TableFacts:
    return TableFacts(
        rows,
        maintenance=TableMaintenance(dead, changed, analyzed, vacuum_days=days, analyze_days=days),
    )


def autovacuum(tables: Mapping[str, TableFacts], enabled: bool) -> list[Finding]:
    facts = DatabaseFacts("PostgreSQL", "15.3", tables=tables, autovacuum=enabled)
    return list(checks.vacuum.judge(POSTGRESQL, facts))


@pytest.mark.parametrize(
    "tables, enabled, expected",
    [
        ({"a": table()}, True, {OK}),
        ({"a": table(dead=2050, changed=1050)}, True, {OK}),
        ({"a": table(dead=2051)}, True, {WARNING}),
        ({"a": table(changed=1051)}, True, {ADVICE}),
        ({"a": table(rows=100, dead=900, changed=900)}, True, {OK}),
        ({"a": table(dead=5000, changed=5000, days=119 / 86400)}, True, {OK}),
        ({"a": table(dead=5000, changed=5000, days=121 / 86400)}, True, {WARNING, ADVICE}),
        ({"a": table(changed=5000, days=0.0)}, False, {WARNING, ADVICE}),
        ({"a": table(analyzed=False, days=None)}, True, {ADVICE}),
        ({"a": table(rows=999, analyzed=False)}, True, {OK}),
        ({"a": table(dead=5000), "b": table(changed=5000)}, False, {WARNING, ADVICE}),
        ({"a": table()}, False, {WARNING}),
        ({"a": table(rows=0, analyzed=False, days=None)}, True, {OK}),
    ],
)
def test_autovacuum_is_judged_by_its_own_limits(
    tables: Mapping[str, TableFacts], enabled: bool, expected: set[Severity]
) -> None:
    assert {finding.severity for finding in autovacuum(tables, enabled)} == expected


def test_the_worst_table_is_reported_with_the_age_of_its_statistics() -> None:
    tables = {"a": table(dead=3000, days=2.5), "b": table(dead=4000, days=None)}
    (finding,) = autovacuum(tables, True)
    assert finding.subject == "b"
    assert finding.evidence["last_vacuum"] == "never" and finding.evidence["tables"] == 2
    (finding,) = autovacuum({"a": tables["a"]}, True)
    assert finding.evidence["last_vacuum_days"] == 2.5


def test_free_pages_and_old_log_rows_of_sqlite_are_removed_by_the_remedies(instance: Path) -> None:
    path = str(instance.parent / "kallithea.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE large (content)")
        connection.execute("INSERT INTO large VALUES (zeroblob(20000000))")
        connection.execute("DROP TABLE large")
        connection.commit()

    def found() -> Finding:
        (finding,) = checks.vacuum.findings(Context(load(str(instance)), Deadline(60)))
        return finding

    assert found().severity is ADVICE
    carry_out(found().remedy, instance)
    assert found().severity is OK
    client = SqlClient("sqlite", (path,))
    sizes = {"user_logs": TableFacts(500_000)}
    old = checks.judge_growth(client, sizes, 1.0, datetime.date(2200, 1, 1)).remedy
    assert isinstance(old, Statements) and old.effect is Effect.deletes
    carry_out(old, instance)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM user_logs").fetchone() == (0,)


def test_a_postgresql_that_is_not_vacuumed_is_found_and_the_remedy_helps(
    instance: Path, edit: Callable[..., None], postgresql: PostgreSQL
) -> None:
    url = schema.create(postgresql.url("checks"), 3000)
    edit(instance, "sqlite:///%(here)s/kallithea.db?timeout=60", url)

    def first() -> Finding:
        return next(iter(checks.vacuum.findings(Context(load(str(instance)), Deadline(60)))))

    cursor = postgresql.connect("checks").cursor()
    cursor.execute("ANALYZE user_logs")
    assert "autovacuum is off" in first().diagnosis
    cursor.execute("UPDATE user_logs SET action = 'push'")
    cursor.connection.close()
    worst = first()
    assert worst.severity is WARNING and worst.subject == "user_logs"
    assert worst.evidence["last_vacuum"] == "never"
    carry_out(worst.remedy, instance, {"PGPASSWORD": postgresql.password})
    assert "autovacuum is off" in first().diagnosis
