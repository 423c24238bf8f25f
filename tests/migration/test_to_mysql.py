from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

DRIVERS = ["mysql+pymysql", "mysql", "mariadb"]


def as_driver(url: str, driver: str) -> str:
    return url.replace("mysql+pymysql", driver)


def spoil(ini: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(str(ini.parent / "kallithea.db")) as database:
        database.execute(statement, values)
    database.close()


def rows(server: Any, database: str, query: str) -> Any:
    connection = server.connect(database)
    cursor = connection.cursor()
    cursor.execute(query)
    found = cursor.fetchall()
    connection.close()
    return found


@pytest.fixture
def forbidding(mariadb: Any) -> Any:
    """The server, with LOAD DATA LOCAL off."""
    rows(mariadb, "", "SET GLOBAL local_infile = 0")
    yield mariadb
    rows(mariadb, "", "SET GLOBAL local_infile = 1")


@pytest.mark.parametrize("driver", DRIVERS)
def test_everything_arrives_with_either_driver(
    mariadb: Any, instance: Path, migrate: Any, read: Any, driver: str
) -> None:
    url = mariadb.url("moved")
    before = (instance.parent / "kallithea.db").read_bytes()
    with_charset = driver != "mariadb"
    done = migrate(instance, as_driver(url, driver).replace("?charset=utf8mb4", "?charset=utf8mb4" * with_charset))
    assert done.returncode == 0, done.stderr
    assert read(url) == read("sqlite:///%s" % (instance.parent / "kallithea.db"))
    assert (instance.parent / "kallithea.db").read_bytes() == before
    assert mariadb.password not in done.stdout + done.stderr


@pytest.mark.parametrize("driver", DRIVERS[:2])
def test_where_the_server_forbids_local_files_rows_are_inserted(
    forbidding: Any, instance: Path, migrate: Any, read: Any, driver: str
) -> None:
    url = forbidding.url("inserted")
    done = migrate(instance, as_driver(url, driver))
    assert done.returncode == 0, done.stderr
    assert read(url) == read("sqlite:///%s" % (instance.parent / "kallithea.db"))


def test_what_does_not_fit_is_named_and_never_cut(mariadb: Any, instance: Path, migrate: Any) -> None:
    spoil(instance, "UPDATE user_logs SET username = ? WHERE user_log_id = 400", "x" * 256)
    done = migrate(instance, mariadb.url("cut"))
    assert done.returncode not in (0, 130), done.stdout
    assert "user_logs" in done.stderr and "400" in done.stderr and "username" in done.stderr
    assert "alembic_version" not in [name for name, in rows(mariadb, "cut", "SHOW TABLES")]


def test_references_to_nothing_end_the_migration(mariadb: Any, instance: Path, migrate: Any) -> None:
    spoil(instance, "UPDATE user_logs SET user_id = 4711 WHERE user_log_id = 7")
    done = migrate(instance, mariadb.url("orphan"))
    assert done.returncode not in (0, 130), done.stdout
    assert "user_logs" in done.stderr and "user_id" in done.stderr
    assert "alembic_version" not in [name for name, in rows(mariadb, "orphan", "SHOW TABLES")]


def test_texts_and_blobs_over_64_kilobytes_and_over_a_packet_arrive(
    mariadb: Any, instance: Path, migrate: Any, read: Any
) -> None:
    spoil(instance, "UPDATE user_logs SET action = ? WHERE user_log_id = 1", "é\n\\N" * 50000)
    spoil(instance, "UPDATE users SET user_data = ? WHERE user_id = 2", bytes(range(256)) * 80000)
    url = mariadb.url("large")
    done = migrate(instance, url)
    assert done.returncode == 0, done.stderr
    assert read(url) == read("sqlite:///%s" % (instance.parent / "kallithea.db"))


def test_keys_go_on_beyond_the_greatest_ever_used(mariadb: Any, instance: Path, migrate: Any) -> None:
    spoil(instance, "UPDATE sqlite_sequence SET seq = 7000 WHERE name = 'user_logs'")
    assert migrate(instance, mariadb.url("keys")).returncode == 0
    connection = mariadb.connect("keys")
    cursor = connection.cursor()
    cursor.execute("INSERT INTO user_logs (username, repository_name, action, action_date) VALUES ('', '', '', now())")
    assert cursor.lastrowid == 7001
    connection.close()
