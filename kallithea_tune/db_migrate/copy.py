"""The streaming copy of one table after another, with flat memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterator, Optional, Sequence

from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base.reading import Lines
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.engines import base

# Receives the number of rows copied since the last call.
Count = Callable[[int], None]
# Changes or drops rows in storage form while they are copied.
Amend = Callable[[Sequence[Row]], Sequence[Row]]


def copy_table(
    reader: base.Reader,
    writer: base.Writer,
    table: Table,
    into: Table,
    count: Optional[Count] = None,
    amend: Optional[Amend] = None,
) -> int:
    """Copy all rows of `table` to `into`, which is empty, and return how many were written.

    Raises what the drivers raise; the rows written until then are left to the transaction.
    """
    written = 0

    def counted_rows() -> Iterator[Sequence[Row]]:
        nonlocal written
        for batch in reader.rows(table):
            interruption.check()
            kept = amend(batch) if amend else batch
            written += len(kept)
            yield kept
            if count:
                count(len(batch))

    def counted_lines() -> Lines:
        nonlocal written
        for number, text in reader.lines(table, writer.keeps_nul):
            interruption.check()
            written += number
            yield number, text
            if count:
                count(number)

    if not writer.can_load():
        writer.insert(into, counted_rows())
    elif amend:
        writer.load(into, ((len(rows), values.encode(rows)) for rows in counted_rows()))
    else:
        writer.load(into, counted_lines())
    return written
