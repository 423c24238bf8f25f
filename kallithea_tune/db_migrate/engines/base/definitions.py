"""Columns as their database defines them, and the types that all engines have for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Mapping, Optional, Sequence

from kallithea_tune.db.kinds import Kind, kind_of_type
from kallithea_tune.db_migrate.engines.base.connection import Connected

if TYPE_CHECKING:
    from sqlalchemy.engine.reflection import Inspector
    from sqlalchemy.types import TypeEngine


class NotPortable(Exception):
    """Says, as the end of a sentence, why another engine cannot have something as it is."""


@dataclass(frozen=True)
class ColumnDefinition:
    """A column; `type` is written as in its engine.

    `counts` is set where the engine generates the next number, and `collation` is empty where it is
    the usual one.
    """

    name: str
    type: str
    nullable: bool
    counts: bool = False
    collation: str = ""


@dataclass(frozen=True)
class TableDefinition:
    """The columns of a table in their order, and those of its primary key."""

    name: str
    columns: tuple[ColumnDefinition, ...]
    primary_key: tuple[str, ...] = ()


class Definitions(Connected):
    """Reads the definitions of all tables, as SQLAlchemy's inspector describes them."""

    _read: Optional[Mapping[str, TableDefinition]] = None

    def tables(self) -> Mapping[str, TableDefinition]:
        """Return all tables by name; they are read once."""
        if self._read is None:
            self._read = self.read()
        return self._read

    def read(self) -> Mapping[str, TableDefinition]:
        """Read all tables."""
        import sqlalchemy

        inspector = sqlalchemy.inspect(self.connection)
        return {name: _inspected(inspector, name) for name in inspector.get_table_names()}

    def generic_type(self, table: TableDefinition, column: ColumnDefinition) -> TypeEngine:
        """Return the type that has the values of `column` in every engine.

        Raises NotPortable where there is none.
        """
        import sqlalchemy

        inspected = sqlalchemy.inspect(self.connection).get_columns(table.name)
        found = next(item["type"] for item in inspected if item["name"] == column.name)
        kind = kind_of_type(found)
        if kind is Kind.decimal:
            return of_kind(kind, found.precision, found.scale)
        return of_kind(kind, getattr(found, "length", None) if kind is Kind.text else None)

    def misfits(self, table: str, column: str, digits: int, scale: int) -> bool:
        """Whether a decimal column has values of more digits before or after the point."""
        query = (
            f"SELECT EXISTS(SELECT 1 FROM {self.quoted(table)} WHERE "
            f"{self.misfit(self.quoted(column), digits, scale)})"
        )
        return self.holds(query)

    def misfit(self, name: str, digits: int, scale: int) -> str:
        """Return the SQL for values of a decimal column that have more digits."""
        return f"({name} <> round({name}, {scale}) OR abs({name}) >= 1{'0' * digits})"

    def has_negative_zero(self, table: str, name: str) -> bool:
        """Whether a quoted column of floats has -0.0."""
        condition = f"{name} = 0 AND CAST({name} AS CHAR(2)) LIKE '-%'"
        return self.holds(f"SELECT EXISTS(SELECT 1 FROM {table} WHERE {condition})")

    def breaks(self, table: str, columns: Iterable[str], texts: Sequence[str], check: str) -> bool:
        """Whether rows do not meet a check where the `texts` are compared byte by byte."""
        exact = ", ".join(
            f"{self.exact(name) if name in texts else self.quoted(name)} AS {self.quoted(name)}"
            for name in columns
        )
        rows = f"(SELECT {exact} FROM {self.quoted(table)}) AS some_rows"
        return self.holds(f"SELECT EXISTS(SELECT 1 FROM {rows} WHERE NOT ({check}))")

    def exact(self, name: str) -> str:
        """Have texts in a column compared byte by byte."""
        return self.quoted(name)

    def holds(self, query: str) -> bool:
        """Return what a query for one yes or no finds."""
        cursor = self.cursor()
        cursor.execute(query)
        return bool(cursor.fetchone()[0])


def of_kind(kind: Kind, size: Optional[int] = None, scale: Optional[int] = None) -> TypeEngine:
    """Return the type of a kind of values; `size` is a length, or the digits of a decimal."""
    from sqlalchemy import types

    if kind is Kind.text:
        return types.Unicode(size) if size else types.UnicodeText()
    if kind is Kind.decimal:
        return types.Numeric(size, scale)
    return {
        Kind.integer: types.BigInteger,
        Kind.boolean: lambda: types.Boolean(create_constraint=False),
        Kind.number: lambda: types.Float(53),
        Kind.moment: types.DateTime,
        Kind.instant: lambda: types.DateTime(timezone=True),
        Kind.date: types.Date,
        Kind.time: types.Time,
        Kind.binary: types.LargeBinary,
    }[kind]()


def _inspected(inspector: Inspector, name: str) -> TableDefinition:
    columns = tuple(
        ColumnDefinition(item["name"], str(item["type"]), bool(item["nullable"]))
        for item in inspector.get_columns(name)
    )
    return TableDefinition(
        name, columns, tuple(inspector.get_pk_constraint(name)["constrained_columns"])
    )


def grouped(rows: Iterable[Sequence[object]]) -> dict[str, TableDefinition]:
    """Make tables of rows: table, the fields of a column, and its place in the primary key."""
    columns: dict[str, list[ColumnDefinition]] = {}
    keys: dict[str, dict[int, str]] = {}
    for table, name, declared, nullable, counts, collation, place in rows:
        column = ColumnDefinition(
            str(name), str(declared), bool(nullable), bool(counts), str(collation)
        )
        columns.setdefault(str(table), []).append(column)
        if place is not None:
            keys.setdefault(str(table), {})[int(str(place))] = column.name
    return {
        name: TableDefinition(
            name, tuple(own), tuple(column for _, column in sorted(keys.get(name, {}).items()))
        )
        for name, own in columns.items()
    }
