"""Violations in SQLite, whose columns store anything; some text is examined by Python functions."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING, Iterator, Mapping, Optional, Sequence, Union

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import WIDEST, Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import Suspects, Tests, Text, any_of
from kallithea_tune.db_migrate.values import FRACTION_DIGITS, Row
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy import Table

# Texts of so many rows are examined at once, except those with more bytes: in Python one call costs
# as much as a thousand bytes. At most half a megabyte for each column.
ROWS_TOGETHER, LONG_TEXT = 500, 1000

# Functions in Python: without four-byte characters, and with them.
SUSPECT = ("tune_suspect", "tune_suspect_four_byte")
LAST_TEXT = "CAST(x'FF' AS TEXT)"  # greater than any valid one

FRACTION = "." + "[0-9]" * FRACTION_DIGITS
DECIMAL = re.compile(r"-?\d+(\.\d+)?|-?Infinity|NaN", re.ASCII)
FOUR_BYTE = re.compile(rb"[\xf0-\xf4]")  # the first byte of a character that takes four
# For each kind the function of SQLite that reads it, and the length without a fraction.
FORMS: Mapping[Kind, tuple[str, int]] = {
    Kind.moment: ("datetime", 19),
    Kind.instant: ("datetime", 19),
    Kind.date: ("date", 10),
    Kind.time: ("time", 8),
}
# Nearly all moments, which take half as long with these: of what has this form and its length,
# SQLite's reader refuses all that is no moment, but not every 29th to 31st of a month and hour 24.
MOMENT_FORM = "[12]???-??-?? ??:??:??.?????[0-9]"
USUAL_FORM = "[12]???-??-[012][0-8] [01]?:??:??.?????[0-9]"
USUAL_LENGTH = 26
WRONG_TYPE: Mapping[Kind, str] = {
    Kind.integer: "typeof({}) <> 'integer'",
    Kind.boolean: "typeof({}) <> 'integer'",
    Kind.number: "typeof({}) NOT IN ('integer', 'real')",
    Kind.decimal: "typeof({0}) NOT IN ('integer', 'real') AND NOT tune_decimal({0})",
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
            ("tune_decimal", _is_decimal),
        ):
            connection.create_function(name, 1, function)

    def usual(self, name: str, limits: Limits) -> Optional[str]:
        """Test integers, text and moments, of which there are most."""
        if limits.kind is Kind.integer and limits.integers:
            least, greatest = limits.integers
            return f"{name} BETWEEN {least} AND {greatest} AND typeof({name}) = 'integer'"
        if limits.kind is Kind.text:
            most = min(filter(None, (limits.characters, limits.octets, LONG_TEXT)))
            size = self.octets(name, Kind.text)
            return f"{name} BETWEEN '' AND {LAST_TEXT} AND {size} <= {most}"
        if limits.kind is Kind.moment and limits.digits == FRACTION_DIGITS:
            size = self.octets(name, Kind.text)
            return (
                f"{name} < ':' AND {size} = {USUAL_LENGTH} AND CASE WHEN {name} GLOB '{USUAL_FORM}'"
                f" THEN julianday({name}) IS NOT NULL ELSE {name} GLOB '{MOMENT_FORM}'"
                f" AND datetime({name}, '+0 days') IS substr({name}, 1, 19) END"
            )
        return None

    def suspects(self, table: Table, tests: Tests) -> Suspects:
        """Look through the rows, the texts of many at once.

        For each statement SQLite collects the keys that may be referred to, so that references are
        tested by one for all rows.
        """
        dangling = self.is_met(table, tests.references)
        found = Suspects(conditions=dangling, texts=False)
        for is_met, is_suspect in self._pieces(table, tests):
            interruption.check()
            found = Suspects(found.conditions or bool(is_met), found.texts or bool(is_suspect))
        return found

    def _pieces(self, table: Table, tests: Tests) -> Iterator[Row]:
        """Yield for some rows after the other if a condition is met, and if a text is suspect."""
        conditions, _, texts, four_byte = tests
        # As a value, in place of a test, every part of it would be computed.
        met = f"max(CASE WHEN {any_of(conditions)} THEN 1 END)" if conditions else "max(0)"
        cursor, name = self.cursor(), self.quoted(table.name)
        rowid = self._rowid(table)
        if rowid is None:
            unusual = [self.screen([text.name for text in texts], four_byte)] if texts else []
            unusual += [text.wrong for text in texts]
            suspect = f"max(CASE WHEN {any_of(unusual)} THEN 1 END)" if unusual else "0"
            yield cursor.execute(f"SELECT {met}, {suspect} FROM {name}").fetchone()
            return
        function = SUSPECT[four_byte]
        joined = [f"{function}({_joined(text, function)})" for text in texts]
        suspect = f"CASE WHEN {any_of(joined)} THEN 1 END" if joined else "0"
        begin = f"SELECT {rowid} FROM {name} WHERE {rowid} >= ? ORDER BY {rowid} LIMIT 1 OFFSET ?"
        piece = f"SELECT {met}, {suspect} FROM {name} WHERE {rowid} BETWEEN ? AND ?"
        low: Optional[int] = -(2**63)
        while low is not None:
            following = cursor.execute(begin, [low, ROWS_TOGETHER]).fetchone()
            high = following[0] - 1 if following else 2**63 - 1
            yield cursor.execute(piece, [low, high]).fetchone()
            low = following[0] if following else None

    def _rowid(self, table: Table) -> Optional[str]:
        """Return SQLite's own number of a row; None where `table` has none."""
        taken = {column.name.lower() for column in table.columns}
        name = next(name for name in ("rowid", "oid", "_rowid_", "") if name not in taken)
        with contextlib.suppress(sqlite3.OperationalError):
            self.cursor().execute(f"SELECT {name} FROM {self.quoted(table.name)} LIMIT 0")
            return name
        return None

    def screen(self, names: Sequence[str], four_byte: bool) -> str:
        """Find rows whose texts may be invalid UTF-8, or contain NUL or four-byte characters."""
        texts = " || ',' || ".join(f"coalesce({name}, '')" for name in names)
        return f"{SUSPECT[four_byte]}(CAST({texts} AS BLOB))"

    def proves_unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Look for an index, or the key that is SQLite's own number of a row.

        A collation can only make an index stricter.
        """
        cursor, name = self.cursor(), self.quoted(table.name)
        described = cursor.execute(f"PRAGMA table_info({name})").fetchall()
        key = [(column[1], column[2].upper()) for column in described if column[5]]
        if len(key) == 1 and key[0][0] in columns and key[0][1] == "INTEGER":
            return True
        for index in cursor.execute(f"PRAGMA index_list({name})").fetchall():
            is_unique, is_partial = index[2], index[4]
            if is_unique and not is_partial:
                indexed = cursor.execute(f"PRAGMA index_info({self.quoted(index[1])})").fetchall()
                if {column[2] for column in indexed} <= set(columns):
                    return True
        return False

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
        elif kind is Kind.instant:
            fraction = f"substr({name}, {length + 1}) GLOB '{FRACTION}+00:00'"
            tests.append(f"({fraction} OR substr({name}, {length + 1}) = '+00:00')")
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


def _joined(text: Text, suspect: str) -> str:
    """Join all texts of a column, with a NUL in place of a suspect one.

    The comma between two prevents that they complete each other.
    """
    unusual = f"{text.wrong} OR {suspect}(CAST({text.name} AS BLOB))"
    return (
        f"CAST(group_concat(CASE WHEN {text.usual} THEN {text.name} WHEN {text.name} IS NULL"
        f" THEN NULL WHEN {unusual} THEN char(0) END) AS BLOB)"
    )


def _is_text(name: str) -> str:
    # Numbers sort before text, and blobs after it; a comparison is quicker than typeof().
    return f"({name} >= '' AND {name} < x'')"


def _is_suspect(octets: Optional[bytes]) -> bool:
    if octets is None:
        return False
    try:
        octets.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in octets


def _is_suspect_or_four_byte(octets: Optional[bytes]) -> bool:
    return _is_suspect(octets) or bool(octets and FOUR_BYTE.search(octets))


def _characters(octets: Optional[bytes]) -> Optional[int]:
    return None if octets is None else len(values.from_utf8(octets))


def _is_invalid_utf8(octets: bytes) -> bool:
    return not values.is_utf8(values.from_utf8(octets))


def _is_decimal(value: Union[None, int, float, str, bytes]) -> bool:
    return isinstance(value, str) and DECIMAL.fullmatch(value) is not None


def _is_four_byte(octets: bytes) -> bool:
    return values.has_four_byte_characters(values.from_utf8(octets))
