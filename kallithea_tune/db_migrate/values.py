"""The one form that values have on their way between two engines, as Python values and as text.

A row is a tuple in *storage form*: what SQLite would hold. Booleans are 0 and 1, moments are text
as SQLAlchemy writes it in SQLite (``2024-01-31 12:00:00.000000``), binary is bytes, everything else
is int, float, str or None. As text, a row is one record of CSV between single quotes, which COPY
and LOAD DATA both read, and SQLite's ``printf('%Q')`` and PostgreSQL's COPY both write, in C:
``'12','it''s',NULL,\\x00ff``.
"""

from __future__ import annotations

import datetime
import enum
from typing import Any, Iterable, Iterator, Sequence, Tuple

Row = Tuple[Any, ...]

MOMENT = "%Y-%m-%d %H:%M:%S.%f"


class Kind(enum.Enum):
    """What a column holds, whatever its engine calls it."""

    integer = "integer"
    boolean = "boolean"
    number = "number"
    text = "text"
    moment = "moment"
    date = "date"
    time = "time"
    binary = "binary"


def kind_of(column: Any) -> Kind:
    """Return the kind of a SQLAlchemy column."""
    from sqlalchemy import types

    families = (
        (types.Boolean, Kind.boolean),
        (types.Integer, Kind.integer),
        (types.Numeric, Kind.number),
        (types.DateTime, Kind.moment),
        (types.Date, Kind.date),
        (types.Time, Kind.time),
        (types._Binary, Kind.binary),
    )
    type_ = column.type
    while isinstance(type_, types.TypeDecorator):
        type_ = type_.impl
    return next((kind for family, kind in families if isinstance(type_, family)), Kind.text)


def stored(value: Any) -> Any:
    """Bring a value as drivers return it into storage form."""
    if value is None or isinstance(value, (str, float, bytes)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime.datetime):
        return (
            value.strftime(MOMENT) if value.year >= 1000 else value.isoformat(" ", "microseconds")
        )
    if isinstance(value, (datetime.date, datetime.time)):
        return (
            value.isoformat()
            if isinstance(value, datetime.date)
            else value.isoformat("microseconds")
        )
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    return str(value)


def encode(rows: Iterable[Row]) -> bytes:
    """Write rows in storage form as text, a line end behind each."""
    return b"".join([b",".join(map(_literal, row)) + b"\n" for row in rows])


def _literal(value: Any) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, str):
        return b"'" + value.replace("'", "''").encode("utf-8", "surrogateescape") + b"'"
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return repr(value).encode()


def batches(cursor: Any, size: int) -> Iterator[Sequence[Row]]:
    """Fetch from a DB-API cursor `size` rows at a time."""
    while True:
        rows: Sequence[Row] = cursor.fetchmany(size)
        if not rows:
            return
        yield rows
