"""What a database, a role or a server sets for its sessions changes nothing that is migrated."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any, Iterator

import pytest
import sqlalchemy
from faults import moved, source

from kallithea_tune.db_migrate import connect
from kallithea_tune.errors import TuneError

# For each engine what may be set, to a value that would change, hide or end something.
POSTGRESQL = {
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "iso_8601",
    "TimeZone": "'Asia/Kathmandu'",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "statement_timeout": "100",
    "lock_timeout": "100",
    "idle_in_transaction_session_timeout": "100",
    "idle_session_timeout": "100",
    "default_transaction_isolation": "serializable",
    "session_replication_role": "replica",
}
MARIADB = {
    "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,"
    "EMPTY_STRING_IS_NULL,PIPES_AS_CONCAT,IGNORE_SPACE,NO_UNSIGNED_SUBTRACTION'",
    "time_zone": "'+05:45'",
    "character_set_server": "latin1",
    "character_set_client": "latin1",
    "character_set_results": "latin1",
    "character_set_connection": "latin1",
    "collation_connection": "latin1_swedish_ci",
    "max_statement_time": "0.1",
    "lock_wait_timeout": "1",
    "sql_select_limit": "3",
    "group_concat_max_len": "100",
    "max_error_count": "0",
    "max_sort_length": "8",
    "div_precision_increment": "0",
    "default_regex_flags": "'EXTENDED,MULTILINE'",
    "sql_auto_is_null": "1",
    "sql_safe_updates": "1",
    "max_join_size": "10",
    "sql_quote_show_create": "0",
    "completion_type": "2",
    "tx_isolation": "'SERIALIZABLE'",
    "foreign_key_checks": "0",
    "unique_checks": "0",
    "check_constraint_checks": "0",
    "idle_transaction_timeout": "1",
    "autocommit": "0",
    "big_tables": "1",
    "net_read_timeout": "1",
    "net_write_timeout": "1",
    "lc_messages": "'de_DE'",
    "lc_time_names": "'de_DE'",
    "wait_timeout": "1",
}


@contextlib.contextmanager
def _set_on_postgresql(server: Any, url: str) -> Iterator[None]:
    name = url.rpartition("/")[2]
    with contextlib.closing(server.connect()) as connection:
        cursor = connection.cursor()
        for setting, value in POSTGRESQL.items():
            cursor.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
        try:
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET ALL")


@contextlib.contextmanager
def _set_on_mariadb(server: Any, url: str) -> Iterator[None]:
    with contextlib.closing(server.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("SET SESSION wait_timeout = 1000")
        before = {}
        for setting in MARIADB:
            cursor.execute(f"SELECT @@GLOBAL.{setting}")
            before[setting] = cursor.fetchone()[0]
        try:
            for setting, value in MARIADB.items():
                cursor.execute(f"SET GLOBAL {setting} = {value}")
            yield
        finally:
            for setting, value in before.items():
                cursor.execute(f"SET GLOBAL {setting} = %s", [value])


def set_otherwise(server: Any, url: str) -> Any:
    """Inside, new sessions have other settings."""
    return (_set_on_postgresql if url.startswith("postgresql") else _set_on_mariadb)(server, url)


@pytest.mark.parametrize("target", ["postgresql", "mariadb"], indirect=True)
def test_both_ends_are_equal_whatever_the_server_sets(
    server: Any, target: str, instance: Path, with_url: Any, read: Any, tmp_path: Path
) -> None:
    back = f"sqlite:///{tmp_path / 'back.db'}"
    database = sqlalchemy.create_engine(f"sqlite:///{source(instance)}")
    with database.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE users SET firstname = :name, lastname = ''"),
            {"name": 'O\'Brien\\ "größe" \U0001f600  '},
        )
        connection.execute(
            sqlalchemy.text("UPDATE user_logs SET action_date = '2024-03-10 02:30:00.000100'")
        )
        connection.execute(
            sqlalchemy.text("UPDATE users SET user_data = :octets"),
            {"octets": bytes(range(256))},
        )
    with set_otherwise(server, target):
        assert moved(instance, target).differences == []
        assert moved(with_url(instance, target), back).differences == []
    assert read(target) == read(back) == read(f"sqlite:///{source(instance)}")


@pytest.mark.parametrize("target", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("engine_of", [connect.source_engine, connect.target_engine])
def test_a_statement_may_take_as_long_as_it_needs(server: Any, target: str, engine_of: Any) -> None:
    pause = "pg_sleep(0.3)" if target.startswith("postgresql") else "sleep(0.3)"
    with set_otherwise(server, target), engine_of(target).connect() as connection:
        (row,) = connection.execute(sqlalchemy.text(f"SELECT {pause}"))
        assert not row[0]


def test_rows_that_a_policy_hides_are_an_error(
    postgresql: Any, instance: Path, with_url: Any, tmp_path: Path
) -> None:
    url = postgresql.url("hidden")
    assert moved(instance, url).differences == []
    with contextlib.closing(postgresql.connect("hidden")) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE ROLE reader LOGIN PASSWORD 'secret-word'")
        cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        cursor.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
        cursor.execute("ALTER TABLE user_logs ENABLE ROW LEVEL SECURITY")
        try:
            as_reader = url.replace("kallithea:" + postgresql.password, "reader:secret-word")
            with pytest.raises(TuneError, match="row-level security"):
                moved(with_url(instance, as_reader), f"sqlite:///{tmp_path / 'moved.db'}")
        finally:
            cursor.execute("DROP OWNED BY reader")
            cursor.execute("DROP ROLE reader")


@pytest.mark.parametrize("driver", ["psycopg2", "pymysql", "mysqldb"])
def test_a_connection_notices_that_the_other_machine_is_gone(driver: str, request: Any) -> None:
    server = request.getfixturevalue("postgresql" if driver == "psycopg2" else "mariadb")
    url = server.url("alive").replace("pymysql", driver)
    with connect.source_engine(url).connect() as connection:
        raw = connection.connection.connection
        descriptor = os.dup((getattr(raw, "_sock", None) or raw).fileno())
        with socket.socket(fileno=descriptor) as same:
            assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60000
