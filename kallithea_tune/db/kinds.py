"""What kind of values a column has, whatever its engine calls the type."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Column
    from sqlalchemy.types import TypeEngine


class Kind(enum.Enum):
    """What kind of values a column has, whatever its engine calls the type."""

    integer = "integer"
    boolean = "boolean"
    number = "number"
    """Floats; exact ones are `decimal`."""
    decimal = "decimal"
    text = "text"
    moment = "moment"
    instant = "instant"
    """A moment with its zone, the same everywhere."""
    date = "date"
    time = "time"
    binary = "binary"


def kind_of(column: Column) -> Kind:
    """Return the kind of a SQLAlchemy column."""
    return kind_of_type(column.type)


def kind_of_type(type_: TypeEngine) -> Kind:
    """Return the kind of a SQLAlchemy type; text for types that no other kind covers."""
    from sqlalchemy import types
    from sqlalchemy.dialects import mysql

    families = (
        (types.Boolean, Kind.boolean),
        (types.Integer, Kind.integer),
        (types.Float, Kind.number),
        (types.Numeric, Kind.decimal),
        (mysql.TIMESTAMP, Kind.instant),
        (types.DateTime, Kind.moment),
        (types.Date, Kind.date),
        (types.Time, Kind.time),
        (types._Binary, Kind.binary),
    )
    while isinstance(type_, types.TypeDecorator):
        type_ = type_.impl
    if isinstance(type_, types.DateTime) and type_.timezone:
        return Kind.instant
    return next((kind for family, kind in families if isinstance(type_, family)), Kind.text)
