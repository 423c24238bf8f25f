"""The keys that an engine generates: the highest ones ever used, and the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

from kallithea_tune.db_migrate.copy import End
from kallithea_tune.db_migrate.engines.base import key_column

if TYPE_CHECKING:
    from sqlalchemy import Table


def last_keys(source: End, tables: Sequence[Table]) -> dict[str, int]:
    """Return the highest key ever used of each table whose keys the engine generates."""
    import sqlalchemy

    keys = {}
    for table in tables:
        column = key_column(table)
        if column is not None:
            quoted_column = source.dialect.quoted(source.connection, column.name)
            quoted_table = source.dialect.quoted(source.connection, table.name)
            query = sqlalchemy.text(f"SELECT max({quoted_column}) FROM {quoted_table}")
            highest = int(source.connection.execute(query).scalar() or 0)
            keys[table.name] = max(highest, source.dialect.last_key(source.connection, table))
    return keys


def set_last_keys(target: End, tables: Sequence[Table], keys: Mapping[str, int]) -> None:
    """Make each next key higher than any that was ever used, or the first one where none was."""
    for table in tables:
        column = key_column(table)
        if column is not None:
            target.dialect.set_last_key(target.connection, table, column, keys.get(table.name, 0))
