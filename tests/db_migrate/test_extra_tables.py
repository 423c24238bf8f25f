"""Tables without a model, with everything that all engines have, from each to each."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any, Callable

import pytest
import sqlalchemy
from extra_tables import executed, move

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, Options
from kallithea_tune.db_migrate.inventory.items import not_carried

ENGINES = ["sqlite", "postgresql", "mysql"]
# In SQL that all engines have, but for the types and literals that are filled in.
TABLES = """
    CREATE TABLE people (user_id INTEGER PRIMARY KEY, username VARCHAR(30));
    CREATE TABLE plug_note (
        id {key}, user_id INTEGER REFERENCES people (user_id) ON DELETE CASCADE, txt {text},
        "done%" INTEGER DEFAULT 5, "it's" VARCHAR(20) DEFAULT 'it''s 100%' NOT NULL,
        "a:b c" {text}, "Upper" BIGINT,
        CHECK ({length}("it's") < 50), CHECK ("done%" BETWEEN -1 AND 5000 OR "done%" IS NULL));
    CREATE INDEX "idx%a" ON plug_note ("done%", "Upper");
    CREATE TABLE "Plug Two" (
        a INTEGER NOT NULL, b VARCHAR(40) NOT NULL, note_id INTEGER,
        at {moment} DEFAULT {now}, born DATE DEFAULT '2000-01-31', tm {time},
        seen {instant}, flag {boolean} DEFAULT {true} NOT NULL, CHECK (b IN ('x', 'y%', 'it''s')),
        PRIMARY KEY (a, b), UNIQUE (note_id, born),
        FOREIGN KEY (note_id) REFERENCES plug_note (id));
    CREATE TABLE plug_text (name VARCHAR(60) PRIMARY KEY, price NUMERIC(10, 2) DEFAULT 1.50,
        exact {exact}, ratio {double}, raw {binary});
    CREATE TABLE plug_bare (n BIGINT, t {text});
    INSERT INTO people VALUES (1, 'admin');
    INSERT INTO plug_note (id, user_id, txt, "done%", "it's", "a:b c", "Upper") VALUES
        (1, 1, 'größe', 7, '', NULL, 9223372036854775807),
        (5, NULL, '', NULL, 'it''s', ':a %s', -1);
    INSERT INTO plug_note (id, "Upper") VALUES (7, 0);
    INSERT INTO "Plug Two" VALUES
        (1, 'x', 1, '2024-02-29 23:59:59.123456', '2024-01-31', '23:59:59.500000',
         '2024-07-01 12:00:00{utc}', {true}), (1, 'y%', NULL, NULL, NULL, '12:00:00', NULL, {true});
    INSERT INTO plug_text (name, exact, ratio, raw) VALUES
        ('one', {quote}1234567890123456789012345678.000000000001{quote}, 0.1e0, {raw}),
        ('two', {quote}-0.5{quote}, 1.7976931348623157e308, NULL), ('', NULL, 5e-324, NULL);
    INSERT INTO plug_bare VALUES (1, 'same'), (1, 'same'), (NULL, NULL)
"""
COMMON = {
    "text": "TEXT",
    "instant": "TIMESTAMP WITH TIME ZONE",
    "time": "TIME",
    "boolean": "BOOLEAN",
    "true": "1",
    "now": "CURRENT_TIMESTAMP",
    "length": "char_length",
    "quote": "",
    "raw": "x'00ff'",
    "utc": "+00:00",
}
SYNTAX = {
    "sqlite": {
        **COMMON,
        "key": "INTEGER PRIMARY KEY",
        "moment": "DATETIME",
        "exact": "DECIMAL_TEXT(40, 12)",
        "double": "DOUBLE",
        "binary": "BLOB",
        "length": "length",
        "quote": "'",
    },
    "postgresql": {
        **COMMON,
        "key": "SERIAL PRIMARY KEY",
        "moment": "TIMESTAMP",
        "true": "true",
        "exact": "NUMERIC(40, 12)",
        "double": "DOUBLE PRECISION",
        "binary": "BYTEA",
        "raw": "'\\x00ff'",
    },
    "mysql": {
        **COMMON,
        "key": "INTEGER PRIMARY KEY AUTO_INCREMENT",
        "moment": "DATETIME(6)",
        "time": "TIME(6)",
        "instant": "TIMESTAMP(6) NULL",
        "now": "CURRENT_TIMESTAMP(6)",
        "exact": "DECIMAL(40, 12)",
        "double": "DOUBLE",
        "binary": "LONGBLOB",
        "utc": "",
    },
}
NOTES = [
    (1, 1, "größe", 7, "", None, 2**63 - 1),
    (5, None, "", None, "it's", ":a %s", -1),
    (7, None, None, 5, "it's 100%", None, 0),
]
TWO = [
    (
        *(1, "x", 1, datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)),
        *(datetime.date(2024, 1, 31), datetime.time(23, 59, 59, 500000)),
        *(datetime.datetime(2024, 7, 1, 12), 1),
    ),
    (1, "y%", None, None, None, datetime.time(12), None, 1),
]
TEXTS = [
    ("", "1.5", None, 5e-324, None),
    ("one", "1.5", "1234567890123456789012345678.000000000001", 0.1, b"\0\xff"),
    ("two", "1.5", "-0.5", 1.7976931348623157e308, None),
]


def read(url: str, query: str, *types: Any) -> list[tuple[Any, ...]]:
    """Read rows as Python values, by the types that a model would have."""
    engine = sqlalchemy.create_engine(url)
    quoted = query if engine.dialect.name != "mysql" else query.replace('"', "`")
    with engine.connect() as connection:
        if engine.dialect.name == "mysql":
            connection.execute(sqlalchemy.text("SET time_zone = '+00:00'"))
        rows = [tuple(map(plain, row)) for row in connection.execute(sqlalchemy.text(quoted))]
    engine.dispose()
    return rows


def plain(value: Any) -> Any:
    """Convert what drivers return into one form."""
    if isinstance(value, str) and value[:2] == "20":
        value = value.replace("+00:00", "")
        date = len(value) == len("2024-01-31")
        of_text = datetime.date.fromisoformat if date else datetime.datetime.fromisoformat
        return of_text(value)
    if isinstance(value, str) and value[2:3] == ":":
        return datetime.time.fromisoformat(value)
    if isinstance(value, datetime.timedelta):
        return (datetime.datetime.min + value).time()
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, decimal.Decimal):
        return digits(value)
    return value


def digits(number: Any) -> str:
    """A decimal without the zeros at its end."""
    text = format(decimal.Decimal(str(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_number(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A decimal is a text in SQLite, or a float."""
    return (row[0], digits(row[1]), row[2] and digits(row[2]), *row[3:])


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("source", ENGINES)
def test_everything_that_all_engines_have_arrives(
    source: str, target: str, emptied: Callable[[str, str], str]
) -> None:
    url, into = emptied(source, "extra_source"), emptied(target, "extra_target")
    executed(url, TABLES.format(**SYNTAX[source]))
    moved = move(url, into)
    assert (moved.lost, moved.violations, moved.differences) == ({}, [], [])
    assert read(into, "SELECT * FROM plug_note ORDER BY id") == NOTES
    assert read(into, 'SELECT * FROM "Plug Two" ORDER BY b') == TWO
    texts = map(as_number, read(into, "SELECT * FROM plug_text ORDER BY name"))
    assert list(texts) == TEXTS
    # Keys, defaults, checks and references are those of the source, too.
    executed(into, 'INSERT INTO plug_note ("Upper") VALUES (8)')
    (row,) = read(into, 'SELECT id, "done%", "it\'s" FROM plug_note WHERE "Upper" = 8')
    assert row[0] > 7 and row[1:] == (5, "it's 100%")
    for wrong in (
        'INSERT INTO plug_note ("done%") VALUES (5001)',
        "INSERT INTO \"Plug Two\" (a, b, flag) VALUES (1, 'z', NULL)",
        "INSERT INTO \"Plug Two\" (a, b) VALUES (1, 'z')",
        "INSERT INTO \"Plug Two\" (a, b) VALUES (1, 'x')",
        "INSERT INTO plug_note (user_id) VALUES (77)",
    ):
        with pytest.raises(Exception, match="(?i)constraint|duplicate|cannot be null"):
            executed(into, wrong, enforced=True)


ADDED = """
    CREATE TABLE plug_note (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (user_id),
        "done%" INTEGER, tm TIME, a TEXT, CHECK (length(a) < 50));
    INSERT INTO plug_note VALUES (1, 1, 5, '12:00:00', 'a');
    ALTER TABLE users ADD COLUMN phone TEXT;
    ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 3 NOT NULL;
    UPDATE users SET phone = '555-' || user_id;
    CREATE INDEX by_phone ON users (level)
"""


@pytest.mark.once
@pytest.mark.parametrize("target", ENGINES)
def test_they_arrive_with_those_of_kallithea(
    target: str, instance: Path, emptied: Callable[[str, str], str]
) -> None:
    url = "sqlite:///{}".format(instance.parent / "kallithea.db")
    executed(url, ADDED)
    into = emptied(target, "with_kallithea")
    options = Options(extra_tables=True)
    with Migration(instances.load(str(instance)), into, options) as moving:
        moving.check()
        assert not_carried(moving.plan.items) == []
        assert moving.run().violations == []
    with Migration(instances.load(str(instance)), into, options) as moving:
        assert moving.verify().differences == []
    assert read(into, "SELECT phone, level FROM users WHERE user_id = 1") == [("555-1", 3)]
    assert read(into, 'SELECT user_id, "done%", a FROM plug_note') == [(1, 5, "a")]


@pytest.mark.parametrize("target", ENGINES)
def test_a_moment_keeps_its_zone_whatever_that_of_the_database_is(
    target: str, emptied: Callable[[str, str], str]
) -> None:
    url = emptied("postgresql", "zoned")
    executed(
        url,
        "CREATE TABLE ev (id SERIAL PRIMARY KEY, t TIMESTAMP WITH TIME ZONE);\n"
        "INSERT INTO ev (t) VALUES ('2024-07-01 12:00:00+00');\n"
        "ALTER DATABASE zoned SET timezone = 'Asia/Kathmandu'",
    )
    into = emptied(target, "zoned_target")
    moved = move(url, into)
    assert (moved.lost, moved.violations, moved.differences) == ({}, [], [])
    assert read(into, "SELECT t FROM ev") == [(datetime.datetime(2024, 7, 1, 12),)]
