from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kallithea_tables import Database, a_row, models

from kallithea_tune.db_migrate import connect, schema
from kallithea_tune.db_migrate.copy import copy_table
from kallithea_tune.db_migrate.engines import Engine, engine_for
from kallithea_tune.db_migrate.verify import compare

ENGINES = ("sqlite", "postgresql", "mysql")
AWKWARD = (
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    "\\",
    "\\\\'",
    "it''s",
    "'",
    '"',
    "a\tb\r\nc\n",
    "\n",
    ",",
    "%s %(x)s %%",
    ":name",
    "\x01\x1f\x7f",
    "größe 麗 😀 e\u0301 \u2028 \ufeff \uffff",
    "\U0010ffff",
    "x" * 70000 + "é",
    "\\x00ff",
    "0",
    "-1",
    "1e5",
    "true",
)
BLOBS = (b"", b"\0", b"\\x00", bytes(range(256)) * 2000, b"'NULL'", b"\xff\xfe\n")


def make_awkward(ini: Path) -> None:
    """Put rows into a real instance that careless copying breaks."""
    with sqlite3.connect(str(ini.parent / "kallithea.db")) as database:
        for number, text in enumerate(AWKWARD):
            key = (number + 1) * 89000000 if number else -(2**31)
            moment = "%d-02-28 23:59:59.%06d" % (1000 + number * 300, (1, 999999, 0)[number % 3])
            database.execute(
                "INSERT INTO user_logs (user_log_id, user_id, username, repository_name,"
                " user_ip, action, action_date) VALUES (?, NULL, ?, ?, ?, ?, ?)",
                [key, text[:255], text[:255], text[:255] or None, text, moment],
            )
        for number, blob in enumerate(BLOBS, 1):
            database.execute("UPDATE users SET user_data = ? WHERE user_id = ?", [blob, number])
        for number, expires in enumerate(
            (-1.0, 0.1 + 0.2, 1e300, 5e-324, 1.7976931348623157e308, 123456789.123456789)
        ):
            database.execute(
                "INSERT INTO gists (gist_access_id, gist_description, user_id, gist_expires,"
                " gist_type, created_on, modified_at) VALUES (?, ?, 2, ?, 'public',"
                " '2024-01-01 00:00:00.000000', '2024-01-01 00:00:00.000001')",
                ["g%d" % number, AWKWARD[number], expires],
            )
        database.execute(
            "UPDATE sqlite_sequence SET seq = seq + 1000 WHERE name IN ('gists', 'users')"
        )
    database.close()


def everything(path: Path) -> dict[str, Any]:
    """All that a SQLite file says, in the plainest way: its schema, and every value with its
    type.
    """
    database = sqlite3.connect(str(path))
    names = [
        name
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%'"
            " AND name <> 'kallithea_tune_journal'"
        )
    ]
    # SQLAlchemy gives the constraints of a table in any order.
    found: dict[str, Any] = {
        "schema": {
            row[1]: (*row[:3], sorted(line.strip(", \t") for line in str(row[3]).splitlines()))
            for row in database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
            if row[2] in names
        }
    }
    for name in names:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
        rows = database.execute(
            "SELECT {} FROM {}".format(
                ", ".join(f"typeof({column}), {column}" for column in columns), name
            )
        )
        found[name] = sorted(rows, key=repr)
    database.close()
    return found


@pytest.mark.parametrize("way", [("postgresql", "mysql"), ("mysql", "postgresql")], ids="-".join)
@pytest.mark.once
def test_a_real_database_comes_back_as_it_was_after_all_engines(
    postgresql: Any, mariadb: Any, instance: Path, migrate: Any, with_url: Any, read: Any, way: Any
) -> None:
    make_awkward(instance)
    servers = {"postgresql": postgresql, "mysql": mariadb}
    before, ini = everything(instance.parent / "kallithea.db"), instance
    expected = read("sqlite:///{}".format(instance.parent / "kallithea.db"))
    back = instance.parent / "back.db"
    for url in [servers[name].url("round") for name in way] + [f"sqlite:///{back}"]:
        done = migrate(ini, url, asks=True)
        assert done.returncode == 0, done.stderr + done.stdout
        assert read(url) == expected
        ini = with_url(instance, url)
    after = everything(back)
    for name in {*before, *after}:
        assert after.get(name) == before.get(name), name
    assert everything(instance.parent / "kallithea.db") == before


@pytest.fixture(scope="module")
def ends(databases: Any) -> Iterator[dict[str, Engine]]:
    """A connection of the kind that migrates to each of the databases that are filled."""
    made = {}
    for name, database in databases.items():
        engine = connect.target_engine(str(database.connection.engine.url))
        made[name] = engine_for(engine.connect())
        made[name].writer.begin_load()
    made["postgresql"].connection.execute("SET session_replication_role = replica")
    yield made
    for end in made.values():
        end.connection.close()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from(sorted(models().tables)))
def test_rows_of_every_type_arrive_in_every_direction(
    databases: Any, ends: dict[str, Engine], data: Any, name: str
) -> None:
    table = databases["sqlite"].table(name)
    rows = [
        a_row(data.draw, table, key)
        for key in data.draw(st.sets(st.integers(1, 2**31 - 1), max_size=4))
    ]
    for source in ENGINES:
        for target in ENGINES:
            databases[target].replace(name, rows if target == source else [])
        for target in ENGINES:
            if target != source:
                moved(databases, ends, source, target, name)


def moved(databases: Any, ends: dict[str, Engine], source: str, target: str, name: str) -> None:
    origin, copy = databases[source].table(name), databases[target].table(name)
    count = copy_table(ends[source].reader, ends[target].writer, origin, copy)
    for end in ends.values():
        end.connection.connection.commit()
    plain = [
        [
            tuple(row)
            for row in database.connection.execute(
                database.table(name).select().order_by(*database.table(name).primary_key.columns)
            )
        ]
        for database in (databases[source], databases[target])
    ]
    assert plain[0] == plain[1] and len(plain[0]) == count
    assert compare.differences(databases[source].engine, databases[target].engine, [copy]) == []
    for database in databases.values():
        database.commit()


COLUMNS = """
    SELECT table_name, column_name, column_type, is_nullable, column_default, extra,
        column_key, collation_name
    FROM information_schema.columns WHERE table_schema = DATABASE()
    ORDER BY table_name, ordinal_position"""
KEYS = """
    SELECT table_name, index_name, seq_in_index, column_name, non_unique
    FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, 3"""
REFERENCES = """
    SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_name,
        k.referenced_column_name, r.update_rule, r.delete_rule
    FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
        ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name
    WHERE k.table_schema = DATABASE() ORDER BY 1, 2, 3"""
CHECKS = (
    "SELECT table_name, constraint_name, check_clause FROM information_schema.check_constraints"
    " WHERE constraint_schema = DATABASE() ORDER BY 1, 2"
)
TABLES = (
    "SELECT table_name, engine, row_format, table_collation FROM information_schema.tables"
    " WHERE table_schema = DATABASE() ORDER BY 1"
)
# In MariaDB alone, so that nothing is lost: what db-create makes, and what is made here.
LARGER = {
    ("datetime", "datetime(6)"),
    ("text", "longtext"),
    ("blob", "longblob"),
    ("mediumblob", "longblob"),
}


def described(server: Any, name: str, query: str) -> list[Any]:
    connection = server.connect(name)
    cursor = connection.cursor()
    cursor.execute(query)
    found = [row for row in cursor.fetchall() if row[0] != "kallithea_tune_journal"]
    connection.close()
    return found


def test_mariadb_gets_the_schema_that_kallithea_makes_but_for_larger_types(
    mariadb: Any, instance: Path, migrate: Any, created_on: Any
) -> None:
    created_on(mariadb.url("created"))
    assert migrate(instance, mariadb.url("moved")).returncode == 0
    theirs, ours = (described(mariadb, name, COLUMNS) for name in ("created", "moved"))
    assert [row[:2] + row[3:] for row in theirs] == [row[:2] + row[3:] for row in ours]
    assert {(one[2], other[2]) for one, other in zip(theirs, ours) if one[2] != other[2]} == LARGER
    for query in (KEYS, REFERENCES, CHECKS, TABLES):
        assert described(mariadb, "created", query) == described(mariadb, "moved", query)


def test_no_other_engine_needs_larger_types(databases: dict[str, Database]) -> None:
    for name in ("postgresql", "sqlite"):
        writer = databases[name].engine.writer
        copies = schema.for_target(models().sorted_tables, writer, models())
        assert all(
            str(column.type) == str(copies.tables[table.name].columns[column.name].type)
            for table in models().sorted_tables
            for column in table.columns
        )
