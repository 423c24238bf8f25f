"""The form that values have on their way between two engines, as Python values and as text.

A row is a tuple in *storage form*: what SQLite would store. Booleans are 0 and 1, moments are text
as SQLAlchemy writes it in SQLite (``2024-01-31 12:00:00.000000``), binary is bytes, everything else
is int, float, str or None. Text that is not valid UTF-8 has surrogates in place of the invalid
bytes. As text, a row is one record of CSV between single quotes, which COPY and LOAD DATA both
read, and SQLite's ``printf('%Q')`` and PostgreSQL's COPY both write, in C:
``'12','it''s',NULL,\\x00ff``.
"""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING, Iterable, Iterator, Sequence, Tuple, Union

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

Value = Union[None, int, float, str, bytes]
Row = Tuple[Value, ...]
Key = Union[Value, Row]  # of a row: the value of its key, or the values of several columns

MOMENT = "%Y-%m-%d %H:%M:%S.%f"
FRACTION_DIGITS = 6  # of a second, as written in storage form


def stored(value: object) -> Value:
    """Convert a value as drivers return it into storage form."""
    if value is None or isinstance(value, (str, float, bytes)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime.datetime):
        return (
            value.strftime(MOMENT) if value.year >= 1000 else value.isoformat(" ", "microseconds")
        )
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return value.isoformat("microseconds")
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        return float(value)
    return str(value)


def encode(rows: Iterable[Row]) -> bytes:
    """Write rows in storage form as text, each followed by a line end."""
    return b"".join([b",".join(map(_literal, row)) + b"\n" for row in rows])


def _literal(value: Value) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, str):
        return b"'" + value.replace("'", "''").encode("utf-8", "surrogateescape") + b"'"
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return repr(value).encode()


def batches(cursor: DBAPICursor, size: int) -> Iterator[Sequence[Row]]:
    """Fetch from a DB-API cursor `size` rows at a time."""
    while True:
        rows: Sequence[Row] = cursor.fetchmany(size)
        if not rows:
            return
        yield rows


def utf8(text: str) -> bytes:
    """Return the bytes of text in storage form, the invalid ones as they were."""
    return text.encode("utf-8", "surrogateescape")


def from_utf8(octets: bytes) -> str:
    """Return text in storage form, with surrogates for invalid bytes."""
    return octets.decode("utf-8", "surrogateescape")


def size(value: Value) -> int:
    """Return how many bytes text in UTF-8 or binary data takes."""
    return len(value if isinstance(value, bytes) else utf8(str(value)))


def is_utf8(text: str) -> bool:
    """Tell whether text was valid UTF-8, so that it has no surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def has_four_byte_characters(text: str) -> bool:
    """Tell whether a character of the text takes four bytes in UTF-8, as emoji do."""
    return any(character > "\uffff" for character in text)
