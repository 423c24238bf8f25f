"""The SQL of each engine finds exactly the values that violate a rule."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import pytest
import sqlalchemy
from dirt import literal
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kallithea_tables import Database

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import Engine, engine_for
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import ViolationSql
from kallithea_tune.db_migrate.preflight.rules import FOUR_BYTE, rules_of
from kallithea_tune.db_migrate.preflight.scan import OF_UNUSUAL_VALUES
from kallithea_tune.db_migrate.values import Value

TIGHT = [
    Limits(Kind.integer, nullable=False, integers=(-(2**31), 2**31 - 1)),
    Limits(Kind.integer, integers=(-7, 1), generated=True),
    Limits(Kind.integer, integers=(-(2**63), 2**63 - 1), generated=True),
    Limits(Kind.boolean),
    Limits(Kind.number, infinite=False, not_a_number=False),
    Limits(Kind.text, characters=5, nul=False, four_byte=False),
    Limits(Kind.text, octets=7, nul=False),
    Limits(Kind.binary, octets=4),
    Limits(Kind.moment),
    Limits(Kind.moment, digits=0),
    Limits(Kind.moment, digits=3),
    Limits(Kind.date, nullable=False),
    Limits(Kind.time),
    Limits(Kind.time, digits=2),
]
texts = st.text(st.sampled_from("aé見😀\0'\\ "), max_size=8)
broken = st.binary(max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
moments = st.datetimes().map(lambda moment: moment.isoformat(" ", "microseconds"))


@st.composite
def nearly(draw: Any) -> str:
    """A date or time that may have lost something, or have something changed."""
    text = draw(moments)
    text = text[
        slice(
            *draw(
                st.sampled_from([(0, 26), (0, 19), (0, 10), (11, 26), (11, 19), (0, 16), (5, 26)])
            )
        )
    ]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        put_in = draw(st.sampled_from(["", "0", "9", "T", " ", "+01:00", "Z", "\0", ".", ":", "-"]))
        text = text[:place] + put_in + text[place + draw(st.integers(0, 1)) :]
    return text


numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 2) | st.floats(allow_nan=False)
values = st.none() | numbers | texts | broken | moments | nearly() | st.binary(max_size=6)


@pytest.fixture(scope="module")
def anything(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Engine, ViolationSql]]:
    """A SQLite table whose one column has no type."""
    engine = sqlalchemy.create_engine(
        "sqlite:///{}".format(tmp_path_factory.mktemp("any") / "any.db")
    )
    connection = engine.connect()
    connection.execute(sqlalchemy.text("CREATE TABLE t (id INTEGER PRIMARY KEY, v)"))
    engine = engine_for(connection)
    yield engine, engine.violation_sql()
    connection.close()


def found(engine: Engine, condition: str) -> list[int]:
    cursor = engine.cursor()
    cursor.execute(f"SELECT id FROM t WHERE {condition} ORDER BY id")
    return [row[0] for row in cursor.fetchall()]


@pytest.mark.parametrize("limits", TIGHT, ids=lambda limits: limits.kind.value)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_values=st.lists(values, min_size=1, max_size=25))
@example(
    given_values=[
        "2024-02-30 00:00:00",
        "1900-02-29",
        "24:00:00",
        "23:59:60",
        "0000-01-01",
        "2024-02-29 23:59:59",
        "2024-02-29 23:59:59.999999",
        "23:59:59.999999",
        "2024-02-29 12:00:00.5",
        "2024-02-28 24:00:00.123456",
        "2024-02-28T12:00:00.123456",
        "2024-02-30 12:00:00.123456",
        "2024-02-28 22:00:00.123456",
        "2024-02-28 25:00:00.123456",
        "2024-13-31 22:00:00.123456",
        "2024-02-28 12:00:00.12345Z",
        "2024-02-28 12:00:00  +00:00",
        "2024-00-28 12:00:00.123456",
        "2024-02-00 12:00:00.123456",
        "2024-02-28 12:60:00.123456",
        "2024-02-28 12:00:00.12345 6",
        "2024-02-28 12:00:00.123456\0",
        b"2024-02-28 12:00:00.123456",
    ]
)
@example(
    given_values=[
        "é\0éééé",
        "aaaa\0",
        "\0",
        "😀😀😀😀😀😀",
        "\udcff" * 6,
        "\ud800",
        "éééé",
        b"aaaaaaaa",
    ]
)
def test_sqlite_finds_exactly_those(
    anything: tuple[Engine, ViolationSql], limits: Limits, given_values: list[Value]
) -> None:
    engine, sql = anything
    given_values = [
        value for value in given_values if not isinstance(value, str) or "\ud800" not in value
    ]
    cursor = engine.cursor()
    cursor.execute("DELETE FROM t")
    for number, value in enumerate(given_values):
        cursor.execute(
            "INSERT INTO t VALUES (%d, %s)"
            % (number, literal("sqlite", value, limits.kind).decode())
        )
    usual = sql.usual("v", limits)
    usual_rows = set(found(engine, usual)) if usual else set()
    for rule, _ in rules_of(limits):
        expected = [
            number for number, value in enumerate(given_values) if rule.violated_by(value, limits)
        ]
        condition = rule.condition(sql, "v", limits)
        assert (rule.name, found(engine, condition or "0")) == (rule.name, expected)
        assert rule not in OF_UNUSUAL_VALUES or not usual_rows & set(expected)
        # Where it is NULL, no rule would be tested.
        neither = f"v IS NOT NULL AND ({usual or '0'}) IS NULL"
        assert found(engine, neither) == []
        if rule.in_text and expected:
            screen = sql.screen(["v", "id"], rule is FOUR_BYTE)
            assert set(expected) <= set(found(engine, screen))


def column(database: Database, type_: str, written: list[str]) -> Engine:
    engine = engine_for(database.connection)
    cursor = engine.cursor()
    cursor.execute(f"CREATE TEMPORARY TABLE t (id INTEGER PRIMARY KEY, v {type_})")
    for number, value in enumerate(written):
        cursor.execute("INSERT INTO t VALUES (%d, %s)" % (number, value))
    return engine


SERVERS = [
    (
        "postgresql",
        "timestamp",
        Limits(Kind.moment, digits=3),
        {
            "'infinity'": {"dates"},
            "'-infinity'": {"dates"},
            "'0044-03-15 BC'": {"dates"},
            "'10000-01-01'": {"dates"},
            "'0001-01-01'": set(),
            "'9999-12-31 23:59:59.999'": set(),
            "'2024-02-29 12:00:00.1234'": {"microseconds"},
            "'2024-02-29 12:00:00.123'": set(),
            "NULL": set(),
        },
    ),
    (
        "postgresql",
        "date",
        Limits(Kind.date, nullable=False),
        {"'infinity'": {"dates"}, "'2024-02-29'": set(), "NULL": {"nulls"}},
    ),
    (
        "postgresql",
        "time",
        Limits(Kind.time),
        {"'24:00:00'": {"dates"}, "'23:59:59.999999'": set()},
    ),
    (
        "postgresql",
        "double precision",
        Limits(Kind.number, infinite=False, not_a_number=False),
        {
            "'NaN'": {"not-finite"},
            "'Infinity'": {"not-finite"},
            "'-Infinity'": {"not-finite"},
            "1e308": set(),
        },
    ),
    (
        "postgresql",
        "double precision",
        Limits(Kind.number, not_a_number=False),
        {"'NaN'": {"not-finite"}, "'Infinity'": set()},
    ),
    (
        "postgresql",
        "text",
        Limits(Kind.text, characters=3, four_byte=False),
        {"'a😀'": {"four-byte"}, "'見見見'": set(), "'見見見見'": {"too-long"}, "NULL": set()},
    ),
    ("postgresql", "text", Limits(Kind.text, octets=3), {"'éé'": {"too-long"}, "'aé'": set()}),
    (
        "postgresql",
        "bytea",
        Limits(Kind.binary, octets=3),
        {r"'\x00ff00ff'": {"too-long"}, r"'\x00ff00'": set()},
    ),
    (
        "postgresql",
        "bigint",
        Limits(Kind.integer, integers=(-(2**31), 2**31 - 1)),
        {"2147483648": {"out-of-range"}, "-2147483649": {"out-of-range"}, "2147483647": set()},
    ),
    (
        "postgresql",
        "bigint",
        Limits(Kind.integer, integers=(-(2**31), 2**31 - 1), generated=True),
        {"2147483647": {"sequences"}, "2147483648": {"out-of-range"}, "2147483646": set()},
    ),
    (
        "postgresql",
        "bigint",
        Limits(Kind.integer, integers=(-(2**63), 2**63 - 1), generated=True),
        {"9223372036854775807": {"sequences"}, "-9223372036854775808": set()},
    ),
    (
        "mysql",
        "datetime(6)",
        Limits(Kind.moment, digits=0),
        {
            "'0000-00-00'": {"dates"},
            "'2024-00-00'": {"dates"},
            "'2024-02-00'": {"dates"},
            "'0000-01-01'": {"dates"},
            "'0001-01-01'": set(),
            "'2024-02-30'": {"dates"},
            "'2023-02-29 01:00'": {"dates"},
            "'2024-02-29 12:00:00.000001'": {"microseconds"},
            "'2024-02-29 12:00:00'": set(),
        },
    ),
    (
        "mysql",
        "date",
        Limits(Kind.date),
        {
            "'0000-00-00'": {"dates"},
            "'2024-02-29'": set(),
            "'2023-04-31'": {"dates"},
            "NULL": set(),
        },
    ),
    (
        "mysql",
        "time",
        Limits(Kind.time),
        {
            "'-01:00:00'": {"dates"},
            "'24:00:00'": {"dates"},
            "'100:00:00'": {"dates"},
            "'23:59:59'": set(),
        },
    ),
    (
        "mysql",
        "text",
        Limits(Kind.text, nul=False, four_byte=False, octets=4),
        {
            r"'a\0b'": {"nul"},
            "'a😀'": {"four-byte", "too-long"},
            "'éé'": set(),
            "'ééé'": {"too-long"},
            "''": set(),
        },
    ),
    (
        "mysql",
        "varchar(20) character set latin1",
        Limits(Kind.text, characters=3, octets=4),
        {"'éé'": set(), "'aééé'": {"too-long"}, "'ééa'": {"too-long"}},
    ),
    (
        "mysql",
        "tinyint",
        Limits(Kind.boolean),
        {"7": {"booleans"}, "-1": {"booleans"}, "0": set(), "1": set()},
    ),
    (
        "mysql",
        "bigint unsigned",
        Limits(Kind.integer, integers=(-(2**63), 2**63 - 1)),
        {"18446744073709551615": {"out-of-range"}, "9223372036854775807": set()},
    ),
    (
        "mysql",
        "bigint unsigned",
        Limits(Kind.integer, integers=(-(2**63), 2**63 - 1), generated=True),
        {"9223372036854775808": {"out-of-range"}, "9223372036854775807": {"sequences"}},
    ),
    ("mysql", "blob", Limits(Kind.binary, octets=2), {"x'00ff00'": {"too-long"}, "x'00'": set()}),
]


@pytest.mark.parametrize(
    "engine, type_, limits, cases", SERVERS, ids=["{}-{}".format(*case[:2]) for case in SERVERS]
)
def test_servers_find_exactly_those(
    databases: dict[str, Database],
    engine: str,
    type_: str,
    limits: Limits,
    cases: Mapping[str, set[str]],
) -> None:
    if engine == "mysql":
        databases[engine].run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
    end = column(databases[engine], type_, list(cases))
    try:
        sql = end.violation_sql()
        seen: dict[str, set[str]] = {value: set() for value in cases}
        for rule, _ in rules_of(limits):
            condition = rule.condition(sql, "v", limits)
            for number in found(end, condition) if condition else ():
                seen[list(cases)[number]].add(rule.name)
        assert seen == cases
    finally:
        end.connection.connection.rollback()
        databases[engine].run("DROP TABLE IF EXISTS t")
        if engine == "mysql":
            databases[engine].run(
                "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO'"
            )
