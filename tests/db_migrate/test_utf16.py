"""SQLite files whose text is stored in UTF-16, on which Kallithea works as on any other."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from faults import moved, source

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration
from kallithea_tune.db_migrate.engines.sqlite import utf16

NAME = "größe \"\U0001f600\" \\ 'x' "
OCTETS = bytes(range(256))


def in_utf16(path: Path, encoding: str = "UTF-16le") -> None:
    """Store the database of an instance in UTF-16, with text that shows it."""
    lines = []
    with contextlib.closing(sqlite3.connect(str(path))) as old:
        lines = list(old.iterdump())
    path.unlink()
    with contextlib.closing(sqlite3.connect(str(path))) as new:
        new.execute(f"PRAGMA encoding = '{encoding}'")
        new.executescript("\n".join(lines))
        new.execute("UPDATE users SET firstname = ?, user_data = ?", [NAME, OCTETS])
        new.commit()
        assert new.execute("PRAGMA encoding").fetchone() == (encoding,)


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_its_text_arrives_as_it_is(
    encoding: str, target: str, instance: Path, read: Any, tmp_path: Path
) -> None:
    if encoding == "UTF-16be" and not target.startswith("sqlite"):
        target = f"sqlite:///{tmp_path / 'other.db'}"
    in_utf16(source(instance), encoding)
    before = source(instance).read_bytes()
    assert moved(instance, target).differences == []
    assert read(target) == read(f"sqlite:///{source(instance)}")
    assert source(instance).read_bytes() == before
    assert {
        path.name for path in instance.parent.iterdir() if "kallithea-tune" in path.name
    } == set()


def test_a_target_in_utf16_is_verified(instance: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'moved.db'}"
    assert moved(instance, url).differences == []
    with contextlib.closing(sqlite3.connect(str(tmp_path / "moved.db"))) as target, target:
        target.execute("DROP TABLE kallithea_tune_journal")
    with contextlib.closing(sqlite3.connect(str(tmp_path / "moved.db"))) as target:
        lines = list(target.iterdump())
    (tmp_path / "moved.db").unlink()
    with contextlib.closing(sqlite3.connect(str(tmp_path / "moved.db"))) as target:
        target.execute("PRAGMA encoding = 'UTF-16le'")
        target.executescript("\n".join(lines))
    with Migration(instances.load(str(instance)), url) as migration:
        assert migration.verify().differences == []
    with contextlib.closing(sqlite3.connect(str(tmp_path / "moved.db"))) as target, target:
        target.execute("UPDATE users SET lastname = lastname || 'x'")
    with Migration(instances.load(str(instance)), url) as migration:
        assert migration.verify().differences != []


def test_what_only_sqlite_has_is_in_the_copy(tmp_path: Path) -> None:
    old = sqlite3.connect(str(tmp_path / "old.db"))
    old.executescript("""
        PRAGMA encoding = 'UTF-16le';
        CREATE TABLE "a ""b" (id INTEGER PRIMARY KEY AUTOINCREMENT, "t%x" TEXT UNIQUE, n NUMERIC,
            g AS (n + 1), CHECK (n < 5));
        CREATE TABLE pairs (a TEXT, b BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE INDEX of_n ON "a ""b" (n) WHERE n > 1;
        CREATE VIEW seen AS SELECT * FROM nowhere;
        CREATE TRIGGER fired AFTER INSERT ON pairs BEGIN DELETE FROM pairs; END;
        CREATE VIRTUAL TABLE words USING fts4(word);
        INSERT INTO words VALUES ('größe');
        PRAGMA ignore_check_constraints = ON;
        INSERT INTO "a ""b" (id, "t%x", n) VALUES (7, 'x', 99), (9, NULL, 'word');
        DELETE FROM "a ""b" WHERE id = 9;
    """)
    half = "\ud800".encode("utf-16-le", "surrogatepass")
    rows = [("x", half), ("a\0b", b"")]
    old.execute("DROP TRIGGER fired")
    old.executemany("INSERT INTO pairs VALUES (?, ?)", rows)
    old.execute("INSERT INTO pairs VALUES (CAST(? AS TEXT), 1)", [half])
    old.execute("CREATE TRIGGER fired AFTER INSERT ON pairs BEGIN DELETE FROM pairs; END")
    old.commit()
    new = sqlite3.connect(str(tmp_path / "new.db"))
    assert utf16.is_utf16(old) and not utf16.is_utf16(new)
    utf16.convert(old, new)
    for connection in (old, new):
        connection.text_factory = bytes
        connection.execute("PRAGMA ignore_check_constraints = OFF")
    for query in (
        'SELECT *, g FROM "a ""b"',
        "SELECT typeof(a), typeof(b), a, b FROM pairs ORDER BY hex(b)",
        "SELECT * FROM words WHERE words MATCH 'größe'",
        "SELECT * FROM sqlite_sequence",
        "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",
        "PRAGMA integrity_check",
    ):
        assert new.execute(query).fetchall() == old.execute(query).fetchall(), query
    assert new.execute("SELECT seq FROM sqlite_sequence").fetchall() == [(9,)]
    for connection in (old, new):
        connection.close()
