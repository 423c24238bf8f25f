"""Rows out of PostgreSQL, by COPY."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Iterator, Mapping, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.reading import Lines, batch_size
from kallithea_tune.db_migrate.engines.base.stream import pulled
from kallithea_tune.db_migrate.values import Row

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

COPY_FORMAT = "FORMAT csv, QUOTE '''', NULL 'NULL', ENCODING 'UTF8'"
# How a column is read in storage form; the others need nothing.
STORED: Mapping[Kind, str] = {
    Kind.boolean: "{0}::int",
    # Infinity and years that Python does not have come as they are, and are found to be invalid.
    Kind.moment: "CASE WHEN {0} >= '0001-01-01' AND {0} < '10000-01-01'"
    " THEN to_char({0}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {0}::text END",
    Kind.instant: "CASE WHEN {0} >= '0001-01-01 00:00:00Z' AND {0} < '10000-01-01 00:00:00Z'"
    " THEN to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00:00') ELSE {0}::text END",
    # Singles are written with fewer digits than it takes to be the same double.
    Kind.number: "{0}::float8",
    Kind.date: "{0}::text",
    Kind.time: "to_char({0}::interval, 'HH24:MI:SS.US')",
    Kind.text: "{0}::text",
}


class Reader(base.Reader):
    """Reads through cursors on the server and COPY."""

    def begin_snapshot(self) -> None:
        """Begin a repeatable-read transaction that cannot write."""
        cursor = self.cursor()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT 1")

    def join_snapshot(self, other: base.Reader) -> bool:
        """Import the snapshot that `other` exports."""
        exporting, cursor = other.cursor(), self.cursor()
        exporting.execute("SELECT pg_export_snapshot()")
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET TRANSACTION SNAPSHOT %s", exporting.fetchone())
        return True

    def change_marker(self) -> str:
        """Return which transactions have ended; the same text means that none wrote meanwhile."""
        cursor = self.cursor()
        cursor.execute("SELECT txid_current_snapshot()::text")
        return str(cursor.fetchone()[0])

    def data_bytes(self, table: Table) -> int:
        """Return the size of the table with its out-of-line values, without indexes."""
        cursor = self.cursor()
        cursor.execute("SELECT pg_table_size(%s::regclass)", [self.quoted(table.name)])
        return int(cursor.fetchone()[0])

    def last_key(self, table: Table) -> int:
        """Return the last value that the sequence of the key generated."""
        cursor, column = self.cursor(), next(iter(table.primary_key.columns))
        cursor.execute(
            "SELECT pg_get_serial_sequence(%s, %s)", [self.quoted(table.name), column.name]
        )
        sequence = cursor.fetchone()[0]
        if sequence is None:
            return 0
        cursor.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")
        return int(cursor.fetchone()[0])

    def rows(self, table: Table, where: str = "") -> Iterator[Sequence[Row]]:
        """Yield rows through a cursor on the server."""
        cursor = self.connection.connection.cursor("kallithea_tune_" + uuid.uuid4().hex)
        try:
            cursor.execute(self._query(table, where))
            for batch in values.batches(cursor, batch_size(table)):
                yield [tuple(map(values.stored, row)) for row in batch]
        finally:
            # What fails then fails because the statement did, which is known.
            with contextlib.suppress(Exception):
                cursor.close()

    def lines(self, table: Table, keep_nul: bool) -> Lines:
        """Yield rows as COPY writes them."""
        query = self._query(table)
        statement = f"COPY ({query}) TO STDOUT ({COPY_FORMAT}, FORCE_QUOTE *)"
        return pulled(lambda file: self.cursor().copy_expert(statement, file))

    def _query(self, table: Table, where: str = "") -> str:
        columns = ", ".join(map(self._stored, table.columns))
        order = ", ".join(self.quoted(column.name) for column in table.primary_key.columns)
        return (
            f"SELECT {columns} FROM {self.quoted(table.name)}"
            + (f" WHERE {where}" if where else "")
            + (f" ORDER BY {order}" if order else "")
        )

    def _stored(self, column: Column) -> str:
        return STORED.get(kind_of(column), "{0}").format(self.quoted(column.name))
