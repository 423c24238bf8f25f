"""What tables lack of Kallithea's models is found on each engine, and the remedy adds all of it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Callable, Sequence

import pytest
from carry_out import carry_out
from servers import schema
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database import schema_checks, tables_checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.facts import DatabaseFacts, TableFacts
from kallithea_tune.perf_check.database.schema import Aspect, Lack, Lacks
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Check, Finding, Severity

OK, ADVICE, WARNING, ERROR = Severity.ok, Severity.advice, Severity.warning, Severity.error
URL = "sqlite:///%(here)s/kallithea.db?timeout=60"
CLIENT = SqlClient("postgresql", ("-h", "db"), "kallithea", "kallithea")
DROP_KEYS = """
DO $$ DECLARE r record; BEGIN
FOR r IN SELECT conrelid::regclass t, conname FROM pg_constraint
    WHERE connamespace = current_schema()::regnamespace AND contype IN ('f', 'u', 'p')
    ORDER BY contype LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', r.t, r.conname);
END LOOP;
FOR r IN SELECT indexrelid::regclass i FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
    WHERE c.relnamespace = current_schema()::regnamespace LOOP
    EXECUTE format('DROP INDEX %s', r.i);
END LOOP; END $$
"""


def found(ini: Path, check: Check = schema_checks.schema) -> list[Finding]:
    return list(check.findings(Context(load(str(ini)), Deadline(60))))


def lack(aspect: Aspect) -> Lack:
    return Lack(aspect, "users", "user_id", f"-- {aspect.value}")


@pytest.mark.parametrize(
    "aspects, severities",
    [
        ([], [OK]),
        ([Aspect.index], [ADVICE]),
        ([Aspect.foreign_key], [WARNING]),
        ([Aspect.not_null, Aspect.index], [WARNING, ADVICE]),
        ([Aspect.unique_key], [ERROR]),
        ([Aspect.primary_key, Aspect.foreign_key, Aspect.index], [ERROR, ADVICE]),
        ([Aspect.next_key], [ERROR]),
        ([Aspect.nullable], [ERROR]),
    ],
)
def test_a_lack_is_judged_by_what_it_lets_happen(
    aspects: Sequence[Aspect], severities: Sequence[Severity]
) -> None:
    facts = DatabaseFacts("PostgreSQL", "15", tables={"users": TableFacts(3)})
    lacks = Lacks(tuple(map(lack, aspects)), 29)
    findings = list(schema_checks.schema.judge(CLIENT, facts, lacks))
    assert [finding.severity for finding in findings] == severities
    for aspect in aspects:
        assert sum(f"-- {aspect.value}" in str(item.remedy) for item in findings) == 1


def test_what_is_missing_is_counted_in_the_plural_where_it_has_one() -> None:
    facts = DatabaseFacts("PostgreSQL", "15", tables={"users": TableFacts(3)})
    lacks = Lacks((lack(Aspect.primary_key), *[lack(Aspect.foreign_key)] * 2), 29)
    (finding,) = schema_checks.schema.judge(CLIENT, facts, lacks)
    message = "lacks 1 primary key, 2 foreign keys, the first of users (user_id)"
    assert message in finding.diagnosis


@pytest.mark.once
def test_keys_that_a_copy_left_behind_are_added_in_postgresql(
    instance: Path, edit: Callable[..., None], postgresql: PostgreSQL
) -> None:
    edit(instance, URL, schema.create(postgresql.url("lacks"), 20))
    password = {"PGPASSWORD": postgresql.password}
    assert [item.severity for item in found(instance)] == [OK]
    cursor = postgresql.connect("lacks").cursor()
    cursor.execute(DROP_KEYS)
    cursor.execute("ALTER TABLE users ALTER user_id DROP DEFAULT")
    cursor.execute("ALTER TABLE users ALTER username DROP NOT NULL")
    cursor.execute("ALTER TABLE groups ADD COLUMN extra int NOT NULL")
    cursor.execute("SELECT setval('user_logs_user_log_id_seq', 3)")
    keys, indexes = found(instance)
    assert (keys.severity, indexes.severity) == (ERROR, ADVICE)
    assert (
        "1 NOT NULL, 1 NULL, 29 primary keys, 1 generated key, 1 next key, 25 unique keys, "
        "54 foreign keys"
    ) in keys.diagnosis
    assert "15 indexes" in indexes.diagnosis and keys.evidence["effect"] == "new rows are refused"
    for finding in (keys, indexes):
        carry_out(finding.remedy, instance, password)
    assert [item.severity for item in found(instance)] == [OK]
    cursor.execute(
        "INSERT INTO user_logs (username, repository_name, action, user_ip, action_date) "
        "VALUES ('a', 'b', 'c', 'd', now()) RETURNING user_log_id"
    )
    assert cursor.fetchall() == [(21,)]


@pytest.mark.once
def test_a_row_in_the_way_leaves_postgresql_as_it_was(
    instance: Path, edit: Callable[..., None], postgresql: PostgreSQL
) -> None:
    edit(instance, URL, schema.create(postgresql.url("doubled"), 20))
    cursor = postgresql.connect("doubled").cursor()
    cursor.execute("ALTER TABLE user_logs DROP CONSTRAINT pk_user_logs")
    cursor.execute("ALTER TABLE users DROP CONSTRAINT uq_users_email")
    cursor.execute("UPDATE user_logs SET user_log_id = 7 WHERE user_log_id = 8")
    (before,) = found(instance)
    with pytest.raises(AssertionError, match="Key .user_log_id.=.7. is duplicated"):
        carry_out(before.remedy, instance, {"PGPASSWORD": postgresql.password})
    (after,) = found(instance)
    assert after.diagnosis == before.diagnosis


@pytest.mark.once
def test_tables_of_myisam_are_converted_and_get_their_foreign_keys(
    instance: Path, edit: Callable[..., None], mariadb: MariaDB
) -> None:
    edit(instance, URL, schema.create(mariadb.url("lacks"), 20))
    password = {"MYSQL_PWD": mariadb.password}
    assert [item.severity for item in found(instance, tables_checks.table_engines)] == [OK]
    cursor = mariadb.connect("lacks").cursor()
    references = (
        "SELECT table_name, constraint_name FROM information_schema.referential_constraints "
        "WHERE constraint_schema = 'lacks' "
        "AND 'pull_requests' IN (table_name, referenced_table_name)"
    )
    cursor.execute(references)
    for table, name in cursor.fetchall():
        cursor.execute(f"ALTER TABLE `{table}` DROP FOREIGN KEY `{name}`")
    cursor.execute("ALTER TABLE pull_requests ENGINE = MyISAM, MODIFY pull_request_id int NOT NULL")
    (engine,) = found(instance, tables_checks.table_engines)
    assert engine.severity is ERROR and "1 table of MyISAM" in engine.diagnosis
    (keys,) = found(instance)
    assert keys.severity is ERROR and "1 generated key" in keys.diagnosis
    carry_out(keys.remedy, instance, password)
    assert [item.severity for item in found(instance)] == [OK]
    assert [item.severity for item in found(instance, tables_checks.table_engines)] == [OK]
    cursor.execute(references)
    assert len(cursor.fetchall()) > 5
    cursor.execute("ALTER TABLE alembic_version ENGINE = Aria")
    (engine,) = found(instance, tables_checks.table_engines)
    carry_out(engine.remedy, instance, password)
    assert [item.severity for item in found(instance, tables_checks.table_engines)] == [OK]


@pytest.mark.once
def test_a_sqlite_table_without_keys_is_made_anew_with_its_rows(instance: Path) -> None:
    path = instance.parent / "kallithea.db"
    assert [item.severity for item in found(instance)] == [OK]
    with contextlib.closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        for table in ("users", "user_logs"):
            connection.execute(f"CREATE TABLE copied AS SELECT * FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE copied RENAME TO {table}")
        connection.execute("DROP INDEX cc_revision_idx")
        before = content(connection)
    keys, index = found(instance)
    assert keys.severity is ERROR and "2 primary keys, 2 unique keys" in keys.diagnosis
    assert index.severity is ADVICE and "(revision)" in index.diagnosis
    for finding in (keys, index):
        carry_out(finding.remedy, instance)
    assert [item.severity for item in found(instance)] == [OK]
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        assert content(connection) == before
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def content(connection: sqlite3.Connection) -> Any:
    tables = ("users", "user_logs")
    return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


def test_a_database_of_another_revision_is_not_compared(instance: Path) -> None:
    with contextlib.closing(sqlite3.connect(str(instance.parent / "kallithea.db"))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'cf1109ebbd'")
        connection.commit()
    with pytest.raises(Exception, match="see DB014"):
        found(instance)
