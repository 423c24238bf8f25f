"""Engines for measuring read what is there, write nothing, and say in a sentence why they
cannot.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
import sqlalchemy
from sqlalchemy.exc import DBAPIError

from kallithea_tune.db.engine import create_engine, open_sqlite, read_only_engine
from kallithea_tune.db.url import given_url
from kallithea_tune.errors import ConfigError

# Ends as a killed process does, in the middle of a transaction that is partly on disk, or after it
# in WAL mode.
CRASH = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.executemany("INSERT INTO things VALUES (?)", [("x" * 900,)] * 500)
if sys.argv[2] == "wal":
    connection.execute("COMMIT")
os._exit(0)
"""


def listing(directory: Path) -> Any:
    """Every file with its content and times."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in directory.iterdir()
    }


@pytest.fixture(params=["delete", "wal"])
def database(request: Any, tmp_path: Path) -> Path:
    """A SQLite file with a table, in one of the journal modes."""
    path = tmp_path / "a file.db"
    connection = sqlite3.connect(str(path))
    connection.execute(f"PRAGMA journal_mode = {request.param}")
    connection.execute("CREATE TABLE things (content)")
    connection.execute("INSERT INTO things VALUES ('one')")
    connection.commit()
    connection.close()
    return path


def mode_of(path: Path) -> str:
    return "wal" if path.read_bytes()[19] == 2 else "delete"


def test_reading_leaves_a_sqlite_file_and_its_directory_as_they_were(database: Path) -> None:
    before = listing(database.parent)
    with read_only_engine(f"sqlite:///{database}").connect() as connection:
        assert connection.execute("SELECT count(*) FROM things").scalar() == 1
        with pytest.raises(DBAPIError):
            connection.execute("INSERT INTO things VALUES ('two')")
    assert listing(database.parent) == before


def test_what_a_dead_process_left_is_not_tidied_up(database: Path) -> None:
    mode = mode_of(database)
    subprocess.run([sys.executable, "-c", CRASH, str(database), mode], check=True)
    before = listing(database.parent)
    assert len(before) > 1
    connection = open_sqlite(str(database))
    if mode == "wal":
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (501,)
    else:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("SELECT count(*) FROM things")
    connection.close()
    after = listing(database.parent)
    # The index of the WAL in shared memory is no content: who opens the database writes locks into
    # it.
    assert {name: seen for name, seen in after.items() if not name.endswith("-shm")} == {
        name: seen for name, seen in before.items() if not name.endswith("-shm")
    }


def test_a_writer_at_work_is_read_beside_and_left_its_files(database: Path) -> None:
    writer = sqlite3.connect(str(database), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO things VALUES ('two')")
    before = sorted(os.listdir(str(database.parent)))
    reader = open_sqlite(str(database))
    assert reader.execute("SELECT count(*) FROM things").fetchone() == (1,)
    reader.close()
    assert sorted(os.listdir(str(database.parent))) == before
    writer.execute("COMMIT")
    assert writer.execute("SELECT count(*) FROM things").fetchone() == (2,)
    writer.close()
    assert sorted(os.listdir(str(database.parent))) == [database.name]


# In this mode SQLite errs for about one reader in a hundred.
COMMIT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("PRAGMA journal_mode = PERSIST")
connection.execute("PRAGMA synchronous = OFF")
print("committing", flush=True)
while True:
    connection.execute("UPDATE things SET content = content + 1")
"""


@pytest.fixture
def committing(tmp_path: Path) -> Iterator[Path]:
    """A SQLite file into which another process commits as fast as it can."""
    path = tmp_path / "busy.db"
    sqlite3.connect(str(path)).execute(
        "CREATE TABLE things AS SELECT 1 AS content"
    ).connection.close()
    writer = subprocess.Popen([sys.executable, "-c", COMMIT, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout and writer.stdout.readline() == b"committing\n"
    yield path
    assert writer.poll() is None, "the writer was disturbed"
    writer.kill()
    writer.communicate()


def test_what_looks_left_behind_for_a_moment_is_asked_for_again(committing: Path) -> None:
    for _ in range(1500):
        with contextlib.closing(open_sqlite(str(committing))) as reader:
            reader.execute("SELECT 1 FROM things LIMIT 1").fetchall()
    engine = read_only_engine(f"sqlite:///{committing}")
    for _ in range(500):
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1 FROM things LIMIT 1")).fetchall()
    with contextlib.closing(open_sqlite(str(committing))) as reader:
        for _ in range(500):
            reader.backup(sqlite3.connect(":memory:"))


def test_a_missing_sqlite_file_is_not_made(tmp_path: Path) -> None:
    for make in (create_engine, read_only_engine):
        with pytest.raises(DBAPIError):
            make(f"sqlite:///{tmp_path}/none.db").connect()
    assert not os.listdir(str(tmp_path))


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_a_server_refuses_a_read_only_connection_every_write(request: Any, server: str) -> None:
    url = request.getfixturevalue(server).url("read_only")
    with create_engine(url).begin() as connection:
        connection.execute("CREATE TABLE things (content INT)")
        connection.execute("INSERT INTO things VALUES (1)")
    with read_only_engine(url).connect() as connection:
        for statement in (
            "INSERT INTO things VALUES (2)",
            "DELETE FROM things",
            "CREATE TABLE more (content INT)",
        ):
            with pytest.raises(DBAPIError, match="(?i)read.only"):
                connection.execute(statement)
        assert connection.execute("SELECT content FROM things").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "url, message",
    {
        "": "sqlalchemy.url is empty",
        "no url at all": "sqlalchemy.url is not a database URL",
        "postgresql://localhost:port/kallithea": "sqlalchemy.url is not a database URL",
        "oracle8://localhost/kallithea": "unknown database dialect 'oracle8'",
        "postgresql+pg8000://localhost/kallithea": "the driver for sqlalchemy.url is not installed",
    }.items(),
)
def test_a_bad_url_is_reported_in_a_sentence_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_engine(url.replace("://", "://me:hidden@"))
    assert (
        message in str(caught.value)
        and "hidden" not in str(caught.value)
        and "\n" not in str(caught.value)
    )


def test_a_url_is_given_outright_in_the_environment_or_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://me:hidden@localhost/kallithea"
    monkeypatch.setenv("OTHER", url)
    (tmp_path / "url").write_text(url + "\nmore\n")
    for given in (url, "env:OTHER", "file:{}".format(tmp_path / "url")):
        assert given_url(given, "--compare-db") == url


def test_a_url_that_is_not_where_it_is_said_to_be_is_a_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    monkeypatch.delenv("OTHER", raising=False)
    for given, message in {
        "env:OTHER": "the environment variable OTHER is not set",
        "env:": "is not set",
        f"file:{tmp_path}/none": "No such file",
        f"file:{tmp_path}": "Is a directory",
        f"file:{tmp_path}/empty": "is empty",
        f"file:{tmp_path}/binary": "it is not text",
    }.items():
        with pytest.raises(ConfigError, match=message):
            given_url(given, "--compare-db")
