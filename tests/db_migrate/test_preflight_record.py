"""What a dry run found is taken as proven only while nothing at all has changed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import pytest
from faults import At, source
from kallithea_tables import Database
from waiting import until

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, Options
from kallithea_tune.db_migrate.engines import engine_class
from kallithea_tune.db_migrate.engines.sqlite.identity import Identity
from kallithea_tune.db_migrate.preflight import record
from kallithea_tune.db_migrate.preflight.record import Circumstances, RecordFile
from kallithea_tune.db_migrate.source import Source

pytestmark = pytest.mark.once


SAME_SIZE = "UPDATE users SET firstname = 'Xyz' WHERE user_id = 1"
WRITTEN = "the source may have been written to"


def dry_run(ini: Path, url: str, **options: Any) -> None:
    with Migration(instances.load(str(ini)), url, Options(**options)) as migration:
        assert not migration.dry_run().preflight.violations


def run_again(ini: Path, url: str, **options: Any) -> str:
    """Return why preflight runs, which is nothing where it does not."""
    seen = At("running preflight", lambda: None)
    with Migration(instances.load(str(ini)), url, Options(**options), seen) as migration:
        migration.require_no_problems()
        sentence = migration.result.preflight
        assert sorted(migration.preflight.fixes.tables) == sorted(
            table.name for table in migration.tables
        )
    assert seen.done == ("nothing has changed" not in sentence)
    return sentence.partition("found no problems")[2].strip(" .:") if sentence else "no record"


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute(statement).fetchall()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return "sqlite:///{}".format(tmp_path / "moved.db")


def record_of(ini: Path) -> Path:
    return ini.with_name("my.ini.preflight-sqlite-moved.db.json")


def test_an_unchanged_source_is_not_examined_twice(instance: Path, url: str) -> None:
    assert run_again(instance, url) == "no record"
    dry_run(instance, url)
    for _ in range(2):
        assert run_again(instance, url) == ""
    found = record_of(instance)
    assert found.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(found.read_text())["circumstances"]) == {
        "source",
        "target",
        "tables",
        "tool",
    }


def test_the_report_says_that_preflight_was_proven(
    instance: Path, url: str, migrate: Callable[..., Any]
) -> None:
    assert migrate(instance, url, "-n").returncode == 0
    done = migrate(instance, url)
    assert done.returncode == 0, done.stderr
    assert "Preflight: nothing has changed since the dry run of 2" in done.stdout
    execute(source(instance), SAME_SIZE)
    done = migrate(instance, url, "--replace", "-y", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert WRITTEN in json.loads(done.stdout)["preflight"]


def overwritten(path: Path, by: Path) -> None:
    """Write other content into the file, and set its time back."""
    before = path.stat()
    path.write_bytes(by.read_bytes())
    os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_change_of_the_source_is_noticed(instance: Path, url: str) -> None:
    path, old = source(instance), instance.with_name("old.db")
    shutil.copy2(str(path), str(old))
    execute(path, SAME_SIZE)
    dry_run(instance, url)
    assert run_again(instance, url) == ""
    overwritten(path, old)
    assert run_again(instance, url) == WRITTEN
    dry_run(instance, url)
    assert run_again(instance, url) == ""
    execute(path, "CREATE INDEX another ON users (firstname)")
    assert run_again(instance, url) == WRITTEN


class Read(NamedTuple):
    """A SQLite file, and a function that returns which parts of its identity have changed."""

    path: Path
    changed: Callable[[], set[str]]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Read]:
    path = tmp_path / "file.db"
    execute(path, "CREATE TABLE users (user_id INTEGER PRIMARY KEY, firstname TEXT)")
    execute(path, "INSERT INTO users VALUES (1, 'Abc')")

    def read() -> dict[str, str]:
        opened = Identity(f"sqlite:///{path}")
        found = dict(opened.read(None))  # type: ignore[arg-type]
        opened.close()
        return found

    before = read()
    assert set(before) == {"path", "file", "size", "change", "header", "SQLite"}

    def changed() -> set[str]:
        now = read()
        return {name for name in before if before[name] != now.get(name)}

    yield Read(path, changed)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users VALUES (2, 'Abc')",
        SAME_SIZE,
        "CREATE INDEX another ON users (firstname)",
        "VACUUM",
        "PRAGMA user_version = 1",
    ],
)
def test_the_header_of_a_file_counts_every_change(file: Read, statement: str) -> None:
    assert file.changed() == set()
    execute(file.path, statement)
    assert "header" in file.changed()


def test_a_connection_that_keeps_its_lock_is_counted(file: Read) -> None:
    with closing(sqlite3.connect(str(file.path), isolation_level=None)) as writer:
        writer.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        writer.execute(SAME_SIZE)
        assert "header" in file.changed()


def test_a_copy_that_has_counted_as_far_is_noticed(file: Read) -> None:
    twin = file.path.with_name("twin.db")
    shutil.copy2(str(file.path), str(twin))
    with closing(sqlite3.connect(str(twin))) as changing, changing:
        changing.execute(SAME_SIZE)
    content = bytearray(twin.read_bytes())
    content[:100] = file.path.read_bytes()[:100]
    twin.write_bytes(content)
    overwritten(file.path, twin)
    assert file.changed() == {"change"}


def test_another_file_at_the_path_is_noticed(file: Read) -> None:
    copy = file.path.with_name("copy.db")
    shutil.copy2(str(file.path), str(copy))
    os.replace(str(copy), str(file.path))
    assert {"file"} <= file.changed() <= {"file", "change"}


def test_a_file_in_wal_mode_or_that_is_no_longer_at_its_path_proves_nothing(file: Read) -> None:
    opened = Identity(f"sqlite:///{file.path}")
    assert opened.read(None)  # type: ignore[arg-type]
    moved = file.path.with_name("moved.db")
    os.rename(str(file.path), str(moved))
    assert opened.read(None) == {}  # type: ignore[arg-type]
    execute(file.path, "CREATE TABLE other (id)")
    assert opened.read(None) == {}  # type: ignore[arg-type]
    opened.close()
    os.replace(str(moved), str(file.path))
    execute(file.path, "PRAGMA journal_mode = WAL")
    assert len(file.changed()) == 6


def test_a_write_while_the_snapshot_is_taken_leaves_no_identity(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = source(instance)

    def written(opened: Source) -> Any:
        execute(path, SAME_SIZE)
        return copied(opened)

    copied = Source._copied
    monkeypatch.setattr(Source, "_copied", written)
    opened = Source(f"sqlite:///{path}")
    assert opened.identity == {}
    monkeypatch.undo()
    opened.take_snapshot()
    assert opened.identity
    opened.close()


def test_nothing_is_proven_in_wal_mode(instance: Path, url: str) -> None:
    path = source(instance)
    dry_run(instance, url)
    execute(path, "PRAGMA journal_mode = WAL")
    assert run_again(instance, url) == "nothing proves that the source has not been written to"
    record_of(instance).unlink()
    dry_run(instance, url)
    assert not record_of(instance).exists()


def test_other_choices_and_another_tool_are_noticed(
    instance: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(source(instance), "CREATE TABLE plugin (id INTEGER PRIMARY KEY, name TEXT)")
    leave = {"leave": ["plugin"]}
    dry_run(instance, url, **leave)
    assert run_again(instance, url, extra_tables=True) == "the tables are not the same"
    assert run_again(instance, url, fixes=["orphans=null"], **leave) == "no record"
    assert run_again(instance, url, **leave) == ""
    monkeypatch.setattr(record, "_code", lambda: "another")
    assert run_again(instance, url, **leave) == "db-migrate is not the same"


def test_a_dry_run_with_problems_or_fixes_leaves_no_record(instance: Path, url: str) -> None:
    dry_run(instance, url, fixes=["orphans=null"])
    assert not record_of(instance).exists()
    execute(source(instance), "UPDATE user_logs SET user_id = 4711 WHERE user_log_id = 1")
    with Migration(instances.load(str(instance)), url) as migration:
        assert migration.dry_run().preflight.violations
    assert not record_of(instance).exists()


@pytest.fixture
def written(tmp_path: Path) -> RecordFile:
    """A record beside something that is in the place of an ini file."""
    ini = tmp_path / "my.ini"
    ini.write_text("")
    file = RecordFile(str(ini), "target")
    file.write(FOUND)
    return file


FOUND = Circumstances({"header": "1"}, {"version": "2"}, "3", "4")


def test_a_record_is_read_as_it_was_written(written: RecordFile) -> None:
    read = written.read()
    assert read and read.circumstances == FOUND
    assert written.proves(lambda: FOUND)[0]
    unknown = replace(FOUND, source={})
    assert unknown.difference(unknown) and not written.proves(lambda: unknown)[0]
    for field in ("source", "target", "tables", "tool"):
        assert not written.proves(lambda name=field: replace(FOUND, **{name: {"a": "b"}}))[0]


@pytest.mark.parametrize("text", ["", "{", '{"dry_run": "x"}', '{"dry_run": "x", "tool": 1}', "[]"])
def test_what_is_no_record_proves_nothing(written: RecordFile, text: str) -> None:
    Path(written.path).write_text(text)
    assert written.read() is None and written.proves(lambda: FOUND) == (False, "")


def test_a_record_that_others_can_write_or_place_is_not_used(written: RecordFile) -> None:
    path = Path(written.path)
    for mode in (0o620, 0o602):
        path.chmod(mode)
        assert written.read() is None
    path.chmod(0o600)
    assert written.read()
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert written.read() is None


def test_what_is_no_record_stays_as_it_is(written: RecordFile) -> None:
    path = Path(written.path)
    path.write_text("notes")
    written.write(FOUND)
    assert path.read_text() == "notes"
    path.unlink()
    path.mkdir()
    written.write(FOUND)
    assert written.read() is None and not list(path.iterdir())


def test_another_configuration_of_the_target_is_noticed(instance: Path, mariadb: Any) -> None:
    url = mariadb.url("configured")
    dry_run(instance, url)
    assert run_again(instance, url) == ""
    cursor = mariadb.connect("configured").cursor()
    cursor.execute("SELECT @@collation_database, @@GLOBAL.max_allowed_packet")
    collation, packet = cursor.fetchone()
    cursor.execute("ALTER DATABASE configured COLLATE utf8mb4_german2_ci")
    assert run_again(instance, url) == "the target is configured differently"
    cursor.execute(f"ALTER DATABASE configured COLLATE {collation}")
    assert run_again(instance, url) == ""
    try:
        cursor.execute(f"SET GLOBAL max_allowed_packet = {packet // 2}")
        assert run_again(instance, url) == "the target is configured differently"
    finally:
        cursor.execute(f"SET GLOBAL max_allowed_packet = {packet}")


def identity(database: Database) -> dict[str, str]:
    """The identity of a server, once it has come to rest."""
    read = engine_class(database.dialect).identity_class("").read
    end = time.monotonic() + 20
    with database.connection.engine.connect() as connection:
        parts = dict(read(connection))
        while parts and time.monotonic() < end:
            time.sleep(0.6)
            before, parts = parts, dict(read(connection))
            if parts == before:
                break
    return parts


def is_settled(database: Database) -> bool:
    """InnoDB removes deleted rows a little later, which its log shows."""
    before = identity(database)
    time.sleep(1)
    return identity(database) == before


@pytest.fixture(params=["postgresql", "mysql"])
def server(databases: dict[str, Database], request: Any) -> Iterator[Database]:
    """A server whose table of settings has one row."""
    database: Database = databases[request.param]
    database.run("DELETE FROM settings")
    database.run("INSERT INTO settings VALUES (1, 'x', 'x', 'unicode')")
    until(lambda: is_settled(database))
    yield database
    database.connection.connection.rollback()
    database.run("DELETE FROM settings")
    database.run("DROP TABLE IF EXISTS another")


def test_a_server_that_nobody_writes_to_stays_the_same(server: Database) -> None:
    before = identity(server)
    assert before and "" not in before.values()
    server.run("SELECT count(*) FROM settings")
    assert identity(server) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE settings SET app_settings_value = 'y'",
        "INSERT INTO settings VALUES (2, 'y', 'y', 'unicode')",
        "CREATE TABLE another (id INTEGER)",
    ],
)
def test_a_server_that_is_written_to_does_not(server: Database, statement: str) -> None:
    before = identity(server)
    server.run(statement)
    assert identity(server) not in ({}, before)


def test_the_end_of_a_transaction_that_began_before_is_noticed(server: Database) -> None:
    with server.connection.engine.connect() as writer:
        cursor = writer.connection.cursor()
        cursor.execute("UPDATE settings SET app_settings_value = 'y'")
        before = identity(server)
        writer.connection.commit()
    assert identity(server) not in ({}, before)


def test_a_sequence_that_counts_outside_transactions_is_noticed(
    databases: dict[str, Database],
) -> None:
    database = databases["postgresql"]
    cursor = database.connection.connection.cursor()
    cursor.execute("SELECT nextval('settings_app_settings_id_seq')")
    database.connection.connection.rollback()
    before = identity(database)
    cursor.execute("SELECT nextval('settings_app_settings_id_seq')")
    database.connection.connection.rollback()
    now = identity(database)
    assert before["sequences"] != now["sequences"]


def test_tables_outside_of_innodb_prove_nothing(databases: dict[str, Database]) -> None:
    database = databases["mysql"]
    assert identity(database)
    database.run("CREATE TABLE another (id INTEGER) ENGINE = MyISAM")
    try:
        assert identity(database) == {}
    finally:
        database.run("DROP TABLE another")
