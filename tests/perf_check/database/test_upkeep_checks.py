"""Upkeep that a setting switches off is found on real servers, and the remedies switch it on."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from carry_out import carry_out
from servers import schema
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database import tables_checks as checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.facts import (
    DatabaseFacts,
    InnodbFacts,
    Setting,
    TableFacts,
)
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, WARNING = Severity.ok, Severity.advice, Severity.warning
URL = "sqlite:///%(here)s/kallithea.db?timeout=60"
CLIENT = SqlClient("postgresql", ("-h", "db"), "kallithea", "kallithea")


def found(ini: Path) -> dict[str, Finding]:
    findings = list(checks.upkeep.findings(Context(load(str(ini)), Deadline(60))))
    return {item.subject: item for item in findings if item.severity > OK}


@pytest.mark.parametrize(
    "rows, maintained, counts, severities",
    [
        (1000, True, "on", [OK]),
        (999, False, "on", [ADVICE]),
        (1000, False, "on", [WARNING]),
        (1000, True, "off", [WARNING]),
        (1000, False, "off", [WARNING, WARNING]),
    ],
)
def test_upkeep_matters_by_the_rows_that_are_left_out(
    rows: int, maintained: bool, counts: str, severities: list[Severity]
) -> None:
    tables = {"users": TableFacts(rows, maintained=maintained)}
    facts = DatabaseFacts(
        "PostgreSQL", "15", tables=tables, settings=(Setting("track_counts", counts),)
    )
    assert [item.severity for item in checks.upkeep.judge(CLIENT, facts)] == severities


def test_tables_without_transactions_are_an_error_of_mysql_only() -> None:
    tables = {"users": TableFacts(3, engine="MyISAM", transactional=False)}
    facts = DatabaseFacts("MariaDB", "10", tables=tables, innodb=InnodbFacts(1, 1, 1))
    (finding,) = checks.table_engines.judge(CLIENT, facts)
    assert finding.severity is Severity.error and "1 table of MyISAM" in finding.diagnosis
    assert not list(checks.table_engines.judge(CLIENT, DatabaseFacts("SQLite", "3")))


def test_tables_that_postgresql_leaves_out_are_found_and_put_back(
    instance: Path, edit: Callable[..., None], postgresql: PostgreSQL
) -> None:
    edit(instance, URL, schema.create(postgresql.url("upkeep"), 1500))
    assert found(instance) == {}
    cursor = postgresql.connect("upkeep").cursor()
    cursor.execute("ALTER TABLE user_logs SET (autovacuum_enabled = false)")
    cursor.execute("ALTER TABLE groups SET (autovacuum_enabled = off)")
    cursor.execute("ALTER DATABASE upkeep SET track_counts = off")
    faults = found(instance)
    assert "off for 2 tables: groups, user_logs" in faults["autovacuum_enabled"].diagnosis
    assert set(faults) == {"autovacuum_enabled", "track_counts"}
    for fault in faults.values():
        carry_out(fault.remedy, instance, {"PGPASSWORD": postgresql.password})
    assert found(instance) == {}


def test_statistics_that_mariadb_does_not_renew_are_found_and_put_back(
    instance: Path, edit: Callable[..., None], mariadb: MariaDB
) -> None:
    edit(instance, URL, schema.create(mariadb.url("upkeep"), 20))
    cursor = mariadb.connect("upkeep").cursor()
    cursor.execute("ALTER TABLE user_logs STATS_AUTO_RECALC = 0")
    cursor.execute("SET GLOBAL innodb_stats_auto_recalc = OFF")
    try:
        faults = found(instance)
        assert set(faults) == {"STATS_AUTO_RECALC", "innodb_stats_auto_recalc"}
        for fault in faults.values():
            carry_out(fault.remedy, instance, {"MYSQL_PWD": mariadb.password})
        assert found(instance) == {}
    finally:
        cursor.execute("SET GLOBAL innodb_stats_auto_recalc = ON")
