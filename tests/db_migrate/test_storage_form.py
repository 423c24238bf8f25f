"""A value has the same form on each path out of SQLite, whatever its column is meant for."""

from __future__ import annotations

import contextlib
import csv
import io
import sqlite3
from pathlib import Path
from typing import Any, Iterator

import pytest
import sqlalchemy
from dirt import run_preflight
from kallithea_tables import Database
from sqlalchemy import types

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines import Engine, engine_for
from kallithea_tune.db_migrate.engines.base.column_limits import ColumnLimits
from kallithea_tune.db_migrate.preflight.rules import violated_rules
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.db_migrate.verify.fingerprint import ALL_KEYS, Fingerprinter
from kallithea_tune.db_migrate.verify.pieces import written

TYPES = {
    Kind.integer: types.Integer(),
    Kind.boolean: types.Boolean(),
    Kind.number: types.Float(),
    Kind.decimal: types.Numeric(10, 2),
    Kind.text: types.UnicodeText(),
    Kind.moment: types.DateTime(),
    Kind.instant: types.DateTime(timezone=True),
    Kind.date: types.Date(),
    Kind.time: types.Time(),
    Kind.binary: types.LargeBinary(),
}
# Of each of SQLite's five storage classes.
LITERALS = [
    "NULL",
    "0",
    "1",
    "-7",
    "9223372036854775807",
    "1.0",
    "0.1",
    "-1e300",
    "9e999",
    "'text'",
    "''",
    "'it''s é\n\\x00'",
    "'NULL'",
    "CAST(x'610062' AS TEXT)",
    "CAST(x'e9' AS TEXT)",
    "'12'",
    "'2024-02-29 12:00:00'",
    "'2024-02-29 12:00:00.123456'",
    "'2024-02-29 12:00:00.123456+00:00'",
    "'2024-02-29'",
    "'12:00:00.000000'",
    "x''",
    "x'00ff'",
    "x'7b7d'",
]


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A SQLite file with a table for each kind, whose column takes every value as it is."""
    path = tmp_path_factory.mktemp("forms") / "dirty.db"
    connection = sqlalchemy.create_engine(f"sqlite:///{path}").connect()
    cursor = connection.connection.cursor()
    for kind in Kind:
        cursor.execute(f"CREATE TABLE {kind.value} (id INTEGER PRIMARY KEY, v)")
        for literal in LITERALS:
            cursor.execute(f"INSERT INTO {kind.value} (v) VALUES ({literal})")
    connection.connection.commit()
    engine = engine_for(connection)
    engine.reader.accept_invalid_utf8()
    yield engine
    connection.close()


def described(kind: Kind) -> sqlalchemy.Table:
    return sqlalchemy.Table(
        kind.value,
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", types.Integer(), primary_key=True),
        sqlalchemy.Column("v", TYPES[kind]),
    )


def parsed(text: bytes) -> list[list[str]]:
    """Read CSV between single quotes, as the servers do."""
    file = io.StringIO(text.decode("utf-8", "surrogateescape"), newline="")
    return list(csv.reader((line.replace("\0", "\ue000") for line in file), quotechar="'"))


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_all_paths_give_a_value_one_form(dirty: Engine, kind: Kind) -> None:
    table, limits = described(kind), ColumnLimits(dirty.connection).of(described(kind).columns.v)
    assert kind_of(table.columns.v) is kind
    rows: list[Row] = [row for batch in dirty.reader.rows(table) for row in batch]
    fingerprinter = Fingerprinter(dirty)
    assert list(map(repr, fingerprinter.all_rows(table))) == list(map(repr, rows))
    keys = [key for key in range(1, len(rows) + 1)]
    assert list(map(repr, fingerprinter.stored_rows(table, keys))) == list(map(repr, rows))
    taken = {row[0]: row[1] for row in rows if not list(violated_rules(row[1], limits))}
    assert len(taken) > 1
    for keep_nul in (True, False):
        lines = parsed(b"".join(text for _, text in dirty.reader.lines(table, keep_nul)))
        encoded = parsed(values.encode(rows))
        for line, form in zip(lines, encoded):
            # PostgreSQL takes no text with a NUL, at which SQLite's printf() ends.
            if int(line[0]) in taken and (keep_nul or "\ue000" not in form[1]):
                assert line[1].lower() == form[1].lower(), (LITERALS[int(line[0]) - 1], keep_nul)


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_verification_takes_that_form_for_what_is_there(dirty: Engine, kind: Kind) -> None:
    """The digests that SQLite computes are those of the rows as they are read."""
    table, limits = described(kind), ColumnLimits(dirty.connection).of(described(kind).columns.v)
    fingerprinter = Fingerprinter(dirty)
    computed = {
        key: pieces[0] for key, pieces in fingerprinter.rows(table, [table.columns.v], ALL_KEYS)
    }
    for batch in dirty.reader.rows(table):
        for key, value in batch:
            if not list(violated_rules(value, limits)):
                assert computed[int(str(key))] == written(table.columns.v, value)


def test_text_in_a_binary_column_arrives_as_its_bytes_on_all_ways(
    instance: Path, target: str, migrate: Any
) -> None:
    """With a fix in its table, with a NUL beside it, and when it was written after the copy."""
    with contextlib.closing(sqlite3.connect(str(instance.parent / "kallithea.db"))) as database:
        database.execute("UPDATE users SET user_data = ? WHERE user_id = 2", ['{"a": "é"}'])
        database.execute("UPDATE users SET last_login = 'yesterday' WHERE user_id = 5")
        fixes = ["--fix", "dates=null", "--fix", "nul=strip"]
        database.execute("UPDATE users SET firstname = 'a' || char(0) || 'b' WHERE user_id = 3")
        database.commit()
        done = migrate(instance, target, *fixes)
        assert done.returncode == 0, done.stdout + done.stderr
        database.execute("UPDATE users SET user_data = ? WHERE user_id = 4", ["é"])
        database.commit()
        for option in ("--catch-up", "--verify"):
            done = migrate(instance, target, *fixes, option)
            assert done.returncode == 0, done.stdout + done.stderr
    engine = sqlalchemy.create_engine(target)
    query = "SELECT user_data FROM users WHERE user_id IN (2, 4) ORDER BY user_id"
    found = [bytes(row[0]) for row in engine.execute(query)]
    engine.dispose()
    assert found == ['{"a": "é"}'.encode(), "é".encode()]


def own_tables() -> sqlalchemy.MetaData:
    """A table that refers to another one by a number with decimals, and one by a date."""
    metadata = sqlalchemy.MetaData()
    for name, type_ in (("sum", types.Numeric(10, 2)), ("day", types.Date())):
        column = sqlalchemy.Column("id", type_, primary_key=True)
        sqlalchemy.Table(f"{name}s", metadata, column, sqlalchemy.Column("n", types.Numeric(10, 2)))
        sqlalchemy.Table(
            f"of_{name}s",
            metadata,
            sqlalchemy.Column("id", types.Integer(), primary_key=True, autoincrement=False),
            sqlalchemy.Column(name, type_, sqlalchemy.ForeignKey(f"{name}s.id")),
        )
    return metadata


@pytest.mark.parametrize("source, target", [("postgresql", "mysql"), ("mysql", "postgresql")])
def test_references_by_other_types_are_found_again_in_rows(
    postgresql: Any, mariadb: Any, source: str, target: str
) -> None:
    """A row is compared with what preflight found, which drivers return in types of their own."""
    urls = {
        "postgresql": postgresql.url("own_tables"),
        "mysql": mariadb.url("own_tables") + "&local_infile=1",
    }
    ends = {name: Database(urls[name], own_tables()) for name in (source, target)}
    here, tables = ends[source], ends[source].tables
    here.run("INSERT INTO sums VALUES (1.50, 1), (3.00, 1)")
    here.run("INSERT INTO days VALUES ('2024-02-29', 1)")
    here.run("INSERT INTO of_sums VALUES (1, 1.50), (2, 2.50), (3, 3.00), (4, NULL)")
    here.run("INSERT INTO of_days VALUES (1, '2024-02-29'), (2, '2024-03-01')")
    if source == "postgresql":
        here.run("UPDATE sums SET n = 'NaN' WHERE id = 3.00")
    else:
        here.run("DELETE FROM sums WHERE id = 3.00")
    fixes = ["orphans=null", "not-finite=delete"]
    result = run_preflight(here, ends[target], *fixes, tables=tables)
    assert result.blocking == [] and len(result.violations) == (4 if source == "postgresql" else 2)
    kept = {
        table.name: [
            str(outcome.row[1])
            for batch in here.engine.reader.rows(table)
            for outcome in map(result.fixes.tables[table.name].apply, batch)
            if outcome.row
        ]
        for table in tables
    }
    for end in ends.values():
        end.close()
    assert kept["of_sums"] == ["1.50", "None", "None", "None"]
    assert kept["of_days"] == ["2024-02-29", "None"] and len(kept["sums"]) == 1
