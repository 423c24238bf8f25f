"""PostgreSQL: COPY in both directions, one transaction for everything."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Iterator, Sequence

from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base import Dialect, Lines, batch_size
from kallithea_tune.db_migrate.engines.stream import Reader, pulled
from kallithea_tune.db_migrate.values import Kind, Row

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

FORMAT = "FORMAT csv, QUOTE '''', NULL 'NULL', ENCODING 'UTF8'"
OLDEST = 100000  # server_version_num
# How a column is read in storage form; the others need nothing.
STORED = {
    Kind.boolean: "{0}::int",
    # Infinity and years that Python does not have come as they are, to be seen to be none.
    Kind.moment: "CASE WHEN {0} >= '0001-01-01' AND {0} < '10000-01-01'"
    " THEN to_char({0}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {0}::text END",
    Kind.date: "{0}::text",
    Kind.time: "to_char({0}::interval, 'HH24:MI:SS.US')",
    Kind.text: "{0}::text",
}


class PostgreSQL(Dialect):
    """PostgreSQL through psycopg2."""

    __dialect__ = "postgresql"
    transactional_ddl = True
    keeps_nul = False
    strict = True
    # 1,000,000 rows: 3.0 s into a table with a primary key, 1.6 s into one without, 0.3 s to add
    # it.
    primary_key_later = True

    def begin_snapshot(self, connection: Connection) -> None:
        """Begin a repeatable-read transaction that cannot write."""
        cursor = self.cursor(connection)
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT 1")

    def marker(self, connection: Connection) -> str:
        """Return which transactions have ended; the same text means that none wrote anything
        meanwhile.
        """
        cursor = self.cursor(connection)
        cursor.execute("SELECT txid_current_snapshot()::text")
        return str(cursor.fetchone()[0])

    def data_bytes(self, connection: Connection, table: Table) -> int:
        """Return the size of the table with its out-of-line values, without indexes."""
        cursor = self.cursor(connection)
        cursor.execute("SELECT pg_table_size(%s::regclass)", [self.quoted(connection, table.name)])
        return int(cursor.fetchone()[0])

    def last_key(self, connection: Connection, table: Table) -> int:
        """Return the last value that the sequence of the key gave."""
        cursor, column = self.cursor(connection), next(iter(table.primary_key.columns))
        cursor.execute(
            "SELECT pg_get_serial_sequence(%s, %s)",
            [self.quoted(connection, table.name), column.name],
        )
        sequence = cursor.fetchone()[0]
        if sequence is None:
            return 0
        cursor.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")
        return int(cursor.fetchone()[0])

    def rows(
        self, connection: Connection, table: Table, where: str = ""
    ) -> Iterator[Sequence[Row]]:
        """Yield rows through a cursor on the server."""
        cursor = connection.connection.cursor("kallithea_tune_" + uuid.uuid4().hex)
        try:
            cursor.execute(self._query(connection, table, where))
            for batch in values.batches(cursor, batch_size(table)):
                yield [tuple(map(values.stored, row)) for row in batch]
        finally:
            cursor.close()

    def lines(self, connection: Connection, table: Table, keep_nul: bool) -> Lines:
        """Yield all rows as COPY writes them."""
        statement = f"COPY ({self._query(connection, table)}) TO STDOUT ({FORMAT}, FORCE_QUOTE *)"
        return pulled(lambda file: self.cursor(connection).copy_expert(statement, file))

    def _query(self, connection: Connection, table: Table, where: str = "") -> str:
        columns = [
            STORED.get(values.kind_of(column), "{0}").format(self.quoted(connection, column.name))
            for column in table.columns
        ]
        order = ", ".join(
            self.quoted(connection, column.name) for column in table.primary_key.columns
        )
        query = "SELECT {} FROM {}".format(", ".join(columns), self.quoted(connection, table.name))
        return (
            query + (" WHERE " + where if where else "") + (" ORDER BY " + order if order else "")
        )

    def lock(self, connection: Connection, name: str) -> bool:
        """Take an advisory lock, which is one of this database."""
        cursor = self.cursor(connection)
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [name])
        return bool(cursor.fetchone()[0])

    def risk(self, column: Column) -> str:
        """Say that PostgreSQL's text holds no NUL, besides what is common to all."""
        said = super().risk(column)
        if values.kind_of(column) is Kind.text:
            said += "; " * bool(said) + "text with a NUL is refused"
        return said

    def unfit(self, connection: Connection) -> str:
        """Require PostgreSQL 10, and a database in UTF-8, as every other encoding lacks
        characters.
        """
        raw = connection.connection
        cursor = self.cursor(connection)
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
            " current_setting('server_encoding')"
        )
        version, number, encoding = cursor.fetchone()
        raw.rollback()
        if number < OLDEST:
            return f"PostgreSQL {version} is too old, 10 is needed"
        if encoding != "UTF8":
            return f"its encoding is {encoding}; make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        return ""

    def load(self, connection: Connection, table: Table, lines: Lines) -> None:
        """Write rows by COPY."""
        names = ", ".join(self.quoted(connection, column.name) for column in table.columns)
        self.cursor(connection).copy_expert(
            f"COPY {self.quoted(connection, table.name)} ({names}) FROM STDIN ({FORMAT})",
            Reader(lines),
        )

    def set_last_key(self, connection: Connection, table: Table, column: Column, key: int) -> None:
        """Set the sequence of the key."""
        self.cursor(connection).execute(
            "SELECT setval(pg_get_serial_sequence(%s, %s), %s, %s)",
            [self.quoted(connection, table.name), column.name, max(key, 1), key > 0],
        )

    def begin_changes(self, connection: Connection) -> None:
        """Put the checks of foreign keys off."""
        self._alter_foreign_keys(connection, "DEFERRABLE INITIALLY DEFERRED")
        self.cursor(connection).execute("SET CONSTRAINTS ALL DEFERRED")

    def end_changes(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Check them, and have everything as it was."""
        self.cursor(connection).execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._alter_foreign_keys(connection, "NOT DEFERRABLE")

    def _alter_foreign_keys(self, connection: Connection, how: str) -> None:
        cursor = self.cursor(connection)
        cursor.execute(
            "SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint"
            " WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
        )
        for table, name in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} ALTER CONSTRAINT {name} {how}")

    def analyze(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Run ANALYZE, which goes inside a transaction."""
        cursor = self.cursor(connection)
        for table in tables:
            cursor.execute(f"ANALYZE {self.quoted(connection, table.name)}")
