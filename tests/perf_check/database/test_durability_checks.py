"""What a crash may cost with each setting, and that the remedies change it on real servers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from carry_out import carry_out
from configured import configured
from servers import schema
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database import durability_checks as checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.facts import DatabaseFacts, Setting, SqliteFacts
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, WARNING, ERROR = Severity.ok, Severity.advice, Severity.warning, Severity.error
URL = "sqlite:///%(here)s/kallithea.db?timeout=60"
CLIENTS = {
    "PostgreSQL": SqlClient("postgresql", ("-h", "db"), "kallithea", "kallithea"),
    "MariaDB": SqlClient("mysql", ("-h", "db"), "kallithea", "kallithea"),
    "SQLite": SqlClient("sqlite", ("/srv/a.db",)),
}


def judged(engine: str, *settings: Setting, mode: str = "delete") -> list[Finding]:
    sqlite = SqliteFacts(mode, 4096, 10, 0) if engine == "SQLite" else None
    facts = DatabaseFacts(engine, "1", sqlite=sqlite, settings=settings)
    config = configured(sqlalchemy_url="sqlite:////srv/a.db")
    return list(checks.durability.judge(config, CLIENTS[engine], facts))


@pytest.mark.parametrize(
    "engine, name, value, severity",
    [
        ("PostgreSQL", "fsync", "on", OK),
        ("PostgreSQL", "fsync", "off", ERROR),
        ("PostgreSQL", "full_page_writes", "off", WARNING),
        ("PostgreSQL", "synchronous_commit", "off", ADVICE),
        ("PostgreSQL", "synchronous_commit", "local", OK),
        ("PostgreSQL", "data_checksums", "off", OK),
        ("MariaDB", "innodb_flush_log_at_trx_commit", "1", OK),
        ("MariaDB", "innodb_flush_log_at_trx_commit", "0", WARNING),
        ("MariaDB", "innodb_flush_log_at_trx_commit", "2", ADVICE),
        ("MariaDB", "innodb_doublewrite", "OFF", WARNING),
        ("MariaDB", "innodb_flush_method", "nosync", ERROR),
        ("MariaDB", "innodb_flush_method", "O_DIRECT", OK),
        ("MariaDB", "sync_binlog", "0", OK),
        ("SQLite", "synchronous", "2", OK),
        ("SQLite", "synchronous", "1", ERROR),
        ("SQLite", "synchronous", "0", ERROR),
    ],
)
def test_a_setting_is_judged_by_what_a_crash_costs_with_it(
    engine: str, name: str, value: str, severity: Severity
) -> None:
    (finding,) = judged(engine, Setting(name, value))
    assert finding.severity is severity
    assert (finding.subject == name) == (severity > OK) == bool(finding.remedy)


def test_the_binary_log_matters_where_there_is_one_and_normal_is_enough_for_wal() -> None:
    settings = (Setting("log_bin", "ON"), Setting("sync_binlog", "0"))
    assert [item.severity for item in judged("MariaDB", *settings)] == [ADVICE]
    normal = judged("SQLite", Setting("synchronous", "1"), mode="wal")
    assert [item.severity for item in normal] == [OK]


@pytest.mark.parametrize(
    "source, superuser, remedy",
    [
        ("command line", True, "without fsync=off in its command line"),
        ("configuration file", True, "-U kallithea -d kallithea -c 'ALTER SYSTEM SET fsync = on'"),
        ("configuration file", False, "as a superuser of PostgreSQL: psql -h db -U postgres"),
        ("database", False, """-c 'ALTER DATABASE "kallithea" RESET fsync'"""),
        ("user", False, """-c 'ALTER ROLE "kallithea" RESET fsync'"""),
    ],
)
def test_a_setting_of_postgresql_is_changed_where_it_was_set(
    source: str, superuser: bool, remedy: str
) -> None:
    facts = DatabaseFacts("PostgreSQL", "1", superuser=superuser)
    setting = Setting("fsync", "off", source)
    assert remedy in str(CLIENTS["PostgreSQL"].set_on_server(setting, "on", facts))


class Durable(PostgreSQL):
    """A PostgreSQL with its own defaults."""

    def command(self) -> list[str]:
        """Return the command without what makes the tests fast."""
        words = super().command()
        for fast in ("fsync=off", "full_page_writes=off"):
            at = words.index(fast)
            del words[at - 1 : at + 1]
        return words


@pytest.fixture
def durable() -> Iterator[Durable]:
    """A PostgreSQL that a test may change."""
    server = Durable()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def found(ini: Path) -> dict[str, Finding]:
    context = Context(load(str(ini)), Deadline(60))
    findings = list(checks.durability.findings(context))
    return {item.subject: item for item in findings if item.severity > OK}


@pytest.mark.once
def test_what_a_power_cut_may_cost_in_postgresql_is_found_and_mended(
    instance: Path, edit: Callable[..., None], durable: Durable
) -> None:
    edit(instance, URL, schema.create(durable.url("durable")))
    assert found(instance) == {}
    cursor = durable.connect().cursor()
    for name in ("fsync", "full_page_writes"):
        cursor.execute(f"ALTER SYSTEM SET {name} = off")
    cursor.execute("SELECT pg_reload_conf()")
    cursor.execute("ALTER DATABASE durable SET synchronous_commit = off")
    faults = until(lambda: found(instance), lambda faults: len(faults) == 3)
    assert {name: item.severity for name, item in faults.items()} == {
        "fsync": ERROR,
        "full_page_writes": WARNING,
        "synchronous_commit": ADVICE,
    }
    for fault in faults.values():
        carry_out(fault.remedy, instance, {"PGPASSWORD": durable.password})
    assert until(lambda: found(instance), lambda faults: not faults) == {}


def until(action: Callable[[], Any], satisfied: Callable[[Any], bool]) -> Any:
    """Repeat it a few times: PostgreSQL reads its configuration a moment later."""
    for _ in range(50):
        result = action()
        if satisfied(result):
            break
        time.sleep(0.1)
    return result


def test_commits_that_mariadb_keeps_in_memory_are_found_and_mended(
    instance: Path, edit: Callable[..., None], mariadb: MariaDB
) -> None:
    edit(instance, URL, schema.create(mariadb.url("durable")))
    cursor = mariadb.connect().cursor()
    try:
        faults = found(instance)
        # The servers of the tests do not wait for the disk.
        assert set(faults) == {"innodb_flush_log_at_trx_commit", "innodb_flush_method"}
        remedy = faults["innodb_flush_log_at_trx_commit"].remedy
        carry_out(remedy, instance, {"MYSQL_PWD": mariadb.password})
        assert set(found(instance)) == {"innodb_flush_method"}
    finally:
        cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")


def test_a_url_that_switches_sqlites_locks_off_is_an_error_and_is_edited(
    instance: Path, edit: Callable[..., None]
) -> None:
    edit(instance, URL, "sqlite:///file:%(here)s/kallithea.db?nolock=1&uri=true")
    (fault,) = found(instance).values()
    assert fault.severity is ERROR and "nolock=1" in fault.diagnosis
    carry_out(fault.remedy, instance)
    assert "url = sqlite:///file:%(here)s/kallithea.db?uri=true\n" in instance.read_text()
    assert found(instance) == {}
