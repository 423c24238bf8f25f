"""The table in the target that tells a migration of ours from anything else, from its beginning
until the switch.

Where the engine takes tables back with a transaction, it comes and goes with all the rest. In
MariaDB it is made first, and says which tables are whole: each is noted in the transaction that
filled it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Mapping, Optional

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

NAME = "kallithea_tune_journal"
COPIED, LAST_KEY, WHOLE = "copied ", "last key ", "whole"


class State(enum.Enum):
    """What a database that is to be the target holds."""

    empty = "empty"
    unfinished = "unfinished"
    whole = "whole"
    foreign = "foreign"


def _table() -> Table:
    from sqlalchemy import Column, MetaData, String, Table

    return Table(
        NAME,
        MetaData(),
        Column("entry", String(120), primary_key=True),
        Column("value", String(255), nullable=False),
    )


def create(connection: Connection) -> None:
    """Make the table, before any other one."""
    _table().create(connection)


def note(connection: Connection, entry: str, value: object = "") -> None:
    """Set an entry."""
    table = _table()
    connection.execute(table.delete().where(table.c.entry == entry))
    connection.execute(table.insert().values(entry=entry, value=str(value)))


def read(connection: Connection) -> Optional[Mapping[str, str]]:
    """Return all entries; None where there is no such table."""
    import sqlalchemy

    if NAME not in sqlalchemy.inspect(connection).get_table_names():
        return None
    return {row[0]: row[1] for row in connection.execute(_table().select())}


def drop(connection: Connection) -> None:
    """Remove the table, if it is there."""
    if read(connection) is not None:
        _table().drop(connection)


def state(entries: Optional[Mapping[str, str]], tables: int) -> State:
    """Judge a database by the entries of its journal and the number of its tables."""
    if entries is None:
        return State.foreign if tables else State.empty
    return State.whole if WHOLE in entries else State.unfinished


def named(entries: Mapping[str, str], kind: str) -> dict[str, int]:
    """Return the entries of one kind: for each table the number noted."""
    return {
        entry[len(kind) :]: int(value) for entry, value in entries.items() if entry.startswith(kind)
    }
