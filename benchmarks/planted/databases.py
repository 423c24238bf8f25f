"""What is wrong with database servers, after `db-migrate` has moved the instance there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import Any, Union

from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL
from state import BIN, Planted, state


class _Durable(PostgreSQL):
    """A PostgreSQL with the settings of its own, not those that make tests fast."""

    def command(self) -> list[str]:
        words = super().command()
        unsafe = ("fsync=off", "full_page_writes=off", "autovacuum=off")
        return [
            word
            for word, after in zip(words, [*words[1:], ""])
            if word not in unsafe and after not in unsafe
        ]


class _DurableMariaDB(MariaDB):
    """A MariaDB with the durability of its own."""

    def command(self) -> list[str]:
        unsafe = ("--innodb-flush-log", "--innodb-flush-method")
        return [word for word in super().command() if not word.startswith(unsafe)]


def moved(planted: Planted, server: Union[PostgreSQL, MariaDB]) -> None:
    """Start a server and move the instance's database there."""
    planted.stack.callback(server.remove)
    server.start()
    command = [BIN / "gearbox", "db-migrate", "-c", planted.ini, "--to", "env:TARGET", "-y"]
    subprocess.run(
        [*map(str, command), "--switch"],
        env=dict(os.environ, TARGET=server.url("kallithea")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def on_postgresql(planted: Planted) -> PostgreSQL:
    """Move the instance to a private PostgreSQL."""
    server = _Durable()
    moved(planted, server)
    return server


def on_mariadb(planted: Planted) -> MariaDB:
    """Move the instance to a private MariaDB."""
    server = _DurableMariaDB()
    moved(planted, server)
    return server


def _sql(server: Union[PostgreSQL, MariaDB], *statements: str) -> list:
    connection = server.connect("kallithea")
    try:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


@state("DB015")
def fsync(planted: Planted) -> None:
    """PostgreSQL without fsync."""
    _sql(
        on_postgresql(planted),
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "SELECT pg_reload_conf()",
    )


@state("DB017")
def no_keys(planted: Planted) -> None:
    """PostgreSQL tables without keys and indexes."""
    server = on_postgresql(planted)
    for kinds in ("('f')", "('u', 'p')"):
        for table, name in _sql(
            server,
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            f" WHERE contype IN {kinds} AND connamespace = 'public'::regnamespace",
        ):
            _sql(server, f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    for (index,) in _sql(server, "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"):
        _sql(server, f'DROP INDEX "{index}"')


@state("DB017")
def behind(planted: Planted) -> None:
    """A sequence of PostgreSQL behind its column."""
    _sql(on_postgresql(planted), "SELECT setval('user_logs_user_log_id_seq', 1)")


@state("DB018")
def autovacuum(planted: Planted) -> None:
    """Autovacuum switched off for a table."""
    _sql(on_postgresql(planted), "ALTER TABLE user_logs SET (autovacuum_enabled = false)")


@state("DB019")
def idle(planted: Planted) -> None:
    """A transaction of PostgreSQL that nobody ends, and others wait for."""
    server = on_postgresql(planted)
    holder, waiter = server.connect("kallithea"), server.connect("kallithea")
    planted.stack.callback(holder.close)
    holder.cursor().execute("BEGIN; LOCK TABLE user_logs IN EXCLUSIVE MODE")
    waiting = threading.Thread(target=_wait_for, args=[waiter], daemon=True)
    waiting.start()


def _wait_for(connection: Any) -> None:
    with contextlib.suppress(Exception):  # It ends with the server.
        connection.cursor().execute("DELETE FROM user_logs WHERE false")


@state("DB016")
def myisam(planted: Planted) -> None:
    """MariaDB tables without transactions."""
    server = on_mariadb(planted)
    for table, name in _sql(
        server,
        "SELECT table_name, constraint_name FROM information_schema.referential_constraints"
        " WHERE constraint_schema = 'kallithea'",
    ):
        _sql(server, f"ALTER TABLE `{table}` DROP FOREIGN KEY `{name}`")
    for table in ("user_logs", "changeset_comments", "pull_requests"):
        _sql(server, f"ALTER TABLE `{table}` ENGINE = MyISAM")
