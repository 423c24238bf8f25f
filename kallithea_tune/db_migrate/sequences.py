"""The keys that an engine generates: the highest ones ever used, and the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping, Sequence

from kallithea_tune.db.tables import key_column
from kallithea_tune.db_migrate.engines import Engine

if TYPE_CHECKING:
    from sqlalchemy import Table


def last_keys(source: Engine, tables: Sequence[Table]) -> dict[str, int]:
    """Return the highest key ever used of each table whose keys the engine generates."""
    import sqlalchemy

    keys = {}
    for table in tables:
        column = key_column(table)
        if column is not None:
            quoted_column = source.quoted_in_text(column.name)
            quoted_table = source.quoted_in_text(table.name)
            query = sqlalchemy.text(f"SELECT max({quoted_column}) FROM {quoted_table}")
            highest = int(source.connection.execute(query).scalar() or 0)
            keys[table.name] = max(highest, source.reader.last_key(table))
    return keys


def set_last_keys(target: Engine, tables: Sequence[Table], keys: Mapping[str, int]) -> None:
    """Make each next key higher than any that was ever used, or the first one where none was."""
    for table in tables:
        column = key_column(table)
        if column is not None:
            target.writer.set_last_key(table, column, keys.get(table.name, 0))
