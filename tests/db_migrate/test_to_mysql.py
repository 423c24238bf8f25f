from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Iterator

import pytest
import sqlalchemy

from kallithea_tune.db_migrate import connect, schema, values
from kallithea_tune.db_migrate.engines import Engine, engine_for
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.errors import TuneError

DRIVERS = ["mysql+pymysql", "mysql", "mariadb"]


def as_driver(url: str, driver: str) -> str:
    return url.replace("mysql+pymysql", driver)


def spoil(ini: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(str(ini.parent / "kallithea.db")) as database:
        database.execute(statement, values)
    database.close()


def rows(server: Any, database: str, query: str) -> Any:
    connection = server.connect(database)
    cursor = connection.cursor()
    cursor.execute(query)
    found = cursor.fetchall()
    connection.close()
    return found


@pytest.fixture
def forbidding(mariadb: Any) -> Any:
    """The server, with LOAD DATA LOCAL off."""
    rows(mariadb, "", "SET GLOBAL local_infile = 0")
    yield mariadb
    rows(mariadb, "", "SET GLOBAL local_infile = 1")


@pytest.mark.parametrize("driver", DRIVERS)
def test_everything_arrives_with_either_driver(
    mariadb: Any, instance: Path, migrate: Any, read: Any, driver: str
) -> None:
    url = mariadb.url("moved")
    before = (instance.parent / "kallithea.db").read_bytes()
    with_charset = driver != "mariadb"
    named = as_driver(url, driver).replace("?charset=utf8mb4", "?charset=utf8mb4" * with_charset)
    done = migrate(instance, named, asks=True)
    assert done.returncode == 0, done.stderr
    assert read(url) == read("sqlite:///{}".format(instance.parent / "kallithea.db"))
    assert (instance.parent / "kallithea.db").read_bytes() == before
    assert mariadb.password not in done.stdout + done.stderr


@pytest.mark.parametrize("driver", DRIVERS[:2])
def test_where_the_server_forbids_local_files_rows_are_inserted(
    forbidding: Any, instance: Path, migrate: Any, read: Any, driver: str
) -> None:
    url = forbidding.url("inserted")
    done = migrate(instance, as_driver(url, driver))
    assert done.returncode == 0, done.stderr
    assert read(url) == read("sqlite:///{}".format(instance.parent / "kallithea.db"))


@pytest.fixture(params=DRIVERS[:2])
def target(mariadb: Any, request: Any) -> Iterator[Engine]:
    """A connection to a database with a small table, ready to load."""
    engine = connect.target_engine(
        as_driver(mariadb.url("loaded") + "&write_timeout=10", request.param)
    )
    with engine.connect() as connection:
        SMALL.metadata.create_all(connection)
        yield engine_for(connection)


SMALL = sqlalchemy.Table(
    "small",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.Unicode(10), unique=True),
    sqlalchemy.Column("number", sqlalchemy.Integer),
    sqlalchemy.Column("data", sqlalchemy.LargeBinary),
)


def load(target: Engine, *rows: Row) -> None:
    target.writer.load(SMALL, iter([(len(rows), values.encode(rows))]))


@pytest.mark.parametrize(
    "row, message",
    [
        (
            (7, "x" * 11, 1, b""),
            "small: Data truncated for column 'name' in the row with the key 7",
        ),
        (
            (7, "y", 2**31, b""),
            "small: Out of range value for column 'number' in the row with the key 7",
        ),
        (
            (7, "y", "many", b""),
            "small: Incorrect integer value: *** for column `loaded`.`small`.`number` in the row"
            " with the key 7",
        ),
        (
            (7, "y\udcff", 1, b""),
            "small: Incorrect string value: *** for column `loaded`.`small`.`name` in the row"
            " with the key 7",
        ),
        ((7, "x", 1, b""), "small: two rows have the same key 'name'"),
    ],
)
def test_a_warning_ends_the_load(target: Engine, row: Row, message: str) -> None:
    with pytest.raises(TuneError) as raised:
        load(target, (5, "X", 1, b"\0"), row, (9, None, None, None))
    assert message in str(raised.value)


FAMILY = sqlalchemy.MetaData()
sqlalchemy.Table("parent", FAMILY, sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True))
CHILD = sqlalchemy.Table(
    "child",
    FAMILY,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.Unicode(10)),
    sqlalchemy.Column("100%:", sqlalchemy.Integer),
    sqlalchemy.Column("parent_id", sqlalchemy.Integer),
    sqlalchemy.UniqueConstraint("name", name="uq_child_name"),
    sqlalchemy.ForeignKeyConstraint(["parent_id"], ["parent.id"], name="fk_child_parent"),
)
sqlalchemy.Index("ix_child_number", CHILD.c["100%:"], CHILD.c.name)


def complete(target: Engine, rows: str) -> list[str]:
    """Make the tables, fill `child` and add the keys; return what was being added."""
    tables = schema.ordered(FAMILY)
    target.writer.begin_load()
    schema.create_tables(target.writer, tables)
    target.cursor().execute("INSERT INTO child (id, name, parent_id) VALUES " + rows)
    begun = []
    try:
        for addition in schema.complete_tables(target.writer, tables):
            begun.append(addition.sentence)
    except Exception as error:
        begun.append(str(error))
    return begun


def keys_of(target: Engine) -> set[str]:
    """The names of all keys of `child` that the server has."""
    inspector = sqlalchemy.inspect(target.connection)
    return {
        item["name"]
        for find in ("get_indexes", "get_foreign_keys")
        for item in getattr(inspector, find)("child")
    }


def test_all_keys_of_a_table_are_added_by_one_statement(target: Engine) -> None:
    assert complete(target, "(1, 'a', NULL), (2, 'b', NULL)") == [
        "adding uq_child_name, ix_child_number, fk_child_parent to child"
    ]
    assert keys_of(target) == {"uq_child_name", "ix_child_number", "fk_child_parent"}


def test_a_refused_key_is_reported_with_its_table(target: Engine) -> None:
    _, first, error = complete(target, "(1, 'a', NULL), (2, 'a', NULL)")
    assert (
        first == "adding uq_child_name to child"
        and "Duplicate entry 'a' for key 'uq_child_name'" in error
    )
    assert keys_of(target) == set()


def test_an_orphan_is_found_though_the_server_does_not_check(target: Engine) -> None:
    error = complete(target, "(1, 'a', NULL), (2, 'b', 77)")[-1]
    assert error == "child.parent_id refers to rows that are not in parent"


def test_a_source_that_fails_half_way_is_not_taken_for_its_end(target: Engine) -> None:
    def lines() -> Any:
        yield 1, values.encode([(1, "a", 1, b"")])
        raise BrokenPipeError("the source went away")

    with pytest.raises(BrokenPipeError, match="the source went away"):
        target.writer.load(SMALL, lines())


def test_a_server_that_goes_away_does_not_leave_the_writer_waiting(
    target: Engine, mariadb: Any
) -> None:
    number = target.connection.execute(sqlalchemy.text("SELECT connection_id()")).scalar()

    def lines() -> Any:
        for key in range(1, 10**7):
            if key == 1000:
                rows(mariadb, "", "KILL %d" % number)
            yield 1, values.encode([(key, None, 1, b"x" * 1000)])

    with pytest.raises(Exception, match=r"(?i)lost connection|gone away|killed|broken pipe"):
        target.writer.load(SMALL, lines())


def test_texts_over_64_kilobytes_and_blobs_near_the_size_of_a_packet_arrive(
    mariadb: Any, instance: Path, migrate: Any, read: Any
) -> None:
    spoil(instance, "UPDATE user_logs SET action = ? WHERE user_log_id = 1", "é\n\\N" * 50000)
    spoil(instance, "UPDATE users SET user_data = ? WHERE user_id = 2", bytes(range(256)) * 30000)
    url = mariadb.url("large")
    done = migrate(instance, url)
    assert done.returncode == 0, done.stderr
    assert read(url) == read("sqlite:///{}".format(instance.parent / "kallithea.db"))


def test_keys_go_on_beyond_the_greatest_ever_used(
    mariadb: Any, instance: Path, migrate: Any
) -> None:
    spoil(instance, "UPDATE sqlite_sequence SET seq = 7000 WHERE name = 'user_logs'")
    assert migrate(instance, mariadb.url("keys")).returncode == 0
    connection = mariadb.connect("keys")
    cursor = connection.cursor()
    cursor.execute(
        "INSERT INTO user_logs (username, repository_name, action, action_date)"
        " VALUES ('', '', '', now())"
    )
    assert cursor.lastrowid == 7001
    connection.close()


def test_tables_in_no_model_arrive_though_their_keys_are_texts_without_a_length(
    mariadb: Any, instance: Path, migrate: Any
) -> None:
    spoil(
        instance,
        "CREATE TABLE plugin (name TEXT PRIMARY KEY, data BLOB, note TEXT UNIQUE, seen DATETIME)",
    )
    spoil(
        instance,
        "INSERT INTO plugin VALUES ('größe', x'00ff', 'it''s', '2024-01-31 12:00:00.000001')",
    )
    done = migrate(instance, mariadb.url("extra"), "--extra-tables")
    assert done.returncode == 0, done.stderr
    assert rows(mariadb, "extra", "SELECT name, data, note, microsecond(seen) FROM plugin") == (
        ("größe", b"\0\xff", "it's", 1),
    )
