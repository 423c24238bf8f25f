"""Rows out of the source, at one moment."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Iterator, Sequence, Tuple, cast

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base.connection import Connected
from kallithea_tune.db_migrate.values import Row

if TYPE_CHECKING:
    from sqlalchemy import Table

BATCH = 1000  # rows fetched at a time
WIDE_BATCH = 20  # the same where a row may have blobs, so that memory stays flat

# Pieces of a table: how many rows, and their text.
Lines = Iterator[Tuple[int, bytes]]


class Reader(Connected):
    """Reads tables through SQLAlchemy."""

    def begin_snapshot(self) -> None:
        """Begin a transaction in which every statement sees the same moment."""
        self.connection.execution_options(isolation_level="SERIALIZABLE")

    def join_snapshot(self, other: Reader) -> bool:
        """Begin such a transaction, of the moment of `other` where the result is True.

        Otherwise it may be a later one.
        """
        self.begin_snapshot()
        return False

    def change_marker(self) -> str:
        """Return a text that stays the same only while nobody writes; empty if there is none."""
        return ""

    def data_bytes(self, table: Table) -> int:
        """Return about how many bytes the rows of `table` take; 0 where unknown."""
        return 0

    def last_key(self, table: Table) -> int:
        """Return the greatest key ever generated for `table`; 0 where that is not recorded."""
        return 0

    def accept_invalid_utf8(self) -> None:
        """From now on have `rows` return invalid UTF-8 as surrogates, instead of failing."""

    def rows(self, table: Table, where: str = "") -> Iterator[Sequence[Row]]:
        """Yield rows in storage form, by primary key, in batches; `where` is a condition in SQL."""
        import sqlalchemy

        query = table.select().order_by(*table.primary_key.columns)
        if where:
            query = query.where(sqlalchemy.text(where.replace(":", r"\:")))
        result = self.connection.execution_options(stream_results=True).execute(query)
        try:
            for batch in values.batches(result, batch_size(table)):
                yield [tuple(map(values.stored, row)) for row in batch]
        finally:
            # What fails then fails because the statement did, which is known.
            with contextlib.suppress(Exception):
                result.close()

    def lines(self, table: Table, keep_nul: bool) -> Lines:
        """Yield all rows as text.

        Unless `keep_nul`, text may be cut at a NUL, which the target refuses anyway.
        """
        for batch in self.rows(table):
            yield len(batch), values.encode(batch)


def joined(lines: Sequence[Row]) -> bytes:
    """Join the lines that a query returned, one in each row."""
    return b"\n".join([line for (line,) in cast(Sequence[Tuple[bytes]], lines)]) + b"\n"


def batch_size(table: Table) -> int:
    """Return how many rows of a table are fetched at a time."""
    has_blobs = any(kind_of(column) is Kind.binary for column in table.columns)
    return WIDE_BATCH if has_blobs else BATCH
