"""Rows out of MariaDB and MySQL, written as text by the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

from kallithea_tune.db.interruptible import Canceller
from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.reading import Lines, batch_size, joined
from kallithea_tune.db_migrate.engines.mysql.connection import Connected
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

# How a column is read in storage form; the others need nothing. A % is doubled for the drivers.
STORED: Mapping[Kind, str] = {
    Kind.moment: "DATE_FORMAT({}, '%%Y-%%m-%%d %%H:%%i:%%s.%%f')",
    # Sessions are in UTC.
    Kind.instant: "DATE_FORMAT({}, '%%Y-%%m-%%d %%H:%%i:%%s.%%f+00:00')",
    Kind.date: "CAST({} AS CHAR)",
    Kind.time: "TIME_FORMAT({}, '%%H:%%i:%%s.%%f')",
    # Of a FLOAT only six digits would be written.
    Kind.number: "CAST({} AS DOUBLE)",
}
NUMBERS = (Kind.number, Kind.decimal)
# A line may take this part of max_allowed_packet; CONCAT gives NULL for what takes more.
PACKET_SHARE = 4


class Reader(Connected, base.Reader):
    """Reads through unbuffered cursors."""

    def begin_snapshot(self) -> None:
        """Begin InnoDB's consistent snapshot."""
        cursor = self.cursor()
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def change_marker(self) -> str:
        """Return when each table was last written to, once that second is over."""
        cursor = self.cursor()
        cursor.execute(
            "SELECT NOW() - INTERVAL 1 SECOND > MAX(update_time) FROM information_schema.tables"
            " WHERE table_schema = DATABASE()"
        )
        if cursor.fetchone()[0] == 0:
            interruption.sleep(2)
        # The times are forgotten when the server stops, and a second that has not passed yet is
        # equal to no other one.
        cursor.execute(
            "SELECT table_name, update_time,"
            " IF(update_time < NOW() - INTERVAL 1 SECOND, '', NOW(6))"
            " FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name"
        )
        return repr(tuple(map(repr, cursor.fetchall())))

    def data_bytes(self, table: Table) -> int:
        """Return InnoDB's estimate, which leaves out indexes."""
        cursor = self.cursor()
        cursor.execute(
            "SELECT data_length FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = %s",
            [table.name],
        )
        row = cursor.fetchone()
        return int(row[0] or 0) if row else 0

    def last_key(self, table: Table) -> int:
        """Return the key before AUTO_INCREMENT in SHOW CREATE TABLE, which is never stale."""
        cursor = self.cursor()
        cursor.execute(f"SHOW CREATE TABLE {self.quoted(table.name)}")
        option = re.search(r"\) ENGINE=.* AUTO_INCREMENT=(\d+)", str(cursor.fetchone()[1]))
        return int(option.group(1)) - 1 if option else 0

    def rows(self, table: Table, where: str = "") -> Iterator[Sequence[Row]]:
        """Yield rows as the server sends them."""
        has_numbers = any(kind_of(column) in NUMBERS for column in table.columns)
        columns = ", ".join(map(self._stored, table.columns))
        for batch in self._streamed(table, columns, where):
            yield [tuple(map(values.stored, row)) for row in batch] if has_numbers else batch

    def lines(self, table: Table, keep_nul: bool) -> Lines:
        """Yield rows as text that the server writes."""
        if self._has_huge(table):
            yield from super().lines(table, keep_nul)
            return
        literals = ", ',', ".join(map(self._literal, table.columns))
        for batch in self._streamed(table, f"CAST(CONCAT({literals}) AS BINARY)"):
            yield len(batch), joined(batch)

    def _streamed(self, table: Table, columns: str, where: str = "") -> Iterator[Sequence[Row]]:
        cursors = self.connection.dialect.dbapi.cursors
        cursor = self.connection.connection.cursor(cursors.SSCursor)
        name = self.quoted_with_arguments
        order = ", ".join(name(column.name) for column in table.primary_key.columns)
        query = f"SELECT {columns} FROM {name(table.name)}"
        if where:
            query += " WHERE " + where.replace("%", "%%")
        if order:
            query += f" ORDER BY {order}"
        canceller = Canceller(self.connection)
        try:
            # The empty arguments have both drivers read %% as %.
            cursor.execute(query, ())
            yield from values.batches(cursor, batch_size(table))
        except GeneratorExit:
            # On closing, the drivers read all other rows: PyMySQL 30,000 in a second.
            canceller.request()
            raise
        finally:
            _close(cursor)

    def _stored(self, column: Column) -> str:
        form = STORED.get(kind_of(column), "{}")
        return form.format(self.quoted_with_arguments(column.name))

    def _literal(self, column: Column) -> str:
        name, kind = self.quoted_with_arguments(column.name), kind_of(column)
        if kind is Kind.binary:
            return rf"IF({name} IS NULL, 'NULL', CONCAT('\\x', HEX({name})))"
        if kind is Kind.text:
            return f"IFNULL(CONCAT('''', REPLACE({name}, '''', ''''''), ''''), 'NULL')"
        return f"IFNULL(CONCAT('''', {self._stored(column)}, ''''), 'NULL')"

    def _has_huge(self, table: Table) -> bool:
        cursor = self.cursor()
        cursor.execute("SELECT @@max_allowed_packet")
        most = int(cursor.fetchone()[0]) // PACKET_SHARE
        name = self.quoted_with_arguments
        columns = [name(column.name) for column in table.columns if is_unbounded(column)]
        if not columns or self.data_bytes(table) < most:
            return False
        size = " + ".join(f"IFNULL(LENGTH({column}), 0)" for column in columns)
        cursor.execute(f"SELECT EXISTS(SELECT 1 FROM {name(table.name)} WHERE {size} > {most})", ())
        return bool(cursor.fetchone()[0])


def is_unbounded(column: Column) -> bool:
    """Tell whether a value of `column` may be of any size."""
    kind = kind_of(column)
    return kind is Kind.binary or kind is Kind.text and not getattr(column.type, "length", None)


def _close(cursor: Any) -> None:
    """Close a cursor; what fails then fails because the statement did, which is known."""
    try:
        cursor.close()
    except Exception:
        # PyMySQL would try twice more, on a socket that it has closed itself, when both are gone.
        result = getattr(cursor, "_result", None)
        if result is not None:
            cursor.connection, result.unbuffered_active = None, False
