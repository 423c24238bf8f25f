"""What depends on how the target's server and database are configured."""

from __future__ import annotations

from typing import Any, Iterator

import pymysql
import pytest
from dirt import Dirt, a_row, does, empty, literal, put, remove, run_preflight, summary
from kallithea_tables import Database, models

from kallithea_tune.db.kinds import Kind

PACKET = 1 << 20


@pytest.fixture
def small_packets(mariadb: Any) -> Iterator[Database]:
    """A MariaDB that takes one megabyte at once."""
    connection = mariadb.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT @@global.max_allowed_packet")
    before = cursor.fetchone()[0]
    cursor.execute("SET GLOBAL max_allowed_packet = %d" % PACKET)
    try:
        database = Database(mariadb.url("small_packets") + "&local_infile=1")
        empty(database)
        yield database
        database.close()
    finally:
        cursor.execute("SET GLOBAL max_allowed_packet = %d" % before)
        connection.close()


@pytest.mark.parametrize(
    "table, column, value, taken",
    [
        ("statistics", "commit_activity_combined", b"x" * (PACKET - 4000), True),
        ("statistics", "commit_activity_combined", b"x" * (PACKET + 1), False),
        ("changeset_comments", "text", "x" * (PACKET - 4000), True),
        ("changeset_comments", "text", "é" * (PACKET // 2 + 1), False),
    ],
    ids=["binary-fits", "binary", "text-fits", "text"],
)
def test_rows_greater_than_a_packet_are_found(
    mariadb: Any,
    spoilable: dict[str, Database],
    small_packets: Database,
    table: str,
    column: str,
    value: Any,
    taken: bool,
) -> None:
    source, dirt = spoilable["sqlite"], Dirt("too-big", table, column, value)
    row = a_row(
        table,
        2,
        **{"repository_id": 9, column: value} if table == "statistics" else {column: value},
    )
    put(source, table, row)
    try:
        seen = run_preflight(
            source, small_packets, "too-big=delete", tables=[models().tables[table]]
        )
        assert [item[:2] + item[3:] for item in summary(seen)] == (
            [] if taken else [("too-big", table, 1, [2])]
        )
        assert not seen.blocking and seen.fixes.touches(table) is not taken
    finally:
        remove(source, dirt)
    # What the server does with it, in a table like that one without its constraints.
    connection = mariadb.connect("small_packets")
    cursor = connection.cursor()
    cursor.execute(f"CREATE TEMPORARY TABLE tried LIKE {table}")
    try:
        written = [
            literal("mysql", item.decode() if isinstance(item, bytes) else item, Kind.text)
            for item in row.values()
        ]
        cursor.execute(
            b"INSERT INTO tried (%s) VALUES (%s)" % (", ".join(row).encode(), b", ".join(written))
        )
        assert taken
    except (OSError, pymysql.err.OperationalError):
        assert not taken


@pytest.fixture
def three_bytes(mariadb: Any) -> Iterator[Database]:
    """A MariaDB database whose characters take at most three bytes."""
    url = mariadb.url("three_bytes") + "&local_infile=1"
    connection = mariadb.connect()
    connection.cursor().execute("ALTER DATABASE three_bytes CHARACTER SET utf8mb3")
    connection.close()
    database = Database(url)
    empty(database)
    yield database
    database.close()


@pytest.mark.parametrize("value", ["😀", "a\U00010000", "見積", "\uffff"], ids=ascii)
def test_characters_of_four_bytes_are_found(
    spoilable: dict[str, Database], three_bytes: Database, value: str
) -> None:
    source, dirt = spoilable["sqlite"], Dirt("four-byte", "user_logs", "action", value)
    put(source, "user_logs", a_row("user_logs", 2, action=value))
    try:
        taken = does(three_bytes, dirt) == "takes"
        seen = run_preflight(source, three_bytes, "four-byte=replace")
        assert summary(seen) == ([] if taken else [("four-byte", "user_logs", ("action",), 1, [2])])
        assert not seen.blocking
    finally:
        remove(source, dirt)


def test_microseconds_are_found_where_the_column_has_none(
    spoilable: dict[str, Database], mariadb: Any
) -> None:
    """With the tables that Kallithea itself makes in MariaDB."""
    source, plain = (
        spoilable["sqlite"],
        Database(mariadb.url("whole_seconds") + "&local_infile=1", models()),
    )
    empty(plain)
    for key, moment in ((2, "2024-02-29 12:00:00.000001"), (3, "2024-02-29 12:00:00.000000")):
        dirt = Dirt("microseconds", "user_logs", "action_date", moment)
        put(source, "user_logs", a_row("user_logs", key, action_date=moment))
        seen = run_preflight(source, plain, "microseconds=cut")
        found = [item for item in seen.violations if item.table == "user_logs" and key in item.keys]
        taken = does(plain, dirt, key) == "takes"
        assert [item.rule.name for item in found] == ([] if taken else ["microseconds"])
        remove(source, dirt, key)
    plain.close()
