"""The streaming copy of one table after another, whose memory does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterator, Optional, Sequence

from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base import Dialect, Lines
from kallithea_tune.db_migrate.values import Row

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

# Told the number of rows that went over since the last call.
Count = Callable[[int], None]
# Changes or drops rows in storage form on their way.
Amend = Callable[[Sequence[Row]], Sequence[Row]]


class End:
    """One end of the migration: a connection, and what is known about its engine."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self.connection, self.dialect = connection, dialect


def copy_table(
    source: End, target: End, table: Table, into: Table, count: Count, amend: Optional[Amend] = None
) -> int:
    """Copy all rows of `table` to `into`, which is empty, and return how many were written.

    Raises what the drivers raise; the rows written until then are the target's transaction's to
    take back.
    """
    written = 0

    def counted_rows() -> Iterator[Sequence[Row]]:
        nonlocal written
        for batch in source.dialect.rows(source.connection, table):
            kept = amend(batch) if amend else batch
            written += len(kept)
            yield kept
            count(len(batch))

    def counted_lines() -> Lines:
        nonlocal written
        for number, text in source.dialect.lines(
            source.connection, table, target.dialect.keeps_nul
        ):
            written += number
            yield number, text
            count(number)

    if not target.dialect.takes_lines(target.connection):
        target.dialect.insert(target.connection, into, counted_rows())
    elif amend:
        target.dialect.load(
            target.connection, into, ((len(rows), values.encode(rows)) for rows in counted_rows())
        )
    else:
        target.dialect.load(target.connection, into, counted_lines())
    return written
