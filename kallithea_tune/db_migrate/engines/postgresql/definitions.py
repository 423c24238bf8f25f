"""Columns as PostgreSQL's catalogs define them."""

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
# Neither serial nor identity columns have another owner of their sequence.
COLUMNS = """
    SELECT relname::text, attname::text, format_type(atttypid, atttypmod), NOT attnotnull,
        attidentity <> '' OR EXISTS (
            SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'a'
                AND refclassid = 'pg_class'::regclass AND refobjid = attrelid
                AND refobjsubid = attnum AND pg_get_expr(adbin, adrelid)
                    = format('nextval(%L::regclass)', objid::regclass::text)),
        CASE WHEN attcollation = typcollation THEN ''
            ELSE (SELECT collname::text FROM pg_collation WHERE oid = attcollation) END,
        (SELECT array_position(conkey, attnum) FROM pg_constraint
            WHERE conrelid = attrelid AND contype = 'p')
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_type ON pg_type.oid = atttypid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
        AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum"""
# As format_type() writes them, without length and precision.
KINDS: Mapping[str, Kind] = {
    "smallint": Kind.integer,
    "integer": Kind.integer,
    "bigint": Kind.integer,
    "boolean": Kind.boolean,
    "real": Kind.number,
    "double precision": Kind.number,
    "numeric": Kind.decimal,
    "text": Kind.text,
    "character varying": Kind.text,
    "character": Kind.text,
    "timestamp without time zone": Kind.moment,
    "timestamp with time zone": Kind.instant,
    "date": Kind.date,
    "time without time zone": Kind.time,
    "bytea": Kind.binary,
}
_SIZE = re.compile(r"\((\d+)(?:,(-?\d+))?\)")


class Definitions(base.Definitions):
    """Reads the catalogs of the schema that the connection uses."""

    def read(self) -> Mapping[str, TableDefinition]:
        """Read all tables by one query."""
        cursor = self.cursor()
        cursor.execute(COLUMNS)
        return grouped(cursor.fetchall())

    def generic_type(self, table: TableDefinition, column: ColumnDefinition) -> TypeEngine:
        """Return the type by the name that the server has for it."""
        place = _SIZE.search(column.type)
        size, scale = place.groups() if place else (None, None)
        name = _SIZE.sub("", column.type)
        kind, length = KINDS.get(name), int(size or 0)
        if kind is None or kind is Kind.decimal and size and not 0 <= int(scale or 0) <= length:
            raise NotPortable(f"its type is {column.type}")
        if name == "character" and self._is_padded(table.name, column.name, length or 1):
            raise NotPortable(f"its type is {column.type}, which pads values with blanks")
        if kind is Kind.decimal and size:
            return of_kind(kind, length, int(scale or 0))
        return of_kind(kind, length if kind is Kind.text else None)

    def _is_padded(self, table: str, column: str, length: int) -> bool:
        return self.holds(
            f"SELECT EXISTS(SELECT 1 FROM {self.quoted(table)}"
            f" WHERE char_length({self.quoted(column)}::text) <> {length})"
        )

    def misfit(self, name: str, digits: int, scale: int) -> str:
        """Leave out what is not a number, for which there is a rule of its own."""
        numbers = f"{name}::text NOT IN ('NaN', 'Infinity', '-Infinity')"
        return f"({numbers} AND {super().misfit(name, digits, scale)})"
