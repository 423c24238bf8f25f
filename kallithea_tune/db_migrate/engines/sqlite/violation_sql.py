"""Violations in SQLite, whose columns store anything; some text is examined by Python functions."""

from __future__ import annotations

import re
from typing import Mapping, Optional, Sequence

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import WIDEST, Limits
from kallithea_tune.db_migrate.values import FRACTION_DIGITS

FRACTION = "." + "[0-9]" * FRACTION_DIGITS
FOUR_BYTE = re.compile(rb"[\xf0-\xf4]")  # the first byte of a character that takes four
# For each kind the function of SQLite that reads it, and the length without a fraction.
FORMS: Mapping[Kind, tuple[str, int]] = {
    Kind.moment: ("datetime", 19),
    Kind.date: ("date", 10),
    Kind.time: ("time", 8),
}
WRONG_TYPE: Mapping[Kind, str] = {
    Kind.integer: "typeof({}) <> 'integer'",
    Kind.boolean: "typeof({}) <> 'integer'",
    Kind.number: "typeof({}) NOT IN ('integer', 'real')",
    Kind.binary: "typeof({}) IN ('integer', 'real')",
}


class ViolationSql(base.ViolationSql):
    """The SQL of SQLite."""

    screens_text = True
    stores_any_type = True

    def prepare(self) -> None:
        """Register functions that take bytes: text that is not valid UTF-8 would not reach them."""
        connection = self.connection.connection
        for name, function in (
            ("tune_suspect", _is_suspect),
            ("tune_suspect_four_byte", _is_suspect_or_four_byte),
            ("tune_characters", _characters),
            ("tune_invalid_utf8", _is_invalid_utf8),
            ("tune_four_byte", _is_four_byte),
        ):
            connection.create_function(name, 1, function)

    def screen(self, names: Sequence[str], four_byte: bool) -> str:
        """Examine all texts of a row at once."""
        function = "tune_suspect_four_byte" if four_byte else "tune_suspect"
        texts = " || ',' || ".join(f"coalesce({name}, '')" for name in names)
        return f"{function}(CAST({texts} AS BLOB))"

    def wrong_type(self, name: str, limits: Limits) -> Optional[str]:
        """Compare the type of the value."""
        if limits.kind is Kind.text:
            return f"NOT {_is_text(name)}"
        return WRONG_TYPE[limits.kind].format(name)

    def not_boolean(self, name: str, limits: Limits) -> Optional[str]:
        """Compare integers."""
        return f"typeof({name}) = 'integer' AND {name} NOT IN (0, 1)"

    def out_of_range(self, name: str, limits: Limits) -> Optional[str]:
        """Compare integers, which have 64 bits."""
        if limits.integers == WIDEST:
            return None
        return f"{super().out_of_range(name, limits)} AND typeof({name}) = 'integer'"

    def not_finite(self, name: str, limits: Limits) -> Optional[str]:
        """Compare with infinity, which only such a literal writes; SQLite has no NaN."""
        if limits.infinite:
            return None
        return f"typeof({name}) = 'real' AND {name} IN (9e999, -9e999)"

    def not_a_date(self, name: str, limits: Limits) -> Optional[str]:
        """Have SQLite read the value and write it again."""
        return f"NOT ({self._is_moment(name, limits.kind)})"

    def _is_moment(self, name: str, kind: Kind) -> str:
        function, length = FORMS[kind]
        seconds = f"substr({name}, 1, {length})"
        # By itself SQLite accepts the 30th of February; to add days it has to calculate.
        tests = [_is_text(name), f"coalesce({function}({seconds}, '+0 days') = {seconds}, 0)"]
        if kind is not Kind.time:
            tests.append(f"{name} >= '0001'")
        size = self.octets(name, Kind.text)
        if kind is Kind.date:
            tests.append(f"{size} = {length}")
        else:
            fraction = f"substr({name}, {length + 1}) GLOB '{FRACTION}'"
            longer = length + len(".") + FRACTION_DIGITS
            tests.append(f"({size} = {longer} AND {fraction} OR {size} = {length})")
        return " AND ".join(tests)

    def lost_fraction(self, name: str, limits: Limits) -> Optional[str]:
        """Search for a digit that would be lost."""
        start = FORMS[limits.kind][1] + len(".") + limits.digits + 1
        moment = self._is_moment(name, limits.kind)
        return f"{moment} AND substr({name}, {start}) GLOB '*[1-9]*'"

    def invalid_utf8(self, name: str, limits: Limits) -> Optional[str]:
        """Decode it in Python."""
        return f"typeof({name}) = 'text' AND tune_invalid_utf8(CAST({name} AS BLOB))"

    def nul(self, name: str, limits: Limits) -> Optional[str]:
        """Search for the character."""
        return f"typeof({name}) = 'text' AND instr({name}, char(0)) > 0"

    def four_byte(self, name: str, limits: Limits) -> Optional[str]:
        """Examine it in Python."""
        return f"typeof({name}) = 'text' AND tune_four_byte(CAST({name} AS BLOB))"

    def too_long(self, name: str, limits: Limits) -> Optional[str]:
        """Count characters in Python, where there are enough bytes: length() ends at a NUL."""
        size = self.octets(name, Kind.text)
        tests = [f"{size} > {limits.octets}"] if limits.octets is not None else []
        if limits.characters is not None:
            most = limits.characters
            tests.append(f"{size} > {most} AND {self.characters(name)} > {most}")
        typed = f" AND {_is_text(name)}" if limits.kind is Kind.text else ""
        return "({}){}".format(" OR ".join(tests), typed)

    def characters(self, name: str) -> str:
        """Count them in Python."""
        return f"tune_characters(CAST({name} AS BLOB))"

    def octets(self, name: str, kind: Kind) -> str:
        """Cast, since length() of text counts characters."""
        return f"length(CAST({name} AS BLOB))"

    def exact(self, name: str, kind: Kind) -> str:
        """Set the collation."""
        return f"{name} COLLATE BINARY"

    def foldable(self, name: str) -> str:
        """Search for another character, and for NUL, at which GLOB ends."""
        return f"({name} GLOB '*[^0-9a-f]*' OR instr({name}, char(0)) > 0)"


def _is_text(name: str) -> str:
    # Numbers sort before text, and blobs after it; a comparison is quicker than typeof().
    return f"({name} >= '' AND {name} < x'')"


def _is_suspect(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in octets


def _is_suspect_or_four_byte(octets: bytes) -> bool:
    return _is_suspect(octets) or FOUR_BYTE.search(octets) is not None


def _characters(octets: bytes) -> int:
    return len(values.from_utf8(octets))


def _is_invalid_utf8(octets: bytes) -> bool:
    return not values.is_utf8(values.from_utf8(octets))


def _is_four_byte(octets: bytes) -> bool:
    return values.has_four_byte_characters(values.from_utf8(octets))
