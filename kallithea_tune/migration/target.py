"""Whether the target can take the database: reachable, empty, in the right encoding, tables allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.migration import connect

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine


def reach(engine: Engine, name: str) -> Connection:
    """Connect to the database given as `name`. Raises ConfigError in one sentence, without the password."""
    from sqlalchemy.exc import DBAPIError

    try:
        return engine.connect()
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()
        raise ConfigError("%s (%s) cannot be reached: %s" % (
            name, connect.label(engine.url), said[0] if said else type(error.orig).__name__)) from None


def existing_tables(connection: Connection) -> list[str]:
    """Return the names of the tables that the target has already."""
    import sqlalchemy

    return sorted(sqlalchemy.inspect(connection).get_table_names())


def require_empty(connection: Connection) -> None:
    """Raise Refused, naming the tables, when there are any."""
    names = existing_tables(connection)
    if names:
        raise Refused("the target %s is not empty, it has %d tables (%s); give an empty database, or --replace" % (
            connect.label(connection.engine.url), len(names), shortened(names)))


def shortened(names: Sequence[str], most: int = 8) -> str:
    """List names, the first few of many."""
    return ", ".join(names[:most]) + (", and %d more" % (len(names) - most) if len(names) > most else "")


def drop_tables(connection: Connection, names: Sequence[str]) -> None:
    """Drop tables with the foreign keys between them."""
    import sqlalchemy

    metadata = sqlalchemy.MetaData()
    metadata.reflect(connection, only=list(names))
    metadata.drop_all(connection)
