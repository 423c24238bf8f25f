"""Who holds a real database is found with the process or session, and ending it ends the fault."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import pytest
from carry_out import carry_out
from servers import schema
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL

from kallithea_tune.config.instance import load
from kallithea_tune.db import sqlite_locks
from kallithea_tune.db.sqlite_locks import Locker, SqliteLocks, watch
from kallithea_tune.perf_check.database import holders_checks as checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.holders import Holder, Holders, Retained, read_holders
from kallithea_tune.perf_check.database.sqlite import SqliteSettings
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, WARNING, ERROR = Severity.ok, Severity.advice, Severity.warning, Severity.error
UNKNOWN = Severity.unknown
URL = "sqlite:///%(here)s/kallithea.db?timeout=60"
POSTGRESQL = SqlClient("postgresql", ("-h", "db"), "kallithea", "kallithea")
SQLITE = SqliteSettings("/srv/a.db", 60.0, 1)
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
held = [connection.execute(statement) for statement in sys.argv[2:]]
[cursor.fetchone() for cursor in held[-1:]]
print("held", flush=True)
sys.stdin.read()
"""
COMMIT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
print("held", flush=True)
while True:
    connection.execute("UPDATE alembic_version SET version_num = random()")
"""
WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
connection.execute("UPDATE users SET firstname = 'x'")
connection.commit()
"""


@contextlib.contextmanager
def running(code: str, path: Path, *statements: str) -> Iterator[int]:
    """Have a process hold the file; yields its pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == b"held\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def found(ini: Path) -> list[Finding]:
    return list(checks.holders.findings(Context(load(str(ini)), Deadline(60))))


def severities(findings: list[Finding]) -> set[Severity]:
    return {finding.severity for finding in findings}


def test_the_process_that_holds_sqlites_write_lock_is_an_error_until_it_ends(
    instance: Path,
) -> None:
    path = instance.parent / "kallithea.db"
    assert severities(found(instance)) == {OK}
    with running(HOLD, path, "BEGIN IMMEDIATE", "UPDATE users SET lastname = 'x'") as pid:
        (finding,) = found(instance)
        assert finding.severity is ERROR and f"process {pid} (" in finding.diagnosis
        assert "s: pushes and log-ins wait 60 s, and fail" in finding.diagnosis
        carry_out(finding.remedy, instance)
        while watch(str(path), 0).writers:
            time.sleep(0.05)
        assert severities(found(instance)) == {OK}


def test_a_writer_is_seen_in_wal_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE things (content)")
    with running(HOLD, path, "BEGIN IMMEDIATE", "INSERT INTO things VALUES (1)") as pid:
        (writer,) = watch(str(path), 0.2).writers
        assert writer.process == pid and writer.program == "python" and writer.seconds >= 0.2


def test_a_reader_that_keeps_a_writer_from_committing_is_the_one_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    schema.create(f"sqlite:///{path}", 500)
    with running(HOLD, path, "SELECT * FROM user_logs") as reader:
        locks = watch(str(path), 0.2)
        assert [item.process for item in locks.readers] == [reader]
        assert not locks.waiting and not locks.writers
        writing = [sys.executable, "-c", WRITE, str(path)]
        with subprocess.Popen(writing) as writer:
            while not watch(str(path), 0.1).waiting:
                assert writer.poll() is None
            locks = watch(str(path), 0.2)
            assert [item.process for item in locks.readers] == [reader] and locks.waiting
            writer.kill()


def test_a_reader_in_wal_keeps_the_log_from_shrinking(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with contextlib.closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE things (content)")
        connection.execute("INSERT INTO things VALUES (1)")
        with running(HOLD, path, "BEGIN", "SELECT * FROM things") as reader:
            for _ in range(3):
                connection.execute("INSERT INTO things VALUES (zeroblob(4000000))")
            locks = watch(str(path), 0.2)
            assert [item.process for item in locks.readers] == [reader]
            assert locks.wal and locks.wal_pages > 2900 and locks.wal_bytes > 11_000_000
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert watch(str(path), 0.2) == SqliteLocks(str(path), wal=locks.wal)


def test_one_who_commits_all_the_time_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    schema.create(f"sqlite:///{path}")
    with running(COMMIT, path) as pid:
        # As if none of the moments in between was seen.
        held = sqlite_locks._Look(frozenset({pid}), frozenset(), False)
        monkeypatch.setattr(sqlite_locks, "_look", lambda path: held)
        assert watch(str(path), 1).writers == ()


LOCKER = Locker(7, "python3", 3.0)


def locked(**fields: Any) -> Holders:
    return Holders(sqlite=SqliteLocks("/srv/a.db", **fields))


@pytest.mark.parametrize(
    "now, expected",
    [
        (locked(), OK),
        (locked(writers=(Locker(7, "python3", 2.4),)), OK),
        (locked(writers=(Locker(7, "python3", 2.6),)), ERROR),
        (locked(readers=(LOCKER,)), WARNING),
        (locked(readers=(LOCKER,), waiting=True), ERROR),
        (locked(readers=(LOCKER,), writers=(Locker(8, "a", 3.0),), waiting=True), ERROR),
        (locked(readers=(LOCKER,), wal=True, wal_pages=2000), OK),
        (locked(readers=(LOCKER,), wal=True, wal_pages=2001), ADVICE),
        (locked(readers=(LOCKER,), wal=True, wal_pages=10_001), WARNING),
        (locked(wal=True, wal_pages=10_001), ADVICE),
        (Holders(hidden="it does not show them"), UNKNOWN),
        (Holders(table_waits_s=(2.4,)), OK),
        (Holders(table_waits_s=(1.0, 2.6)), ERROR),
        (Holders(retained=(Retained("slot", "a", 1e6),)), ADVICE),
        (Holders(retained=(Retained("slot", "a", 2e9),)), WARNING),
        (Holders(retained=(Retained("archive", "12", 3600.0),)), WARNING),
        (Holders(retained=(Retained("prepared", "a", 601.0),)), WARNING),
    ],
)
def test_what_is_held_is_judged_by_who_waits_for_it(now: Holders, expected: Severity) -> None:
    (finding,) = checks.holders.judge(POSTGRESQL, SQLITE, now)
    assert finding.severity is expected


@pytest.mark.parametrize(
    "holder, expected",
    [
        (Holder(7, "a", 9.0, True, True), None),
        (Holder(7, "a", 11.0, True, True), ADVICE),
        (Holder(7, "a", 61.0, True, True), WARNING),
        (Holder(7, "a", 599.0, True, False), None),
        (Holder(7, "a", 601.0, True, False), WARNING),
        (Holder(7, "a", 3599.0, False, True), None),
        (Holder(7, "a", 3601.0, False, True), ADVICE),
        (Holder(7, "a", 3.0, True, True, True), ERROR),
        (Holder(7, "a", 3.0, False, True, True), None),
        (Holder(7, "a", 3.0, True, True, False, 1, 2.4), None),
        (Holder(7, "a", 3.0, False, True, False, 3, 2.6), ERROR),
    ],
)
def test_a_transaction_is_judged_by_its_age_and_its_locks(
    holder: Holder, expected: Optional[Severity]
) -> None:
    (finding,) = checks.holders.judge(POSTGRESQL, SQLITE, Holders((holder,)))
    assert finding.severity is (expected or OK)
    if expected:
        assert "session 7 (a)" in finding.diagnosis
        assert str(finding.remedy).endswith("-c 'SELECT pg_terminate_backend(7)'")


INSERT = (
    "INSERT INTO settings (app_settings_name, app_settings_value, app_settings_type) "
    "VALUES ('same', 'x', 'unicode')"
)


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_session_that_others_wait_for_is_an_error_until_it_is_ended(
    name: str,
    instance: Path,
    edit: Callable[..., None],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "LONG_S", 0.9)
    server = request.getfixturevalue(name)
    edit(instance, URL, schema.create(server.url("held")))
    first = server.connect("held")
    if name == "mariadb":
        first.autocommit(False)
    else:
        first.autocommit = False
    first.cursor().execute(INSERT)
    assert severities(found(instance)) == {OK}
    waiting = threading.Thread(target=lambda: server.connect("held").cursor().execute(INSERT))
    waiting.start()
    time.sleep(1.1)
    (finding,) = found(instance)
    assert finding.severity is ERROR and "holds a lock: another one waits for" in finding.diagnosis
    assert finding.evidence["process"] == os.getpid()
    assert f", process {os.getpid()})" in finding.diagnosis
    carry_out(
        finding.remedy, instance, {"PGPASSWORD": server.password, "MYSQL_PWD": server.password}
    )
    waiting.join(30)
    assert severities(found(instance)) == {OK}


def test_a_slot_that_nobody_reads_is_advice_until_it_is_dropped(
    instance: Path, edit: Callable[..., None], postgresql: PostgreSQL
) -> None:
    edit(instance, URL, postgresql.url("slot"))
    cursor = postgresql.connect().cursor()
    cursor.execute("SELECT pg_create_physical_replication_slot('unread', true)")
    (finding,) = found(instance)
    assert (
        finding.severity is ADVICE
        and "slot unread is not being read: it keeps" in finding.diagnosis
    )
    carry_out(finding.remedy, instance, {"PGPASSWORD": postgresql.password})
    assert severities(found(instance)) == {OK}


def test_the_lock_of_a_table_keeps_everybody_out(mariadb: MariaDB, postgresql: PostgreSQL) -> None:
    url = schema.create(postgresql.url("table"))
    connection = postgresql.connect("table")
    connection.autocommit = False
    connection.cursor().execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    (holder,) = read_holders(url).holders
    assert holder.excludes and holder.idle and holder.session == connection.get_backend_pid()
    connection.close()
    url = schema.create(mariadb.url("table"))
    cursor = mariadb.connect("table").cursor()
    cursor.execute("LOCK TABLES users WRITE")
    reading = threading.Thread(
        target=lambda: mariadb.connect("table").cursor().execute("SELECT * FROM users")
    )
    reading.start()
    time.sleep(1.2)
    assert min(read_holders(url).table_waits_s) >= 1
    cursor.execute("UNLOCK TABLES")
    reading.join()


def test_who_may_not_see_transactions_is_known_by_the_grant(
    mariadb: MariaDB, instance: Path, edit: Callable[..., None]
) -> None:
    url = schema.create(mariadb.url("hidden"))
    cursor = mariadb.connect().cursor()
    cursor.execute("CREATE OR REPLACE USER plain@'127.0.0.1' IDENTIFIED BY 'plain'")
    cursor.execute("GRANT ALL ON hidden.* TO plain@'127.0.0.1'")
    edit(instance, URL, url.replace(f"kallithea:{mariadb.password}@", "plain:plain@"))
    (finding,) = found(instance)
    assert finding.severity is UNKNOWN and "GRANT PROCESS ON *.* TO" in str(finding.remedy)
    cursor.execute("DROP USER plain@'127.0.0.1'")
