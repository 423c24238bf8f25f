"""Targets that run out of space, are or become read-only, or lack room for Kallithea's keys."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Iterator

import pytest
from faults import At, clear, moved, source, target_state
from mounted import run as as_root
from mounted import tmpfs

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration
from kallithea_tune.db_migrate.engines.mysql import writing as mysql
from kallithea_tune.db_migrate.engines.postgresql import writing as postgresql
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.errors import ConfigError, TuneError

pytestmark = pytest.mark.once


NAME = "cramped"
# Bytes, less than the log takes; MariaDB has a file for each of the tables that are made before.
LEFT = {"postgresql": 2 << 20, "mariadb": 8 << 20}


def execute(server: Any, *statements: str) -> None:
    connection = server.connect()
    for statement in statements:
        connection.cursor().execute(statement)
    connection.close()


def disk(server: Any, path: Path) -> "contextlib.AbstractContextManager[Path]":
    """A disk that belongs to who runs the server."""
    owner = os.stat(server.directory)
    return tmpfs(path, "size=200m,uid=%d,gid=%d" % (owner.st_uid, owner.st_gid))


def leave(room: Path, free: int) -> None:
    """Make the disk larger or smaller, so that just so many bytes are free."""
    found = os.statvfs(room)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    as_root("mount", "-o", "remount,size=%d" % ((used + free,)), room)


@contextlib.contextmanager
def cramped_postgresql(server: Any) -> Iterator[tuple[str, Path]]:
    """A database in a tablespace on a disk of its own."""
    with disk(server, server.directory / "room") as room:
        url = server.url(NAME)
        execute(
            server,
            f"DROP DATABASE {NAME}",
            f"CREATE TABLESPACE room LOCATION '{room}'",
            f"CREATE DATABASE {NAME} TABLESPACE room",
        )
        try:
            yield url, room
        finally:
            execute(server, f"DROP DATABASE {NAME} WITH (FORCE)", "DROP TABLESPACE room")


@contextlib.contextmanager
def cramped_mariadb(server: Any) -> Iterator[tuple[str, Path]]:
    """A database whose directory is a disk of its own."""
    url = server.url(NAME)
    with disk(server, server.data / NAME) as room:
        execute(server, f"ALTER DATABASE {NAME} CHARACTER SET utf8mb4")
        try:
            yield url, room
        finally:
            clear(url)
    execute(server, f"DROP DATABASE {NAME}")


@pytest.mark.parametrize(
    "engine, left, state",
    [
        ("postgresql", "is as it was before", TargetState.EMPTY),
        ("mariadb", "is partly filled; run the same command to resume", TargetState.PARTLY_FILLED),
    ],
)
def test_a_full_disk_of_a_server_is_one_sentence_and_it_goes_on_when_there_is_room(
    request: Any, engine: str, left: str, state: TargetState, large: Path, migrate: Any, read: Any
) -> None:
    server, before = request.getfixturevalue(engine), source(large).read_bytes()
    cramped = {"postgresql": cramped_postgresql, "mariadb": cramped_mariadb}[engine]
    with cramped(server) as (url, room):
        leave(room, LEFT[engine])
        done = migrate(large, url)
        message = done.stderr.splitlines()[-1]
        assert done.returncode == 4 and "Traceback" not in done.stderr, done.stderr
        assert message.startswith(
            "gearbox db-migrate: the migration stopped while copying"
        ) and message.endswith("; the target " + left), message
        assert target_state(url) == (state, False)
        leave(room, 100 << 20)
        done = migrate(large, url)
        assert done.returncode == 0, done.stderr
        assert target_state(url) == (TargetState.COMPLETE, True)
        assert read(url) == read(f"sqlite:///{source(large)}")
    assert source(large).read_bytes() == before


@pytest.fixture
def read_only(mariadb: Any) -> Iterator[Any]:
    """Make MariaDB read-only, and not any more; and the URL of a user who may not write all the
    same.
    """
    url = mariadb.url("replica")
    execute(
        mariadb,
        "CREATE OR REPLACE USER replica@'127.0.0.1' IDENTIFIED BY 'replica-word'",
        "GRANT ALL ON replica.* TO replica@'127.0.0.1'",
    )

    def switch(on: bool) -> str:
        execute(mariadb, "SET lock_wait_timeout = 60", "SET GLOBAL read_only = %d" % on)
        return str(url.replace(f"kallithea:{mariadb.password}", "replica:replica-word"))

    yield switch
    switch(False)


def test_a_mariadb_that_is_only_read_is_wrong_configuration(
    read_only: Any, instance: Path, migrate: Any
) -> None:
    url, before = read_only(True), source(instance).read_bytes()
    done = migrate(instance, url)
    message = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert (
        "does not let its user do what is needed" in message
        and "--read-only" in message
        and "replica-word" not in message
    )
    assert target_state(url) == (TargetState.EMPTY, False)
    read_only(False)
    assert migrate(instance, url).returncode == 0
    assert (
        target_state(url) == (TargetState.COMPLETE, True)
        and source(instance).read_bytes() == before
    )


# While a transaction writes the server does not become so, but waits.
@pytest.mark.parametrize("when", ["adding keys and indexes", "verifying"])
def test_a_mariadb_that_becomes_read_only_keeps_what_it_has(
    read_only: Any, large: Path, read: Any, when: str
) -> None:
    url = read_only(False)
    with pytest.raises(TuneError, match="read-only") as raised, Migration(
        instances.load(str(large)), url, progress=At(when, lambda: read_only(True))
    ) as migration:
        migration.run()
    assert raised.value.exit_status == 4 and "\n" not in str(raised.value)
    assert str(raised.value).endswith(
        "; the target is partly filled; run the same command to resume"
    )
    assert target_state(url) == (TargetState.PARTLY_FILLED, False)
    read_only(False)
    report = moved(large, url)
    assert (
        report.differences == []
        and "users" in report.kept
        and target_state(url) == (TargetState.COMPLETE, True)
    )
    assert read(url) == read(f"sqlite:///{source(large)}")


def test_a_file_system_that_is_only_read_is_wrong_configuration(
    instance: Path, migrate: Any, tmp_path: Path
) -> None:
    with tmpfs(tmp_path / "frozen", "size=20m") as frozen:
        url = "sqlite:///{}".format(frozen / "moved.db")
        as_root("mount", "-o", "remount,ro", frozen)
        done = migrate(instance, url)
        assert done.returncode == 2, done.stderr
        assert "frozen is not writable" in done.stderr.splitlines()[-1]
        as_root("mount", "-o", "remount,rw", frozen)
        assert list(frozen.iterdir()) == []
        assert moved(instance, url).differences == []


@pytest.mark.parametrize(
    "engine, module, oldest, message",
    [
        ("postgresql", postgresql, 990000, r"PostgreSQL \d+\.\d+.* is too old"),
        (
            "mariadb",
            mysql,
            {"MariaDB": (99, 0)},
            r"MariaDB \d+\.\d+.* is too old; 99\.0 is required",
        ),
    ],
)
def test_a_server_that_is_too_old_is_wrong_configuration(
    request: Any,
    instance: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    module: Any,
    oldest: Any,
    message: str,
) -> None:
    url = request.getfixturevalue(engine).url("old")
    monkeypatch.setattr(module, "OLDEST", oldest)
    with pytest.raises(ConfigError, match="is not suitable: " + message):
        moved(instance, url)
    assert target_state(url) == (TargetState.EMPTY, False)


def test_rows_without_room_for_the_keys_are_wrong_configuration(
    mariadb: Any, instance: Path, migrate: Any
) -> None:
    url = mariadb.url("compact")
    execute(mariadb, "SET GLOBAL innodb_default_row_format = compact")
    try:
        done = migrate(instance, url)
    finally:
        execute(mariadb, "SET GLOBAL innodb_default_row_format = dynamic")
    assert done.returncode == 2, done.stderr
    assert "SET GLOBAL innodb_default_row_format = dynamic" in done.stderr.splitlines()[-1]
    assert target_state(url) == (TargetState.EMPTY, False)
    assert moved(instance, url).differences == []
