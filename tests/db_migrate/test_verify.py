from __future__ import annotations

import datetime
import random
from typing import Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kallithea_tables import Database, a_row, models

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.verify import compare, unkeyed
from kallithea_tune.db_migrate.verify.fingerprint import (
    ALL_KEYS,
    ROWS,
    Fingerprinter,
    integer_key,
)
from kallithea_tune.db_migrate.verify.pieces import written_row

NOW = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)
NAMES = sorted(models().tables)
PAIRS = [
    ("sqlite", "postgresql"),
    ("sqlite", "mysql"),
    ("postgresql", "sqlite"),
    ("mysql", "postgresql"),
]
pairs = pytest.mark.parametrize("source, target", PAIRS)


def log(number: int, **changed: Any) -> dict[str, Any]:
    return dict(
        {
            "user_log_id": number,
            "user_id": 1,
            "username": "user%d" % number,
            "repository_id": None,
            "repository_name": "größe/%d" % number,
            "user_ip": "",
            "action": "push:" + "é" * (number % 300),
            "action_date": NOW + datetime.timedelta(microseconds=number),
        },
        **changed,
    )


def fill(databases: dict[str, Database], name: str, rows: Any) -> None:
    for database in databases.values():
        database.replace(name, rows)


def compared(databases: dict[str, Database], source: str, target: str, *names: str) -> list[Any]:
    tables = [databases[target].table(name) for name in names]
    return compare.differences(databases[source].engine, databases[target].engine, tables)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_values_of_every_type_look_the_same_in_every_engine(
    databases: Any, data: Any, name: str
) -> None:
    table = databases["sqlite"].table(name)
    rows = [
        a_row(data.draw, table, key)
        for key in data.draw(st.sets(st.integers(1, 2**31 - 1), max_size=4))
    ]
    fill(databases, name, rows)
    for source, target in PAIRS:
        assert compared(databases, source, target, name) == []
    # What the engines write is what is written here.
    for database in databases.values():
        fingerprinter = Fingerprinter(database.engine)
        columns = list(database.table(name).columns)
        fetched = [
            pieces for _, pieces in fingerprinter.rows(database.table(name), columns, ALL_KEYS)
        ]
        assert sorted(fetched) == sorted(
            written_row(columns, row) for row in fingerprinter.all_rows(database.table(name))
        )
        assert len(fetched) == len(rows)


def other(value: Any, kind: Kind) -> Any:
    """A value as near as possible."""
    return {
        Kind.integer: lambda: value + 1,
        Kind.boolean: lambda: not value,
        Kind.text: lambda: value[:-1] + "ä",
        Kind.number: lambda: 0.1 + 0.2 if value == 0.3 else 0.3,
        Kind.binary: lambda: value[:-1] + b"\xff",
        Kind.moment: lambda: value + datetime.timedelta(microseconds=1),
    }[kind]()


SAMPLE = {
    Kind.integer: 7,
    Kind.boolean: True,
    Kind.number: 0.1 + 0.2,
    Kind.text: "ab",
    Kind.binary: b"\x00" * 300,
    Kind.moment: NOW,
}


@pytest.mark.parametrize(
    "name, column",
    [
        (name, column.name)
        for name in NAMES
        for column in models().tables[name].columns
        if not column.primary_key
        and name in ("users", "gists", "statistics", "user_logs", "pull_requests")
    ],
)
def test_a_single_changed_cell_is_named(databases: Any, name: str, column: str) -> None:
    source, target = databases["sqlite"], databases["postgresql"]
    table = source.table(name)
    rows: list[dict[str, Any]] = [
        {item.name: SAMPLE[kind_of(item)] for item in table.columns} for _ in range(3)
    ]
    key = integer_key(table).name
    uniques = {
        item.name
        for constraint in table.constraints
        if isinstance(constraint, sqlalchemy.UniqueConstraint)
        for item in constraint.columns
    }
    for number, row in enumerate(rows, 1):
        row[key] = number
        for item in uniques:
            row[item] = number if kind_of(table.columns[item]) is Kind.integer else "%d x" % number
    source.replace(name, rows)
    rows[1][column] = other(rows[1][column], kind_of(table.columns[column]))
    if column in uniques and kind_of(table.columns[column]) is Kind.integer:
        rows[1][column] = 77
    target.replace(name, rows)
    found = compared(databases, "sqlite", "postgresql", name)
    assert [(item.table, item.column, item.kind, item.count, item.keys) for item in found] == [
        (name, column, "changed", 1, [2])
    ]
    assert found[0].values[0][0] != found[0].values[0][1] or "***" in found[0].values[0][0]


@pairs
def test_nothing_and_the_empty_text_are_not_the_same(
    databases: Any, source: str, target: str
) -> None:
    fill(databases, "user_logs", [log(1), log(2)])
    databases[target].run("UPDATE user_logs SET user_ip = NULL WHERE user_log_id = 2")
    found = compared(databases, source, target, "user_logs")
    assert [item.sentence for item in found] == [
        "user_logs.user_ip differs in 1 row: at key 2 the source has '' and the target NULL"
    ]


@pairs
def test_rows_that_are_missing_or_too_many_are_named(
    databases: Any, source: str, target: str
) -> None:
    fill(databases, "user_logs", [log(number) for number in range(1, 51)])
    databases[target].run("DELETE FROM user_logs WHERE user_log_id % 2 = 0")
    databases[target].insert("user_logs", [log(0), log(51), log(2000000000)])
    found = compared(databases, source, target, "user_logs")
    assert [item.sentence for item in found] == [
        "user_logs: 3 rows in the target only (key 0, 51, 2000000000)",
        "user_logs: 25 rows missing from the target (key {}, ...)".format(
            ", ".join(map(str, range(2, 42, 2)))
        ),
    ]


@pairs
def test_values_of_two_rows_swapped_are_named(databases: Any, source: str, target: str) -> None:
    fill(databases, "user_logs", [log(1, action="a"), log(2), log(3, action="b")])
    databases[target].run(
        "UPDATE user_logs SET action = CASE user_log_id WHEN 1 THEN 'b' ELSE 'a' END"
        " WHERE user_log_id <> 2"
    )
    found = compared(databases, source, target, "user_logs")
    assert [(item.column, item.keys, item.values) for item in found] == [
        ("action", [1, 3], [("'a'", "'b'"), ("'b'", "'a'")])
    ]


def test_ranges_that_do_not_match_are_compared_row_by_row(
    databases: Any, sizes: Any = (3 * ROWS, 5 * ROWS)
) -> None:
    keys = random.Random(3).sample(range(-(10**9), 10**9), sizes[1])
    databases["sqlite"].replace("user_logs", [log(key) for key in sorted(keys)[: sizes[0]]])
    databases["postgresql"].replace("user_logs", [log(key) for key in keys])
    for source, target, kind in (
        ("sqlite", "postgresql", "extra"),
        ("postgresql", "sqlite", "missing"),
    ):
        tables = [databases[target].table("user_logs")]
        (checked,) = compare.compare_tables(
            databases[source].engine, databases[target].engine, tables
        )
        assert [(item.kind, item.count) for item in checked.differences] == [(kind, 2 * ROWS)]
        assert sorted(checked.rows) == list(sizes)
    databases["postgresql"].run(
        "DELETE FROM user_logs WHERE user_log_id > %d" % sorted(keys)[sizes[0] - 1]
    )
    (checked,) = compare.compare_tables(
        databases["sqlite"].engine, databases["postgresql"].engine, tables
    )
    assert checked.differences == [] and checked.rows == (3 * ROWS, 3 * ROWS)
    assert all(one == two for one, two in checked.checksums.values())
    assert len({one for one, _ in checked.checksums.values()}) == len(checked.checksums)


def test_a_number_of_changes_is_counted_and_the_first_are_named(databases: Any) -> None:
    fill(databases, "user_logs", [log(number) for number in range(2 * ROWS + 10)])
    databases["mysql"].run(
        "UPDATE user_logs SET action_date = date_format(action_date, '%Y-%m-%d %H\\:%i\\:%s')"
    )
    (found,) = compared(databases, "sqlite", "mysql", "user_logs")
    assert (found.column, found.count, found.keys) == (
        "action_date",
        2 * ROWS + 10,
        list(range(20)),
    )
    assert found.values[0] == ("2024-02-29 23:59:59.123456", "2024-02-29 23:59:59.000000")


def test_secrets_and_long_values_are_not_shown(databases: Any) -> None:
    fill(
        databases,
        "settings",
        [{"app_settings_id": 1, "app_settings_name": "ldap", "app_settings_value": "hush-a"}],
    )
    fill(databases, "repositories", [])
    fill(databases, "user_logs", [log(1)])
    databases["postgresql"].run("UPDATE settings SET app_settings_value = 'hush-b'")
    databases["postgresql"].run(
        "UPDATE user_logs SET action = repeat('x', 300), username = :url",
        url="http://joe:hush-c@x/\n",
    )
    said = " ".join(
        item.sentence
        for item in compared(databases, "sqlite", "postgresql", "settings", "user_logs")
    )
    assert "hush" not in said and "*** (6 bytes)" in said
    assert "300 bytes (SHA-256 " in said and "\n" not in said


@pytest.fixture
def leftovers(databases: Any) -> Any:
    """Tables of a plug-in that no model describes: one with a key of text, one without a key."""
    metadata = sqlalchemy.MetaData()
    tables = [
        sqlalchemy.Table(
            "left_keyed",
            metadata,
            sqlalchemy.Column("name", sqlalchemy.String(50), primary_key=True),
            sqlalchemy.Column("data", sqlalchemy.LargeBinary()),
        ),
        sqlalchemy.Table(
            "left_bare",
            metadata,
            sqlalchemy.Column("price", sqlalchemy.Numeric(10, 2)),
            sqlalchemy.Column("day", sqlalchemy.Date()),
        ),
    ]
    for database in databases.values():
        metadata.create_all(database.connection)
        numbers = range(100)
        database.connection.execute(
            tables[0].insert(), [{"name": "n%d" % n, "data": b"%d" % n} for n in numbers]
        )
        database.connection.execute(
            tables[1].insert(), [{"price": n / 4, "day": NOW.date()} for n in numbers]
        )
        database.commit()
    yield tables
    for database in databases.values():
        metadata.drop_all(database.connection)
        database.commit()


def test_few_rows_without_an_integer_key_are_counted_exactly(
    databases: dict[str, Database], leftovers: list[sqlalchemy.Table], monkeypatch: Any
) -> None:
    source, target = databases["sqlite"], databases["postgresql"]
    target.run("UPDATE left_keyed SET data = NULL")
    (found,) = compare.differences(source.engine, target.engine, leftovers)
    assert (found.column, found.count, found.at_least) == ("data", 100, False)
    # Of many rows only some buckets are examined.
    monkeypatch.setattr(unkeyed, "ROWS_TOGETHER", 3)
    (found,) = compare.differences(source.engine, target.engine, leftovers)
    assert found.column == "data" and found.at_least and 16 <= found.count < 100
    assert found.sentence.startswith(f"left_keyed.data differs in at least {found.count} rows: ")


@pairs
def test_tables_without_an_integer_key_are_compared(
    databases: Any, leftovers: Any, source: str, target: str
) -> None:
    there, here = databases[target], databases[source]
    assert compare.differences(here.engine, there.engine, leftovers) == []
    there.run("UPDATE left_keyed SET data = NULL WHERE name = 'n7'")
    there.run("DELETE FROM left_keyed WHERE name = 'n8'")
    there.run("UPDATE left_bare SET price = 1000 WHERE price = 2.5")
    found = compare.differences(here.engine, there.engine, leftovers)
    assert [(item.table, item.kind, item.column, item.keys) for item in found] == [
        ("left_keyed", "missing", "", ["n8"]),
        ("left_keyed", "changed", "data", ["n7"]),
        ("left_bare", "extra", "", ["1000, 2024-02-29"]),
        ("left_bare", "missing", "", ["2.5, 2024-02-29"]),
    ]
