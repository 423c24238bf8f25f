"""Pools, limits and InnoDB's memory: the judgements, and what real servers report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping, Optional

import pytest
from carry_out import carry_out
from configured import configured
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database import connections_checks as checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.connections import PoolSettings, engine_option
from kallithea_tune.perf_check.database.facts import (
    DatabaseFacts,
    InnodbFacts,
    ServerLimits,
    TableFacts,
)
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.remedy import IniEdit

OK, ADVICE, WARNING, ERROR = Severity.ok, Severity.advice, Severity.warning, Severity.error
POSTGRESQL = SqlClient("postgresql", ("-h", "db"), "kallithea", "kallithea")
MYSQL = SqlClient("mysql", ("-h", "db"), "kallithea", "kallithea")


@pytest.mark.parametrize(
    "used, allowed, may_open, severity",
    [
        (1, 100, None, OK),
        (70, 100, 15, OK),
        (71, 100, 15, WARNING),
        (90, 100, 15, WARNING),
        (91, 100, 15, ERROR),
        (1, 100, 100, OK),
        (1, 100, 101, WARNING),
    ],
)
def test_connections_matter_from_70_percent_and_when_kallithea_may_open_more_than_allowed(
    used: int, allowed: int, may_open: Optional[int], severity: Severity
) -> None:
    facts = DatabaseFacts("PostgreSQL", "15.3", server=ServerLimits(used, allowed, 0))
    pool = PoolSettings(pool_size=1, max_overflow=0, processes=may_open)
    assert pool.may_open == may_open
    (finding,) = checks.connections.judge(configured(), POSTGRESQL, facts, pool)
    assert finding.severity is severity


@pytest.mark.parametrize(
    "processes, threads, pool, expected",
    [(None, 1, 15, None), (4, 1, 15, 4), (4, None, 15, 60), (4, 20, 15, 60), (1, 10, 3, 3)],
)
def test_a_process_opens_no_more_connections_than_it_has_threads(
    processes: Optional[int], threads: Optional[int], pool: int, expected: Optional[int]
) -> None:
    settings = PoolSettings(5, pool - 5, processes=processes, threads=threads)
    assert settings.may_open == expected


@pytest.mark.parametrize(
    "recycle, pre_ping, idle_timeout, severity, message",
    [
        (3600, False, 28800, OK, "renewed before"),
        (-1, False, 28800, WARNING, "keeps them forever"),
        (3600, False, 3600, WARNING, "keeps them for 3600 s"),
        (3599, False, 3600, OK, "renewed before"),
        (-1, True, 60, OK, "renewed before"),
        (-1, False, 0, OK, "closes no idle connections"),
    ],
)
def test_a_pool_should_renew_its_connections_before_the_server_closes_them(
    recycle: int, pre_ping: bool, idle_timeout: float, severity: Severity, message: str
) -> None:
    facts = DatabaseFacts("MariaDB", "10.11", server=ServerLimits(1, 100, idle_timeout))
    pool = PoolSettings(recycle_s=recycle, pre_ping=pre_ping)
    (finding,) = checks.pool_recycle.judge(configured(), facts, pool)
    assert finding.severity is severity and message in finding.diagnosis
    advised = f"pool_recycle = {idle_timeout // 2}"
    assert (advised in str(finding.remedy)) == (severity is WARNING)


@pytest.mark.parametrize(
    "pool, data, severity", [(128_000_000, 127_000_000, OK), (128_000_000, 129_000_000, ADVICE)]
)
def test_the_buffer_pool_should_be_as_large_as_the_database(
    pool: int, data: int, severity: Severity
) -> None:
    tables = {"users": TableFacts(rows=1, bytes=data)}
    facts = DatabaseFacts("MariaDB", "10.11", tables=tables, innodb=InnodbFacts(pool, 1000, 10))
    (finding,) = checks.buffer_pool.judge(MYSQL, facts)
    assert finding.severity is severity and finding.evidence["read_from_disk_percent"] == 1.0
    assert ("innodb_buffer_pool_size = 161480704" in str(finding.remedy)) == (severity is ADVICE)


@pytest.mark.parametrize(
    "settings, expected",
    [({}, 5), ({"sqlalchemy.pool_size": " 7 "}, 7), ({"sqlalchemy.pool_size": "many"}, 5)],
)
def test_an_option_of_the_pool_falls_back_to_sqlalchemys_own(
    settings: Mapping[str, str], expected: int
) -> None:
    assert engine_option(settings, "pool_size", 5) == expected


def found(check: Check, ini: Path, url: str, *more: str) -> Finding:
    """Run one check with `url` and `more` settings in the ini file instead of its own."""
    text = ini.read_text()
    settings = ["sqlalchemy.url = " + url, *more]
    for key in ["sqlalchemy.pool_recycle", *(line.split(" = ")[0] for line in settings)]:
        text = re.sub(rf"(?m)^{re.escape(key)} = .*\n", "", text)
    path = ini.with_name("other.ini")
    use = "use = egg:kallithea\n"
    path.write_text(text.replace(use, use + "".join(f"{line}\n" for line in settings)))
    (finding,) = check.findings(Context(load(str(path)), Deadline(60)))
    return finding


def advised_option(finding: Finding) -> str:
    assert isinstance(finding.remedy, IniEdit)
    (option,) = finding.remedy.options
    return str(option)


def test_connections_that_others_hold_are_counted(instance: Path, postgresql: PostgreSQL) -> None:
    url = postgresql.url("connections")
    before = found(checks.connections, instance, url)
    held = [postgresql.connect() for _ in range(80)]
    finding = found(checks.connections, instance, url)
    for connection in held:
        connection.close()
    assert before.severity is OK and finding.severity is WARNING
    assert finding.evidence["used"] >= before.evidence["used"] + 80


def test_the_connections_kallithea_may_open_include_celerys_workers(
    instance: Path, mariadb: MariaDB
) -> None:
    url = mariadb.url("connections")
    assert found(checks.connections, instance, url).evidence["kallithea_may_open"] == 1
    finding = found(
        checks.connections, instance, url, "use_celery = true", "celery.worker_concurrency = 200"
    )
    assert finding.evidence["kallithea_may_open"] == 201 and finding.severity is WARNING


def test_an_idle_timeout_of_the_server_is_compared_with_the_pool(
    instance: Path, mariadb: MariaDB
) -> None:
    url = mariadb.url("recycle")
    cursor = mariadb.connect().cursor()
    try:
        cursor.execute("SET GLOBAL wait_timeout = 600")
        assert (
            found(checks.pool_recycle, instance, url, "sqlalchemy.pool_recycle = 3600").severity
            is WARNING
        )
        advised = advised_option(found(checks.pool_recycle, instance, url))
        assert found(checks.pool_recycle, instance, url, advised).severity is OK
    finally:
        cursor.execute("SET GLOBAL wait_timeout = 28800")


def test_the_buffer_pool_is_read_from_the_server(instance: Path, mariadb: MariaDB) -> None:
    finding = found(checks.buffer_pool, instance, mariadb.url("pool"))
    assert (
        finding.evidence["buffer_pool_mb"] == pytest.approx(33.5, abs=0.2)
        and finding.severity is OK
    )


def test_a_buffer_pool_that_is_too_small_grows_by_the_remedy(
    instance: Path, mariadb: MariaDB
) -> None:
    url = mariadb.url("small")
    cursor = mariadb.connect("small").cursor()
    cursor.execute("CREATE TABLE large (content LONGBLOB)")
    cursor.execute("INSERT INTO large VALUES (REPEAT('x', 14000000)), (REPEAT('x', 14000000))")
    cursor.execute("INSERT INTO large SELECT * FROM large")
    cursor.execute("ANALYZE TABLE large")
    try:
        finding = found(checks.buffer_pool, instance, url)
        assert finding.severity is ADVICE
        carry_out(finding.remedy, instance, {"MYSQL_PWD": mariadb.password})
        assert found(checks.buffer_pool, instance, url).severity is OK
    finally:
        cursor.execute("DROP DATABASE small")
        cursor.execute("SET GLOBAL innodb_buffer_pool_size = 33554432")


@pytest.mark.parametrize("processes, each", [(8, 3), (40, 2), (60, 1), (98, None)])
def test_pools_are_made_to_fit_where_they_can(processes: int, each: Optional[int]) -> None:
    facts = DatabaseFacts("PostgreSQL", "15.3", server=ServerLimits(1, 100, 0))
    pool = PoolSettings(processes=processes)
    (finding,) = checks.connections.judge(configured(), POSTGRESQL, facts, pool)
    text = str(finding.remedy)
    if each is None:
        assert text.startswith("max_connections = 2940 in the server's configuration")
    else:
        assert f"sqlalchemy.pool_size = 1, set sqlalchemy.max_overflow = {each - 1} in" in text


def test_sqlite_has_no_server_to_ask(instance: Path) -> None:
    context = Context(load(str(instance)), Deadline(60))
    assert not [
        finding
        for check in (checks.connections, checks.pool_recycle, checks.buffer_pool)
        for finding in check.findings(context)
    ]
