"""The text of values from which fingerprints are made, the same in every engine.

A value is written as one or two *pieces* of text: a number or moment as its text, ``N`` for NULL;
text as its length in bytes and itself, or its digest where it is long; binary data as length and
digest.
"""

from __future__ import annotations

import decimal
import hashlib
from typing import TYPE_CHECKING, Sequence, Tuple

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base.fingerprint_sql import LONG, NOTHING
from kallithea_tune.db_migrate.values import Value

if TYPE_CHECKING:
    from sqlalchemy import Column

NULL = "N"
SHORT = 200  # bytes of text that are taken as they are where there may be many more
UNBOUNDED = 255  # characters; a column that may have more is one where there may be many more
EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
TIME_LENGTH = len("12:00:00.000000")
ZONE_LENGTH = len("+00:00")
MOMENT_LENGTH = len("2024-01-31 12:00:00.000000")

Pieces = Tuple[str, ...]
RowPieces = Tuple[Pieces, ...]


def written(column: Column, value: Value) -> Pieces:
    """Write a value in storage form as pieces, as the engines do it."""
    kind = kind_of(column)
    if value is None:
        return (NULL, "") if kind is Kind.text else (NULL,)
    if kind is Kind.text:
        octets = _octets(value)
        return str(len(octets)), _short(column, octets)
    if kind is Kind.binary:
        octets = _octets(value)
        return (f"{len(octets)}:{sha256(octets)}",)
    if kind is Kind.moment:
        return ((str(value) + ".000000")[:MOMENT_LENGTH],)
    if kind is Kind.instant:
        moment, zone = str(value)[:-ZONE_LENGTH], str(value)[-ZONE_LENGTH:]
        return ((moment + ".000000")[:MOMENT_LENGTH] + zone,)
    if kind is Kind.time:
        return ((str(value) + ".000000")[:TIME_LENGTH],)
    if kind in (Kind.number, Kind.decimal):
        return (_number(kind, value),)
    return (str(int(value) if kind in (Kind.integer, Kind.boolean) else value),)


def _octets(value: Value) -> bytes:
    return value if isinstance(value, bytes) else values.utf8(str(value))


def _short(column: Column, octets: bytes) -> str:
    is_short = not is_long(column) or len(octets) <= SHORT
    return values.from_utf8(octets) if is_short else sha256(octets)


def _number(kind: Kind, value: Value) -> str:
    assert value is not None
    try:
        if kind is Kind.number:
            return repr(float(value))
        number = EXACT.create_decimal(str(value)).normalize(EXACT)
        return format(number if number else decimal.Decimal(0), "f")
    except (ValueError, decimal.InvalidOperation):
        # SQLite stores anything; a fix may have changed it.
        return repr(value)


def written_row(columns: Sequence[Column], row: Sequence[Value]) -> RowPieces:
    """Write a row in storage form."""
    return tuple(written(column, value) for column, value in zip(columns, row))


def joinable(column: Column, pieces: Pieces) -> str:
    """Return the text of a value that is joined with those of other rows for a fingerprint."""
    kind, text = kind_of(column), pieces[-1]
    if pieces[0] == NULL:
        return NOTHING
    if kind is Kind.binary:
        return text.rpartition(":")[2]
    is_digest = kind is Kind.text and is_long(column) and int(pieces[0]) > SHORT
    return LONG + text if is_digest else text


def is_long(column: Column) -> bool:
    """Tell whether the texts of `column` may be long."""
    return (getattr(column.type, "length", None) or UNBOUNDED + 1) > UNBOUNDED


def sha256(octets: bytes) -> str:
    """Return the digest in hexadecimal."""
    return hashlib.sha256(octets).hexdigest()
