"""Tables and columns that no model describes, in types that every engine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable

from kallithea_tune.db.kinds import Kind, kind_of

if TYPE_CHECKING:
    from sqlalchemy import Column, MetaData
    from sqlalchemy.engine import Connection
    from sqlalchemy.types import TypeEngine


def reflected(connection: Connection, names: Iterable[str]) -> MetaData:
    """Describe tables that no model describes, in types that every engine has."""
    import sqlalchemy

    metadata = sqlalchemy.MetaData()
    if names:
        metadata.reflect(connection, only=list(names), resolve_fks=False)
    for table in metadata.tables.values():
        for column in table.columns:
            make_generic(column)
    return metadata


def make_generic(column: Column) -> None:
    """Give a reflected column a type that every engine has."""
    column.type = _generic_type(column)
    column.server_default = None


def _generic_type(column: Column) -> TypeEngine:
    from sqlalchemy import types

    kind = kind_of(column)
    if kind is Kind.text:
        length = getattr(column.type, "length", None)
        return types.Unicode(length) if length else types.UnicodeText()
    is_decimal = isinstance(column.type, types.Numeric) and not isinstance(column.type, types.Float)
    if kind is Kind.number and is_decimal:
        return types.Numeric(column.type.precision, column.type.scale)
    return {
        Kind.integer: types.BigInteger,
        Kind.boolean: types.Boolean,
        Kind.number: lambda: types.Float(53),
        Kind.moment: types.DateTime,
        Kind.date: types.Date,
        Kind.time: types.Time,
        Kind.binary: types.LargeBinary,
    }[kind]()
