"""The keys that an engine generates: the highest ones so far, and whether there is a next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Sequence

from kallithea_tune.db.tables import key_column
from kallithea_tune.db_migrate.engines import Engine
from kallithea_tune.db_migrate.engines.base.column_limits import WIDEST
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

    from kallithea_tune.db_migrate.plan import Transfer


def last_keys(transfer: Transfer, restarts: Callable[[str], bool]) -> dict[str, int]:
    """Return the key after which the target goes on, of each table whose keys the engine generates.

    This is the highest one in the target, or the highest one that the source remembers. A source
    may have had keys that the column of the target cannot store: `restarts` tells for which tables
    these do not count. Raises TuneError for another table without a next key.
    """
    keys = {}
    for table, column, greatest in _generated(transfer):
        used = transfer.source.reader.last_key(table)
        if used >= greatest and restarts(table.name):
            used = 0
        keys[table.name] = max(highest_key(transfer.target, column), used)
        if keys[table.name] >= greatest:
            raise TuneError(
                f"{table.name} has no next key: the last one is {keys[table.name]}, and"
                f" {column.name} of the target holds keys up to {greatest} only"
            )
    return keys


def any_exhausted(transfer: Transfer) -> bool:
    """Tell whether a key of the source, of a row or a former one, may be the target's last one."""
    source = transfer.source
    return any(
        max(highest_key(source, column), source.reader.last_key(table)) >= greatest
        for table, column, greatest in _generated(transfer)
    )


def _generated(transfer: Transfer) -> Iterator[tuple[Table, Column, int]]:
    """Yield tables of the source, with the generated key of the target and the greatest one."""
    limits = transfer.target.column_limits()
    for table, copy in transfer.pairs:
        column = key_column(copy)
        if column is not None:
            yield table, column, (limits.of(column).integers or WIDEST)[1]


def highest_key(engine: Engine, column: Column) -> int:
    """Return the highest key in a table, or 0."""
    import sqlalchemy

    name, table = engine.quoted_in_text(column.name), engine.quoted_in_text(column.table.name)
    query = sqlalchemy.text(f"SELECT max({name}) FROM {table}")
    return int(engine.connection.execute(query).scalar() or 0)


def set_last_keys(target: Engine, tables: Sequence[Table], keys: Mapping[str, int]) -> None:
    """Make each next key higher than that in `keys`, or the first one where there is none."""
    for table in tables:
        column = key_column(table)
        if column is not None:
            target.writer.set_last_key(table, column, keys.get(table.name, 0))
