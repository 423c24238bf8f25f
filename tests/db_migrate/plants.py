"""Violations of every rule, one to a row: where each can be planted, who refuses or changes it, and
what has to come of it.
"""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple, Sequence

import sqlalchemy
from dirt import a_row, put
from kallithea_tables import Database, loose, models, roomy
from sqlalchemy.dialects import mysql

from kallithea_tune.app import application
from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import schema
from kallithea_tune.db_migrate.preflight.rules import RULES
from kallithea_tune.db_migrate.values import Value

ENGINES = ("sqlite", "postgresql", "mysql")
DIRECTIONS = [(source, target) for source in ENGINES for target in ENGINES]
SERVERS = ("postgresql", "mysql")
FIRST_KEY = 10
GONE = "the row is left out"
NEXT = "the next action is applied, since this one can do nothing"
EPOCH = "1970-01-01 00:00:00.000000"
PACKET = 1 << 16  # bytes that the MariaDB to migrate to takes at once

Row = Mapping[str, Value]


class Plant(NamedTuple):
    """A row of `table` whose `column` breaks `rule` for the `targets`; the others take it as it is.

    `sources` can store it. `after` has for each action that is offered what the column becomes,
    GONE or NEXT. `also` are rules that every target has broken by the same value, `elsewhere` is
    the one of the other targets. `key` has all columns of a key, and `given` what else is in the
    row.
    """

    rule: str
    table: str
    column: str
    value: Value
    after: Mapping[str, Value]
    sources: Sequence[str] = ENGINES
    targets: Sequence[str] = ENGINES
    also: Sequence[str] = ()
    elsewhere: str = ""
    key: Sequence[str] = ()
    given: Mapping[str, Value] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """As preflight reports them."""
        return () if self.rule == "too-big" else tuple(self.key or (self.column,))

    def broken(self, target: str) -> list[str]:
        """The rules that this breaks, in the order in which they are fixed."""
        rules = [self.rule if target in self.targets else self.elsewhere, *self.also]
        return sorted(filter(None, rules), key=list(RULES).index)


def deleted(**after: Value) -> dict[str, Value]:
    return {**after, "delete": GONE}


SQLITE = ("sqlite",)
FOREVER = {"null": None, "delete": GONE}
INEXACT = {"convert": NEXT, "delete": GONE}
# The last keys of rows that were deleted since.
REMEMBERED = {"groups": 2**31 - 1, "users_groups": 2**63 - 1}
PLANTS = [
    Plant("nulls", "users", "firstname", None, deleted(empty="")),
    Plant("nulls", "changeset_statuses", "version", None, deleted(empty=0)),
    Plant("nulls", "user_ip_map", "active", None, deleted(empty=0)),
    Plant("nulls", "gists", "gist_expires", None, deleted(empty=0.0)),
    Plant("nulls", "user_logs", "action_date", None, deleted(empty=EPOCH)),
    Plant("nulls", "statistics", "languages", None, deleted(empty=b""), given={"repository_id": 2}),
    Plant("wrong-type", "users", "active", "maybe", deleted(convert=NEXT), SQLITE),
    Plant("wrong-type", "user_ip_map", "active", "\udcff", deleted(convert=NEXT), SQLITE),
    Plant("wrong-type", "users", "admin", "yes", deleted(convert=1), SQLITE),
    Plant("wrong-type", "changeset_statuses", "version", 1.5, INEXACT, SQLITE, SERVERS),
    Plant("wrong-type", "gists", "gist_expires", "never", INEXACT, SQLITE, SERVERS),
    Plant("wrong-type", "user_logs", "action", b"\xff", INEXACT, SQLITE, SERVERS),
    Plant(
        "wrong-type",
        "user_logs",
        "user_ip",
        b"blob",
        deleted(convert="blob", null=None),
        SQLITE,
        SERVERS,
    ),
    Plant(
        "wrong-type",
        "users",
        "user_data",
        5,
        deleted(convert=b"5", null=None),
        SQLITE,
        SERVERS,
    ),
    Plant("booleans", "users", "admin", 7, deleted(true=1), ("sqlite", "mysql")),
    Plant("out-of-range", "changeset_statuses", "version", 2**31, deleted(), targets=SERVERS),
    Plant(
        "out-of-range",
        "user_logs",
        "repository_id",
        -(2**31) - 1,
        FOREVER,
        targets=SERVERS,
        also=["orphans"],
    ),
    # Such columns are BIGINT UNSIGNED there.
    Plant("out-of-range", "changeset_statuses", "version", 2**64 - 1, deleted(), ["mysql"]),
    Plant("out-of-range", "user_logs", "user_id", 2**64 - 1, FOREVER, ["mysql"], also=["orphans"]),
    Plant("out-of-range", "user_logs", "user_log_id", 2**40, deleted(), targets=SERVERS),
    Plant(
        "sequences",
        "repositories_fields",
        "repo_field_id",
        2**31 - 1,
        deleted(),
        targets=SERVERS,
    ),
    Plant(
        "sequences",
        "user_ssh_keys",
        "user_ssh_key_id",
        2**63 - 1,
        deleted(),
        targets=SQLITE,
        elsewhere="out-of-range",
    ),
    Plant(
        "not-finite",
        "gists",
        "gist_expires",
        float("-inf"),
        deleted(),
        ("sqlite", "postgresql"),
        ("mysql",),
    ),
    Plant(
        "not-finite",
        "user_api_keys",
        "expires",
        float("nan"),
        deleted(),
        ("postgresql",),
        ("mysql", "sqlite"),
    ),
    Plant(
        "dates", "user_logs", "action_date", "yesterday", deleted(read=NEXT, epoch=EPOCH), SQLITE
    ),
    Plant(
        "dates",
        "user_logs",
        "action_date",
        "2024-02-29T12:00",
        deleted(read="2024-02-29 12:00:00.000000", epoch=EPOCH),
        SQLITE,
    ),
    Plant(
        "dates",
        "users",
        "last_login",
        "2024-02-30 12:00:00.000000",
        deleted(read=NEXT, null=None, epoch=EPOCH),
        SQLITE,
    ),
    Plant("dates", "user_logs", "action_date", "infinity", deleted(epoch=EPOCH), ("postgresql",)),
    Plant(
        "dates",
        "user_ssh_keys",
        "last_seen",
        "-infinity",
        deleted(null=None, epoch=EPOCH),
        ("postgresql",),
    ),
    Plant(
        "dates",
        "user_logs",
        "action_date",
        "0000-00-00 00:00:00.000000",
        deleted(epoch=EPOCH),
        ("mysql",),
    ),
    Plant(
        "dates",
        "user_ssh_keys",
        "last_seen",
        "2024-00-01 00:00:00.000000",
        deleted(null=None, epoch=EPOCH),
        ("mysql",),
    ),
    Plant("utf8", "user_logs", "action", "caf\udce9", deleted(replace="caf\ufffd"), SQLITE),
    Plant("utf8", "user_logs", "user_ip", "\udcff1", deleted(replace="\ufffd1", null=None), SQLITE),
    Plant(
        "nul",
        "user_logs",
        "action",
        "a\0b",
        deleted(strip="ab"),
        ("sqlite", "mysql"),
        ("postgresql",),
    ),
    Plant(
        "nul",
        "user_logs",
        "user_ip",
        "\0",
        deleted(strip="", null=None),
        ("sqlite", "mysql"),
        ("postgresql",),
    ),
    Plant("four-byte", "user_logs", "action", "a😀", deleted(replace="a\ufffd"), targets=["mysql"]),
    Plant(
        "four-byte",
        "user_logs",
        "user_ip",
        "😀",
        deleted(replace="\ufffd", null=None),
        targets=["mysql"],
    ),
    Plant(
        "too-long",
        "user_logs",
        "username",
        "é" * 300,
        deleted(truncate="é" * 255),
        targets=SERVERS,
    ),
    Plant(
        "too-long",
        "changeset_comments",
        "line_no",
        "n12345678901",
        deleted(truncate="n123456789", null=None),
        targets=SERVERS,
    ),
    Plant("too-big", "user_logs", "action", "x" * (PACKET + 1), deleted(), targets=["mysql"]),
    Plant("orphans", "user_logs", "user_id", 99, FOREVER),
    Plant("orphans", "pull_requests", "user_id", 99, deleted()),
    Plant("duplicates", "settings", "app_settings_name", "text", {"keep-first": GONE}),
    Plant(
        "duplicates",
        "user_to_perm",
        "user_id",
        1,
        {"keep-first": GONE},
        key=["user_id", "permission_id"],
    ),
    Plant("collisions", "user_email_map", "email", "TEXT", {"keep-first": GONE}, targets=["mysql"]),
]


def key_name(table: str) -> str:
    return str(next(iter(models().tables[table].primary_key.columns)).name)


def rows(source: str, dirty: bool = True) -> Iterator[tuple[Plant, int, dict[str, Value]]]:
    """The plants that a source can store, each with its key and its row, also as it would be if it
    were clean.
    """
    for key, plant in enumerate(PLANTS, FIRST_KEY):
        if source in plant.sources:
            if plant.column == key_name(plant.table):
                assert isinstance(plant.value, int)
                key = plant.value
            value = {plant.column: plant.value} if dirty else {}
            row = {**a_row(plant.table, key, **plant.given), **value}
            if dirty or row[plant.column] != plant.value:
                yield plant, key, row


class Source(Database):
    """A database without any constraint; `fill` puts in the plants, or clean rows instead."""

    def __init__(self, url: str, dialect: str) -> None:
        super().__init__(url, worn(dialect))
        self.url = url
        schema.stamp_table().create(self.connection)
        for head in application.schema_history().heads:
            self.run("INSERT INTO alembic_version VALUES (:head)", head=head)

    def fill(self, dirty: bool = True) -> None:
        for table in self.tables:
            self.run(f"DELETE FROM {self.quoted(table.name)}")
        for name in WITH_GREAT_KEYS:
            self.set_last_key(name, 1)
        for name, row in self.base():
            put(self, name, row)
        for plant, _, row in rows(self.dialect, dirty):
            put(self, plant.table, row)
        for name, key in REMEMBERED.items() if dirty else ():
            self.set_last_key(name, key)

    def base(self) -> Iterator[tuple[str, dict[str, Value]]]:
        yield from ((table.name, a_row(table.name, 1)) for table in self.tables)
        yield "repositories", a_row("repositories", 2)

    def set_last_key(self, name: str, key: int) -> None:
        """Have the engine remember this key as the last one that it generated."""
        table, column = self.quoted(name), key_name(name)
        self.run(
            {
                "sqlite": f"UPDATE sqlite_sequence SET seq = {key} WHERE name = '{name}'",
                "postgresql": f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), {key})",
                "mysql": f"ALTER TABLE {table} AUTO_INCREMENT = {key + 1}",
            }[self.dialect]
        )


WITH_GREAT_KEYS = {
    *REMEMBERED,
    *(plant.table for plant in PLANTS if plant.column == key_name(plant.table)),
}


def worn(dialect: str) -> sqlalchemy.MetaData:
    """Kallithea's tables without any constraint, on a server with types that have room for more."""
    metadata = loose(roomy(models()) if dialect == "mysql" else models())
    for table in metadata.sorted_tables if dialect != "sqlite" else ():
        table.indexes.clear()
        for column in table.columns:
            if isinstance(column.type, sqlalchemy.Integer):
                column.type = sqlalchemy.BigInteger()
                if dialect == "mysql" and column.name in ("version", "user_id"):
                    column.type = mysql.BIGINT(unsigned=True)
            elif kind_of(column) is Kind.text:
                column.type = mysql.LONGTEXT() if dialect == "mysql" else sqlalchemy.UnicodeText()
    return metadata
