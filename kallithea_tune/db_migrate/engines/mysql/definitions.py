"""Columns as the information schema of MariaDB and MySQL defines them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Mapping

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.definitions import (
    ColumnDefinition,
    NotPortable,
    TableDefinition,
    grouped,
    of_kind,
)

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

# The fields are those of a definition, after the table's name, and the place in its primary key.
COLUMNS = """
    SELECT c.table_name, c.column_name, CAST(c.column_type AS CHAR), c.is_nullable = 'YES',
        c.extra LIKE '%auto_increment%',
        CASE WHEN c.collation_name = t.table_collation OR c.collation_name LIKE '%\\_bin'
            THEN '' ELSE IFNULL(c.collation_name, '') END,
        s.seq_in_index
    FROM information_schema.columns AS c
        JOIN information_schema.tables AS t
        ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        LEFT JOIN information_schema.statistics AS s
        ON s.table_schema = c.table_schema AND s.table_name = c.table_name
            AND s.column_name = c.column_name AND s.index_name = 'PRIMARY'
    WHERE c.table_schema = DATABASE() AND t.table_type NOT LIKE '%VIEW%'
    ORDER BY c.table_name, c.ordinal_position"""
KINDS: Mapping[str, Kind] = {
    "tinyint": Kind.integer,
    "smallint": Kind.integer,
    "mediumint": Kind.integer,
    "int": Kind.integer,
    "bigint": Kind.integer,
    "year": Kind.integer,
    "float": Kind.number,
    "double": Kind.number,
    "decimal": Kind.decimal,
    "char": Kind.text,
    "varchar": Kind.text,
    "tinytext": Kind.text,
    "text": Kind.text,
    "mediumtext": Kind.text,
    "longtext": Kind.text,
    "datetime": Kind.moment,
    "timestamp": Kind.instant,
    "date": Kind.date,
    "time": Kind.time,
    "binary": Kind.binary,
    "varbinary": Kind.binary,
    "tinyblob": Kind.binary,
    "blob": Kind.binary,
    "mediumblob": Kind.binary,
    "longblob": Kind.binary,
}
EXACT = "utf8mb4_nopad_bin"  # of MariaDB, which unlike MySQL's _bin heeds blanks at the end
_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?(.*)", re.DOTALL)


class Definitions(base.Definitions):
    """Reads the information schema of the database that the connection uses."""

    def read(self) -> Mapping[str, TableDefinition]:
        """Read all tables by one query."""
        cursor = self.cursor()
        cursor.execute(COLUMNS)
        return grouped(cursor.fetchall())

    def generic_type(self, table: TableDefinition, column: ColumnDefinition) -> TypeEngine:
        """Return the type by the server's name for it; yes and no are those of one digit."""
        match = _TYPE.fullmatch(column.type)
        name, size, scale, rest = match.groups() if match else (column.type, None, None, "")
        kind = KINDS.get(name)
        if kind is None or name == "bigint" and "unsigned" in rest or "zerofill" in rest:
            raise NotPortable(f"its type is {column.type}")
        if kind is Kind.decimal:
            return of_kind(kind, int(size or 10), int(scale or 0))
        if column.type == "tinyint(1)" and not self._has(table, column, "NOT IN (0, 1)"):
            return of_kind(Kind.boolean)
        if name == "year" and self._has(table, column, "= 0"):
            raise NotPortable("its type is year, and it contains the year 0000")
        return of_kind(kind, int(size) if kind is Kind.text and size else None)

    def exact(self, name: str) -> str:
        """Set a collation; most ignore case."""
        return f"CONVERT({self.quoted(name)} USING utf8mb4) COLLATE {EXACT}"

    def _has(self, table: TableDefinition, column: ColumnDefinition, test: str) -> bool:
        name = self.quoted(column.name)
        return self.holds(
            f"SELECT EXISTS(SELECT 1 FROM {self.quoted(table.name)} WHERE {name} {test})"
        )
