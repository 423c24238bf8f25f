"""Violations of every rule, one to a row: where each can be planted, who refuses or changes it, and
what has to come of it.
"""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple, Sequence

import sqlalchemy
from dirt import a_row
from kallithea_tables import loose, models, roomy
from sqlalchemy.dialects import mysql

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.preflight.rules import RULES
from kallithea_tune.db_migrate.values import Value

ENGINES = ("sqlite", "postgresql", "mysql")
DIRECTIONS = [(source, target) for source in ENGINES for target in ENGINES]
SERVERS = ("postgresql", "mysql")
FIRST_KEY = 10
GONE = "the row is left out"
EPOCH = "1970-01-01 00:00:00.000000"
PACKET = 1 << 16  # bytes that the MariaDB to migrate to takes at once

Row = Mapping[str, Value]


class Plant(NamedTuple):
    """A row of `table` whose `column` breaks `rule` for the `targets`; the others take it as it is.

    `sources` can store it. `after` has for each action that is offered what the column becomes, or
    GONE. `also` are rules that every target has broken by the same value. `key` has all columns of
    a key, and `given` what else is in the row.
    """

    rule: str
    table: str
    column: str
    value: Value
    after: Mapping[str, Value]
    sources: Sequence[str] = ENGINES
    targets: Sequence[str] = ENGINES
    also: Sequence[str] = ()
    key: Sequence[str] = ()
    given: Mapping[str, Value] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """As preflight reports them."""
        return () if self.rule == "too-big" else tuple(self.key or (self.column,))

    def broken(self, target: str) -> list[str]:
        """The rules that this breaks, in the order in which they are fixed."""
        rules = [*([self.rule] if target in self.targets else []), *self.also]
        return sorted(rules, key=list(RULES).index)


def deleted(**after: Value) -> dict[str, Value]:
    return {**after, "delete": GONE}


SQLITE = ("sqlite",)
FOREVER = {"null": None, "delete": GONE}
PLANTS = [
    Plant("nulls", "users", "firstname", None, deleted(empty="")),
    Plant("nulls", "changeset_statuses", "version", None, deleted(empty=0)),
    Plant("nulls", "user_ip_map", "active", None, deleted(empty=0)),
    Plant("nulls", "gists", "gist_expires", None, deleted(empty=0.0)),
    Plant("nulls", "user_logs", "action_date", None, deleted(empty=EPOCH)),
    Plant("nulls", "statistics", "languages", None, deleted(empty=b""), given={"repository_id": 2}),
    Plant("wrong-type", "users", "active", "maybe", deleted(), SQLITE),
    Plant("wrong-type", "changeset_statuses", "version", "many", deleted(), SQLITE, SERVERS),
    Plant("wrong-type", "changeset_statuses", "version", 1.5, deleted(), SQLITE, SERVERS),
    Plant("wrong-type", "gists", "gist_expires", "never", deleted(), SQLITE, SERVERS),
    Plant("wrong-type", "user_logs", "action", b"blob\xff", deleted(), SQLITE, SERVERS),
    Plant("wrong-type", "user_logs", "user_ip", b"blob\xff", FOREVER, SQLITE, SERVERS),
    Plant("wrong-type", "users", "user_data", 5, FOREVER, SQLITE, SERVERS),
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
    Plant("dates", "user_logs", "action_date", "yesterday", deleted(epoch=EPOCH), SQLITE),
    Plant(
        "dates",
        "users",
        "last_login",
        "2024-02-30 12:00:00.000000",
        deleted(null=None, epoch=EPOCH),
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
            row = a_row(plant.table, key, **plant.given)
            if plant.rule == "duplicates" and len(plant.key) > 1 and not dirty:
                continue
            yield plant, key, {**row, **value}


def worn(dialect: str) -> sqlalchemy.MetaData:
    """Kallithea's tables without any constraint, on a server with types that have room for more."""
    metadata = loose(roomy(models()) if dialect == "mysql" else models())
    for table in metadata.sorted_tables if dialect != "sqlite" else ():
        table.indexes.clear()
        for column in table.columns:
            if isinstance(column.type, sqlalchemy.Integer):
                column.type = sqlalchemy.BigInteger()
            elif kind_of(column) is Kind.text:
                column.type = mysql.LONGTEXT() if dialect == "mysql" else sqlalchemy.UnicodeText()
    return metadata
