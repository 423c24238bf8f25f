"""Rows into a SQLite file that nobody else has open, by executemany."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, Optional, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.types import TypeEngine


FLOAT_DIGITS = 15  # https://www.sqlite.org/floatingpoint.html


class Writer(base.Writer):
    """Writes by statements of its own."""

    constraints_later = False
    transactional_ddl = True
    character_count = "length"
    enforces_digits = False
    loses_negative_zero = True

    def column_type(self, column: Column) -> Optional[TypeEngine]:
        """Have the rowid as the key, all digits of decimals, and the zones of moments."""
        from sqlalchemy import types

        from kallithea_tune.db_migrate.engines.sqlite.exact_types import DecimalText, Instant

        kind = kind_of(column)
        if isinstance(column.type, types.BigInteger) and column.primary_key:
            return types.Integer()
        if kind is Kind.instant:
            return Instant(timezone=True)
        if kind is Kind.decimal and (column.type.precision or FLOAT_DIGITS + 1) > FLOAT_DIGITS:
            return DecimalText(column.type.precision, column.type.scale)
        return None

    def risk(self, column: Column) -> str:
        """Return nothing: SQLite accepts any value."""
        return ""

    def begin_load(self) -> None:
        """Drop what protects a file that would be thrown away after a crash anyway."""
        cursor = self.cursor()
        for pragma in (
            "foreign_keys = OFF",
            "synchronous = OFF",
            "journal_mode = MEMORY",
            "cache_size = -32000",
        ):
            cursor.execute("PRAGMA " + pragma).fetchall()

    def insert(self, table: Table, rows: Iterator[Sequence[Row]]) -> None:
        """Write rows by executemany."""
        names = ", ".join(self.quoted(column.name) for column in table.columns)
        marks = ", ".join("?" for _ in table.columns)
        statement = f"INSERT INTO {self.quoted(table.name)} ({names}) VALUES ({marks})"
        cursor = self.cursor()
        for batch in rows:
            cursor.executemany(statement, batch)

    def set_last_key(self, table: Table, column: Column, key: int) -> None:
        """Write ``sqlite_sequence``, which exists when the table has AUTOINCREMENT."""
        if not table.dialect_options["sqlite"]["autoincrement"]:
            return
        cursor = self.cursor()
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = ?", [table.name])
        if key:
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", [table.name, key]
            )

    def end_changes(self, tables: Sequence[Table]) -> None:
        """Check references, which SQLite only enforces in sessions that ask for it."""
        for table in tables:
            query = f"PRAGMA foreign_key_check({self.quoted(table.name)})"
            orphan = self.cursor().execute(query).fetchone()
            if orphan:
                raise TuneError(f"{table.name} refers to a row that is not in {orphan[2]}")

    def rows_written(self) -> Optional[int]:
        """Return the count of this connection."""
        return int(self.cursor().connection.total_changes)

    def analyze(self, tables: Sequence[Table]) -> None:
        """Run ANALYZE."""
        self.cursor().execute("ANALYZE")
