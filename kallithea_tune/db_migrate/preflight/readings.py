"""What a value of another type or form means, where that is exact and beyond doubt.

Pure functions, which return the value as it is wherever it is not.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from typing import Callable, Mapping, Optional

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.values import FRACTION_DIGITS, Value

# The words that PostgreSQL takes for booleans.
WORDS: Mapping[str, int] = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), 1),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), 0),
}
INTEGER = re.compile(r"([+-]?[0-9]{1,30})(\.0*)?")
NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?")
MOST_EXACT = 2**53  # up to here a float has every integer
# ISO 8601 without a time zone: Kallithea's times are those of its server, so that one with a zone
# is another time.
DATE = r"(?P<date>\d{4}-\d\d-\d\d)"
TIME = r"(?P<time>\d\d:\d\d(:\d\d)?)([.,](?P<fraction>\d{1,12}))?"
ISO: Mapping[Kind, re.Pattern[str]] = {
    Kind.moment: re.compile(f"{DATE}([Tt ]{TIME})?", re.ASCII),
    Kind.date: re.compile(f"{DATE}([Tt ]{TIME})?", re.ASCII),
    Kind.instant: re.compile(f"{DATE}[Tt ]{TIME}([Zz]|[+-]\\d\\d:\\d\\d)", re.ASCII),
    Kind.time: re.compile(f"(?P<date>){TIME}", re.ASCII),
}
MIDNIGHT = "00:00:00"
PARSERS: Mapping[Kind, Callable[[str], object]] = {
    Kind.moment: datetime.datetime.fromisoformat,
    Kind.instant: datetime.datetime.fromisoformat,
    Kind.date: datetime.date.fromisoformat,
    Kind.time: datetime.time.fromisoformat,
}


def converted(value: Value, kind: Kind) -> Value:
    """Return `value` in the type of a column, where nothing of it is lost."""
    convert = CONVERSIONS.get(kind)
    meant = convert(value) if convert else None
    return value if meant is None else meant


def _as_integer(value: Value) -> Optional[int]:
    if isinstance(value, float):
        return int(value) if abs(value) <= MOST_EXACT and value == int(value) else None
    match = INTEGER.fullmatch(value) if isinstance(value, str) else None
    return int(match.group(1)) if match else None


def _as_boolean(value: Value) -> Optional[int]:
    if isinstance(value, str) and value.lower() in WORDS:
        return WORDS[value.lower()]
    return _as_integer(value)


def _as_number(value: Value) -> Optional[float]:
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        return None
    number = float(value)
    # A float has other digits after the 17th, which is not what was written.
    is_exact = math.isfinite(number) and decimal.Decimal(repr(number)) == decimal.Decimal(value)
    return number if is_exact else None


def _as_text(value: Value) -> Optional[str]:
    if isinstance(value, bytes):
        text = values.from_utf8(value)
        return text if values.is_utf8(text) else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value is None else str(value)


def _as_bytes(value: Value) -> Optional[bytes]:
    text = _as_text(value)
    return None if text is None else values.utf8(text)


CONVERSIONS: Mapping[Kind, Callable[[Value], Value]] = {
    Kind.integer: _as_integer,
    Kind.boolean: _as_boolean,
    Kind.number: _as_number,
    Kind.text: _as_text,
    Kind.binary: _as_bytes,
}


def read_moment(value: Value, kind: Kind) -> Value:
    """Return a date, a time or both in storage form, where `value` is one in a form of ISO 8601.

    Seconds may be missing, and so may the time of a day, which is then midnight, as it is to every
    engine. A time zone is read only of a moment that has one, which is then in UTC.
    """
    match = ISO[kind].fullmatch(value) if isinstance(value, str) else None
    text = _moment(match.groupdict(), kind) if match else None
    try:
        PARSERS[kind](text or "")
        if kind is Kind.instant and text and match:
            text = _in_utc(text, match.group(match.lastindex or 0))
    except (ValueError, OverflowError):
        return value
    return text


def _in_utc(text: str, zone: str) -> str:
    moment = datetime.datetime.fromisoformat(text + zone.upper().replace("Z", "+00:00"))
    return moment.astimezone(datetime.timezone.utc).isoformat(" ", "microseconds")


def _moment(found: Mapping[str, Optional[str]], kind: Kind) -> Optional[str]:
    time, fraction = found["time"] or MIDNIGHT, (found["fraction"] or "").rstrip("0")
    if len(time) == len("00:00"):
        time += ":00"
        if fraction:
            return None  # of a minute
    if len(fraction) > FRACTION_DIGITS:
        return None
    text = f"{time}.{fraction.ljust(FRACTION_DIGITS, '0')}"
    if kind is Kind.date:
        return None if text.strip("0:.") else found["date"]
    return text if kind is Kind.time else "{} {}".format(found["date"], text)
