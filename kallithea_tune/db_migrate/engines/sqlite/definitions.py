"""Columns as SQLite's pragmas and its CREATE TABLE statements define them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Mapping, Union

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.definitions import (
    ColumnDefinition,
    NotPortable,
    TableDefinition,
    of_kind,
)
from kallithea_tune.db_migrate.engines.sqlite.create_table import collations

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

DECIMAL_TEXT = "DECIMAL_TEXT"  # the type of decimals that are stored as text, to keep all digits
INSTANT = "TIMESTAMP WITH TIME ZONE"
NAMES: Mapping[str, Kind] = {
    "BOOL": Kind.boolean,
    "BOOLEAN": Kind.boolean,
    "DATETIME": Kind.moment,
    "TIMESTAMP": Kind.moment,
    "TIMESTAMP WITHOUT TIME ZONE": Kind.moment,
    INSTANT: Kind.instant,
    "TIMESTAMPTZ": Kind.instant,
    "DATE": Kind.date,
    "TIME": Kind.time,
    "NUMERIC": Kind.decimal,
    "DECIMAL": Kind.decimal,
    DECIMAL_TEXT: Kind.decimal,
}
# https://www.sqlite.org/datatype3.html, section 3.1: the first that is contained.
AFFINITIES = (
    ("INT", Kind.integer),
    ("CHAR", Kind.text),
    ("CLOB", Kind.text),
    ("TEXT", Kind.text),
    ("BLOB", Kind.binary),
    ("REAL", Kind.number),
    ("FLOA", Kind.number),
    ("DOUB", Kind.number),
)
# What typeof() says.
STORED: Mapping[str, Kind] = {
    "integer": Kind.integer,
    "real": Kind.number,
    "text": Kind.text,
    "blob": Kind.binary,
}
PLACE = 5  # in the primary key, of a row of table_info
_SIZE = re.compile(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")


class Definitions(base.Definitions):
    """Reads the tables of the main file."""

    def read(self) -> Mapping[str, TableDefinition]:
        """Read all tables but SQLite's own."""
        tables = (
            self.cursor()
            .execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
            .fetchall()
        )
        return {
            name: self._table(name, sql) for name, sql in tables if not name.startswith("sqlite_")
        }

    def _table(self, name: str, sql: str) -> TableDefinition:
        rows = self.cursor().execute(f"PRAGMA table_info({self.quoted(name)})").fetchall()
        keys = [row for row in rows if row[PLACE]]
        indexes = self.cursor().execute(f"PRAGMA index_list({self.quoted(name)})").fetchall()
        # The key is an alias of the rowid unless it has an index of its own, as it does WITHOUT
        # ROWID, and when it is declared as INTEGER PRIMARY KEY DESC.
        has_index = any(row[3] == "pk" for row in indexes)
        is_rowid = len(keys) == 1 and keys[0][2].upper() == "INTEGER" and not has_index
        declared = collations(sql)
        columns = tuple(
            ColumnDefinition(
                column, type_, not required, is_rowid and bool(place), declared.get(column, "")
            )
            for _, column, type_, required, _, place in rows
        )
        keys.sort(key=lambda row: row[PLACE])
        return TableDefinition(name, columns, tuple(row[1] for row in keys))

    def generic_type(self, table: TableDefinition, column: ColumnDefinition) -> TypeEngine:
        """Return the type that is declared, or that of all values where it says nothing."""
        place = _SIZE.search(column.type)
        size, scale = place.groups() if place else (None, None)
        name = " ".join(_SIZE.sub("", column.type).upper().split())
        kind = NAMES.get(name) or next((kind for part, kind in AFFINITIES if part in name), None)
        kind = kind or self._kind_of_values(table.name, column)
        if kind is Kind.decimal and size:
            return of_kind(kind, int(size), int(scale or 0))
        return of_kind(kind, int(size) if kind is Kind.text and size else None)

    def _kind_of_values(self, table: str, column: ColumnDefinition) -> Kind:
        name = self.quoted(column.name)
        query = f"SELECT DISTINCT typeof({name}) FROM {self.quoted(table)} WHERE {name} NOTNULL"
        found = sorted(row[0] for row in self.cursor().execute(query))
        if len(found) > 1:
            declared = f"its type is {column.type}" if column.type else "it has no type"
            raise NotPortable(
                f"{declared}, and its values are of several types: {', '.join(found)}"
            )
        return STORED[found[0]] if found else Kind.text

    def misfit(self, name: str, digits: int, scale: int) -> str:
        """Count digits in Python, since SQLite calculates with floats."""
        self.connection.connection.create_function("tune_misfit", 3, _is_misfit)
        return f"tune_misfit({name}, {digits}, {scale})"


def _is_misfit(value: Union[None, int, float, str, bytes], digits: int, scale: int) -> bool:
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value))
    except ArithmeticError:
        # NULL, or what is not a number, for which there is a rule of its own.
        return False
    if not number.is_finite():
        return False
    exponent = number.normalize().as_tuple().exponent
    return bool(abs(number) >= Decimal(10) ** digits) or -int(exponent) > scale
