"""What only one engine has is named with its reason, never half-copied, and offered no fix."""

from __future__ import annotations

from typing import Callable

import pytest
import sqlalchemy
from extra_tables import executed, move
from sqlalchemy.dialects import postgresql

from kallithea_tune.db_migrate.engines import engine_class
from kallithea_tune.db_migrate.engines.base.definitions import NotPortable
from kallithea_tune.db_migrate.extra import expressions

URL = Callable[[str, str], str]


SQLITE = """
    CREATE TABLE one (id INTEGER PRIMARY KEY, folded TEXT COLLATE NOCASE, calculated INTEGER
        DEFAULT (1 + 1), mixed, twice INT AS (id * 2), price DECIMAL(10, 2), a TEXT, b TEXT,
        nowhere INTEGER REFERENCES missing (id), CHECK (a GLOB 'a*'));
    INSERT INTO one (id, mixed, price) VALUES (1, 1, 1.125), (2, 'x', 1.25);
    CREATE UNIQUE INDEX partly ON one (a) WHERE id > 5;
    CREATE INDEX lowered ON one (lower(a));
    CREATE INDEX folds ON one (b COLLATE NOCASE);
    CREATE TABLE two (a TEXT, note INTEGER REFERENCES one (price), long TEXT UNIQUE);
    INSERT INTO two (long) VALUES (printf('%.300c', 'x'))
"""
IN_SQLITE = {
    "one.folded COLLATE NOCASE",
    "one.calculated",
    "one.mixed",
    "one.twice",
    "one.price",
    "one.FOREIGN KEY (nowhere)",
    "one.a GLOB 'a*'",
    "one.partly",
    "one.lowered",
    "one.folds",
    "two.FOREIGN KEY (note)",
}
POSTGRESQL = """
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE TABLE one (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, enum mood,
        domain positive, list integer[], json jsonb, id2 uuid, net inet, span interval, bits bit(3),
        tz timetz, range int4range, padded char(5), full_ char(2), c text COLLATE "C",
        raw bytea DEFAULT '\\x00', calculated integer DEFAULT (1 + 1), number serial,
        zero double precision, CHECK (c ~ 'x'));
    INSERT INTO one (padded, full_, zero) VALUES ('ab', 'ab', '-0'::float8);
    CREATE TABLE two (a integer, b text, long text UNIQUE, deferred integer UNIQUE DEFERRABLE,
        past timestamptz, huge numeric, EXCLUDE USING btree (b WITH =));
    INSERT INTO two (long, past, huge)
        VALUES (repeat('x', 300), '1969-01-01 00:00:00+00', 1e-50);
    CREATE INDEX partly ON two (a) WHERE b = 'x';
    CREATE INDEX including ON two (a) INCLUDE (b);
    CREATE INDEX hashed ON two USING hash (b);
    CREATE INDEX patterns ON two (b text_pattern_ops);
    CREATE TABLE wide (a varchar(8000), b varchar(8000), c varchar(8000));
    CREATE TABLE cased (a integer, "A" integer)
"""
IN_POSTGRESQL = {
    *(f"one.{name}" for name in ("enum", "domain", "list", "json", "id2", "net", "span", "bits")),
    *(f"one.{name}" for name in ("tz", "range", "padded", "c COLLATE C", "raw", "calculated")),
    *("one.number", "one.one_c_check", "two.two_deferred_key", "two.two_b_excl"),
    *("two.partly", "two.including", "two.hashed", "two.patterns", "mood", "positive"),
}
MARIADB = """
    CREATE TABLE one (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, set_ SET('x','y'),
        enum_ ENUM('x','y'), bits BIT(5), year_ YEAR, json JSON, huge BIGINT UNSIGNED,
        flag TINYINT(1), shape GEOMETRY, id2 UUID, net INET6, filled INT ZEROFILL,
        changed TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        twice INT AS (year_ * 2) STORED, folded VARCHAR(20) COLLATE utf8mb4_german2_ci, words TEXT,
        sized VARCHAR(9), CHECK (LENGTH(sized) < 5), cased VARCHAR(9),
        CONSTRAINT anycase CHECK (cased IN ('new', 'done')), KEY start (words(10)),
        FULLTEXT found (words));
    INSERT INTO one (year_, flag, cased) VALUES (0, 7, 'New')
"""
IN_MARIADB = {
    *(f"one.{name}" for name in ("set_", "enum_", "bits", "year_", "json", "huge", "shape")),
    *("one.id2", "one.net", "one.filled", "one.changed", "one.twice"),
    *(
        "one.folded COLLATE utf8mb4_german2_ci",
        "one.CONSTRAINT_1",
        "one.anycase",
        "one.start",
        "one.found",
    ),
}


TABLE = sqlalchemy.Table(
    "plug",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("n", sqlalchemy.Integer),
    sqlalchemy.Column("t", sqlalchemy.Text),
    sqlalchemy.Column("flag", sqlalchemy.Boolean),
    sqlalchemy.Column("day", sqlalchemy.Date),
)


@pytest.mark.parametrize(
    "dialect, condition, expected",
    [
        ("sqlite", "length(t)<50 and n is not null", "char_length(t) < 50 AND n IS NOT NULL"),
        ("sqlite", "flag IN (0, 1)", "flag IN (false, true)"),
        ("sqlite", "day >= '2000-01-01'", "day >= '2000-01-01'"),
        (
            "postgresql",
            "((t)::text = ANY ((ARRAY['a'::text, 'b'::text])::text[]))",
            "t IN ('a', 'b')",
        ),
        ("postgresql", "(n >= '-1'::integer)", "n >= -1"),
        (
            "mysql",
            "`t` <> 'it\\'s' or not `n` between 1 and 5",
            "t != 'it''s' OR n NOT BETWEEN 1 AND 5",
        ),
    ],
)
def test_a_condition_that_means_the_same_everywhere_is_written_for_the_target(
    dialect: str, condition: str, expected: str
) -> None:
    writer = engine_class("postgresql").writer_class(None)  # type: ignore[arg-type]
    clause = expressions.condition(condition, dict(TABLE.columns), dialect, writer)
    written = clause.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    assert str(written).replace("plug.", "") == expected


@pytest.mark.parametrize(
    "dialect, condition",
    [
        ("mysql", "length(t) < 5"),  # counts bytes there
        ("sqlite", "t < 'm'"),  # depends on the collation
        ("sqlite", "t > 5"),
        ("sqlite", "n = '5'"),
        ("sqlite", "n % 2 = 0"),
        ("sqlite", "t GLOB 'a*'"),
        ("sqlite", "missing = 5"),
        ("sqlite", "day = 'today'"),
        ("mysql", "t = 'a\\n'"),
        ("postgresql", "t ~ 'x'::text"),
        ("postgresql", "(n)::text = '5'::text"),
        ("sqlite", "n IN (SELECT 1)"),
        ("sqlite", "n = 5 n"),
    ],
)
def test_any_other_condition_is_refused(dialect: str, condition: str) -> None:
    writer = engine_class("postgresql").writer_class(None)  # type: ignore[arg-type]
    with pytest.raises(NotPortable):
        expressions.condition(condition, dict(TABLE.columns), dialect, writer)


@pytest.mark.parametrize(
    "source, target, tables, expected",
    [
        ("sqlite", "postgresql", SQLITE, IN_SQLITE),
        ("sqlite", "mysql", SQLITE, IN_SQLITE | {"two.UNIQUE (long)"}),
        (
            "postgresql",
            "mysql",
            POSTGRESQL,
            IN_POSTGRESQL
            | {"one.zero", "two.past", "two.huge", "two.two_long_key", "wide", "cased"},
        ),
        ("postgresql", "sqlite", POSTGRESQL, IN_POSTGRESQL | {"one.zero", "cased"}),
        ("mysql", "postgresql", MARIADB, IN_MARIADB),
        ("mysql", "sqlite", MARIADB, IN_MARIADB),
    ],
    ids=lambda value: value if value in ("sqlite", "postgresql", "mysql") else "",
)
def test_what_the_target_cannot_have_is_named_and_the_rest_arrives(
    source: str, target: str, tables: str, expected: set[str], emptied: URL
) -> None:
    url, into = emptied(source, "obstacles"), emptied(target, "obstacles_target")
    executed(url, tables)
    moved = move(url, into)
    # What belongs to a table or a column that is left goes without saying.
    lost = {name: reason for name, reason in moved.lost.items() if "is not carried" not in reason}
    assert set(lost) == expected
    assert all(lost.values())
    assert (moved.violations, moved.differences) == ([], [])


def test_names_that_are_too_long_for_the_target_are_not_cut(emptied: URL) -> None:
    url, into = emptied("sqlite", "long"), emptied("postgresql", "long")
    name = "n" + "ü" * 32
    executed(url, f'CREATE TABLE "{name}" (a INT);\n CREATE TABLE two ("{name}" INT, b INT)')
    moved = move(url, into)
    assert {item: moved.lost[item] for item in (name, f"two.{name}")} == {
        name: "its name is longer than 63 bytes",
        f"two.{name}": "its name is longer than 63 bytes",
    }
    assert moved.differences == []
