"""The journal: a table that marks a target as filled by db-migrate, from the start to the switch.

Where the engine rolls back tables with a transaction, the journal comes and goes with the rest. In
MariaDB it is created first and records which tables are complete, each in the transaction that
filled it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Mapping, Optional

from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

NAME = "kallithea_tune_journal"
# Entries: the first two end with the name of a table.
COPIED, LAST_KEY, COMPLETE = "copied ", "last key ", "whole"


class TargetState(enum.Enum):
    """What a target contains: nothing, what db-migrate filled in, or somebody else's tables."""

    EMPTY = "empty"
    PARTLY_FILLED = "partly filled"
    COMPLETE = "complete"
    FOREIGN = "foreign"


def _table() -> Table:
    from sqlalchemy import Column, MetaData, String, Table

    return Table(
        NAME,
        MetaData(),
        Column("entry", String(120), primary_key=True),
        Column("value", String(255), nullable=False),
    )


def create(connection: Connection) -> None:
    """Create the table, before any other one."""
    _table().create(connection)


def note(connection: Connection, entry: str, value: object = "") -> None:
    """Set an entry, unless the end was requested."""
    interruption.check()
    table = _table()
    connection.execute(table.delete().where(table.c.entry == entry))
    connection.execute(table.insert().values(entry=entry, value=str(value)))


def note_last_keys(connection: Connection, last_keys: Mapping[str, int]) -> None:
    """Set the highest key that each table of the source has had."""
    for table, key in last_keys.items():
        note(connection, LAST_KEY + table, key)


def read(connection: Connection) -> Optional[Mapping[str, str]]:
    """Return all entries; None where there is no journal."""
    import sqlalchemy

    if NAME not in sqlalchemy.inspect(connection).get_table_names():
        return None
    return {row[0]: row[1] for row in connection.execute(_table().select())}


def drop(connection: Connection) -> None:
    """Drop the table, if there is one, in the open transaction if the engine can."""
    if connection.dialect.name == "sqlite":
        # Python's sqlite3 begins a transaction for changes of rows only.
        connection.execute("BEGIN IMMEDIATE")
    if read(connection) is not None:
        _table().drop(connection)


def state(entries: Optional[Mapping[str, str]], table_count: int) -> TargetState:
    """Return the state of a target from the entries of its journal and its number of tables."""
    if entries is None:
        return TargetState.FOREIGN if table_count else TargetState.EMPTY
    return TargetState.COMPLETE if COMPLETE in entries else TargetState.PARTLY_FILLED


def numbers(entries: Mapping[str, str], kind: str) -> dict[str, int]:
    """Return the numbers in the entries of one kind, `COPIED` or `LAST_KEY`, by table."""
    return {
        entry[len(kind) :]: int(value) for entry, value in entries.items() if entry.startswith(kind)
    }
