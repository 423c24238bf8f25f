"""One look through a SQLite table finds whether any of its rows needs a closer one."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
import sqlalchemy
from kallithea_tables import Database
from sqlalchemy import Column, Integer, MetaData, Table, Unicode

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import Engine, engine_for
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import (
    Suspects,
    Tests,
    Text,
    ViolationSql,
)
from kallithea_tune.db_migrate.engines.sqlite.violation_sql import LONG_TEXT, ROWS_TOGETHER

TABLE = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("v", Unicode))
LIMITS = Limits(Kind.text, characters=4000, nul=False)
COUNT = 2 * ROWS_TOGETHER + 3


@pytest.fixture
def texts() -> Iterator[Engine]:
    """A table of usual texts, some of them NULL."""
    connection = sqlalchemy.create_engine("sqlite://").connect()
    cursor = connection.connection.cursor()
    cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    rows = [(number, f"größe {number}" if number % 7 else None) for number in range(COUNT)]
    cursor.executemany("INSERT INTO t VALUES (?, ?)", rows)
    yield engine_for(connection)
    connection.close()


def suspects(engine: Engine, four_byte: bool = False, *conditions: str) -> Suspects:
    sql = engine.violation_sql()
    usual = sql.usual("v", LIMITS)
    assert usual
    wrong = f"({sql.wrong_type('v', LIMITS)}) OR ({sql.too_long('v', LIMITS)})"
    return sql.suspects(TABLE, Tests(conditions, (), [Text("v", usual, wrong)], four_byte))


PLACES = [-(2**63), -1, ROWS_TOGETHER - 1, ROWS_TOGETHER, COUNT, 2**40, 2**63 - 1]
# As they are written in SQL; whether they are suspect, and whether with four-byte characters only.
VALUES = [
    ("'usual'", False, False),
    ("NULL", False, False),
    (f"printf('%.{LONG_TEXT + 1}c', 'é')", False, False),
    ("CAST(x'F09F9880' AS TEXT)", False, True),
    (f"printf('%.{LONG_TEXT + 1}c', CAST(x'F09F9880' AS TEXT))", False, True),
    ("CAST(x'E9' AS TEXT)", True, True),
    ("CAST(x'FF41' AS TEXT)", True, True),
    (f"printf('%.{LONG_TEXT + 1}c', 'x') || CAST(x'E9' AS TEXT)", True, True),
    ("'a' || char(0)", True, True),
    ("x'61'", True, True),
    ("printf('%.4001c', 'x')", True, True),
]


@pytest.mark.parametrize("value, suspect, four_byte", VALUES)
def test_a_suspect_text_is_found_wherever_it_is(
    texts: Engine, value: str, suspect: bool, four_byte: bool
) -> None:
    cursor = texts.cursor()
    for place in PLACES:
        cursor.execute(f"INSERT OR REPLACE INTO t VALUES ({place}, {value})")
        assert (place, *suspects(texts)) == (place, False, suspect)
        assert (place, *suspects(texts, True)) == (place, False, four_byte)
        cursor.execute(f"DELETE FROM t WHERE id = {place}")


def test_two_broken_texts_do_not_complete_each_other(texts: Engine) -> None:
    texts.cursor().execute("INSERT INTO t VALUES (-2, CAST(x'C3' AS TEXT))")
    texts.cursor().execute("INSERT INTO t VALUES (-1, CAST(x'A9' AS TEXT))")
    assert suspects(texts).texts


@pytest.mark.parametrize("place", PLACES)
def test_a_row_that_meets_a_condition_is_found_wherever_it_is(texts: Engine, place: int) -> None:
    texts.cursor().execute(f"INSERT OR REPLACE INTO t VALUES ({place}, 'meant')")
    many = [f"v = '{number}'" for number in range(1500)]
    assert suspects(texts, False, *many, "v = 'meant'") == Suspects(conditions=True, texts=False)
    assert suspects(texts, False, *many) == Suspects(conditions=False, texts=False)


@pytest.mark.parametrize(
    "definition", ["(rowid, oid, _rowid_, v)", "(id PRIMARY KEY, v) WITHOUT ROWID"]
)
def test_a_table_without_numbers_of_rows_is_looked_through(texts: Engine, definition: str) -> None:
    cursor = texts.cursor()
    cursor.execute("DROP TABLE t")
    cursor.execute(f"CREATE TABLE t {definition}")
    table = Table("t", MetaData(), *(Column(n) for n in ("rowid", "oid", "_rowid_", "v")))
    sql: ViolationSql = texts.violation_sql()
    text = [Text("v", "0", "v = 'wrong'")]
    places = ", ".join("?" * len(cursor.execute("PRAGMA table_info(t)").fetchall()))

    def after(value: object) -> Any:
        row = [1] * (places.count("?") - 1) + [value]
        cursor.execute(f"INSERT INTO t VALUES ({places})", row)
        found = sql.suspects(table, Tests(["v = 'met'"], ["v = 'dangling'"], text))
        cursor.execute("DELETE FROM t")
        return tuple(found)

    assert after("usual") == after(None) == (False, False)
    assert after("met") == after("dangling") == (True, False)
    assert after("wrong") == after("a\0b") == after("\0") == (False, True)


@pytest.mark.parametrize(
    "definition, further, proven",
    [
        ("(id INTEGER PRIMARY KEY, v)", "", "id"),
        ("(id INT PRIMARY KEY, v)", "", "id"),
        ("(id INTEGER, v)", "", ""),
        ("(id INTEGER, v UNIQUE)", "", "v"),
        ("(id INTEGER, v, PRIMARY KEY (id, v))", "", "id v"),
        ("(id INTEGER, v, UNIQUE (v, id))", "", "id v"),
        ("(id INTEGER, v)", "CREATE UNIQUE INDEX u ON t (v COLLATE NOCASE)", "v"),
        ("(id INTEGER, v)", "CREATE INDEX u ON t (v)", ""),
        ("(id INTEGER, v)", "CREATE UNIQUE INDEX u ON t (v) WHERE id > 1", ""),
        ("(id INTEGER, v)", "CREATE UNIQUE INDEX u ON t (lower(v))", ""),
        ("(id INTEGER, v)", "CREATE UNIQUE INDEX u ON t (v, lower(v))", ""),
        ("(id PRIMARY KEY, v) WITHOUT ROWID", "", "id"),
    ],
)
def test_a_key_that_the_file_cannot_have_twice_is_proven(
    texts: Engine, definition: str, further: str, proven: str
) -> None:
    cursor = texts.cursor()
    cursor.execute("DROP TABLE t")
    cursor.execute(f"CREATE TABLE t {definition}")
    cursor.execute(further or "SELECT 1")
    sql, names = texts.violation_sql(), proven.split()
    for given in (["id"], ["v"], ["id", "v"]):
        expected = bool(names) and set(names) <= set(given)
        assert (given, sql.proves_unique(TABLE, given)) == (given, expected)


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_servers_prove_only_primary_keys_of_integers(
    databases: dict[str, Database], dialect: str
) -> None:
    database = databases[dialect]
    sql = database.engine.violation_sql()
    try:
        for definition, proven in (
            ("id INTEGER PRIMARY KEY, v VARCHAR(20) UNIQUE", "id"),
            ("id INTEGER UNIQUE, v VARCHAR(20) PRIMARY KEY", ""),
            ("id INTEGER, v INTEGER, PRIMARY KEY (id, v)", "id v"),
            ("id INTEGER, v VARCHAR(20)", ""),
        ):
            database.run(f"CREATE TABLE t ({definition})")
            names = proven.split()
            for given in (["id"], ["v"], ["id", "v"]):
                expected = bool(names) and set(names) <= set(given)
                assert (given, sql.proves_unique(TABLE, given)) == (given, expected)
            database.connection.connection.rollback()
            database.run("DROP TABLE t")
    finally:
        database.connection.connection.rollback()
        database.run("DROP TABLE IF EXISTS t")
