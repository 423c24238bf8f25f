"""The rules of preflight: each entry is everything there is to know about one rule.

Names and actions are those of ``--fix``, and docs/db-migrate-preflight.rst has a section for each
rule. Values are in storage form. Where the SQL depends on the engine, it is in `violation_sql` of
the engine's package.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Iterator, Mapping, Optional, Pattern

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import ViolationSql
from kallithea_tune.db_migrate.preflight import actions, readings
from kallithea_tune.db_migrate.preflight.actions import DELETE, KEEP_FIRST, NULL
from kallithea_tune.db_migrate.preflight.rule import RULES, Rule, ValueRule, register
from kallithea_tune.db_migrate.values import FRACTION_DIGITS, Value

__all__ = ["RULES", "rules_of", "violated_rules"]

# As the application writes them in SQLite, where they are text; the other engines have types for
# them.
FORMS: Mapping[Kind, Pattern[str]] = {
    Kind.moment: re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{6})?", re.ASCII),
    Kind.instant: re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{6})?\+00:00", re.ASCII),
    Kind.date: re.compile(r"(\d{4}-\d\d-\d\d)", re.ASCII),
    Kind.time: re.compile(r"(\d\d:\d\d:\d\d)(\.\d{6})?", re.ASCII),
}
DESCRIPTIONS: Mapping[Kind, str] = {
    Kind.moment: "date and time (YYYY-MM-DD HH:MM:SS)",
    Kind.instant: "date and time in UTC (YYYY-MM-DD HH:MM:SS.ffffff+00:00)",
    Kind.date: "date (YYYY-MM-DD)",
    Kind.time: "time (HH:MM:SS)",
}
PYTHON_TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.integer: (int,),
    Kind.boolean: (int,),
    Kind.number: (int, float),
    Kind.decimal: (int, float, str),
    Kind.text: (str,),
    Kind.binary: (bytes, str),
}


def _is_out_of_range(value: Value, limits: Limits) -> bool:
    if not isinstance(value, int) or limits.integers is None:
        return False
    least, greatest = limits.integers
    return not least <= value <= greatest


def _is_last_key(value: Value, limits: Limits) -> bool:
    return isinstance(value, int) and limits.integers is not None and value == limits.integers[1]


def _last_key(sql: ViolationSql, name: str, limits: Limits) -> Optional[str]:
    assert limits.integers
    least, greatest = limits.integers
    below = replace(limits, integers=(least, greatest - 1))
    # The second part is for the type.
    return f"{name} = {greatest} AND {sql.out_of_range(name, below)}"


def _is_not_finite(value: Value, limits: Limits) -> bool:
    if not isinstance(value, float):
        return False
    return (
        math.isnan(value) and not limits.not_a_number or math.isinf(value) and not limits.infinite
    )


def _is_moment(value: Value, kind: Kind) -> bool:
    """Tell whether `value` is a date, time or both, as the application writes and reads it."""
    if not isinstance(value, str) or not FORMS[kind].fullmatch(value):
        return False
    try:
        readings.PARSERS[kind](value)
    except ValueError:
        return False
    return True


def _loses_digits(value: Value, limits: Limits) -> bool:
    fraction = str(value).partition(".")[2]
    return _is_moment(value, limits.kind) and bool(fraction[limits.digits :].strip("0"))


def _is_too_long(value: Value, limits: Limits) -> bool:
    if limits.kind is Kind.text and not isinstance(value, str):
        return False
    characters = len(value) if isinstance(value, str) else 0
    if limits.characters is not None and characters > limits.characters:
        return True
    return limits.octets is not None and values.size(value) > limits.octets


def _length_complaint(limits: Limits) -> str:
    units = ((limits.characters, "characters"), (limits.octets, "bytes"))
    excess = " or ".join(f"{most} {unit}" for most, unit in units if most is not None)
    return f"over {excess}" if excess else ""


NULLS = register(
    ValueRule(
        "nulls",
        "no value where one is required",
        (actions.EMPTY, DELETE),
        complaint=lambda limits: "" if limits.nullable else "NULL where none is allowed",
        test=lambda value, limits: False,
        sql=lambda sql, name, limits: None,
        of_null=True,
    )
)
WRONG_TYPE = register(
    ValueRule(
        "wrong-type",
        "a value of another type than the column's",
        (actions.CONVERT, NULL, DELETE),
        complaint=lambda limits: (
            f"not of type {limits.kind.value}" if limits.typed and limits.kind not in FORMS else ""
        ),
        test=lambda value, limits: not isinstance(value, PYTHON_TYPES[limits.kind]),
        sql=lambda sql, name, limits: sql.wrong_type(name, limits),
    )
)
BOOLEANS = register(
    ValueRule(
        "booleans",
        "a number other than 0 and 1 as yes or no",
        (actions.TRUE, NULL, DELETE),
        complaint=lambda limits: (
            "neither 0 nor 1" if limits.typed and limits.kind is Kind.boolean else ""
        ),
        test=lambda value, limits: isinstance(value, int) and value not in (0, 1),
        sql=lambda sql, name, limits: sql.not_boolean(name, limits),
    )
)
OUT_OF_RANGE = register(
    ValueRule(
        "out-of-range",
        "an integer beyond the limits of the column",
        (NULL, DELETE),
        complaint=lambda limits: (
            f"not between {limits.integers[0]} and {limits.integers[1]}" if limits.integers else ""
        ),
        test=_is_out_of_range,
        sql=lambda sql, name, limits: sql.out_of_range(name, limits),
    )
)
SEQUENCES = register(
    ValueRule(
        "sequences",
        "no next key that fits into the column",
        (actions.RESTART, DELETE),
        complaint=lambda limits: (
            f"the last possible key, {limits.integers[1]}, so that there is no next one"
            if limits.generated and limits.integers
            else ""
        ),
        test=_is_last_key,
        sql=_last_key,
    )
)
NOT_FINITE = register(
    ValueRule(
        "not-finite",
        "infinity or not a number (NaN)",
        (NULL, DELETE),
        complaint=lambda limits: (
            "not a finite number"
            if limits.kind in (Kind.number, Kind.decimal)
            and not (limits.infinite and limits.not_a_number)
            else ""
        ),
        test=_is_not_finite,
        sql=lambda sql, name, limits: sql.not_finite(name, limits),
    )
)
DATES = register(
    ValueRule(
        "dates",
        "not a date as Kallithea writes it",
        (actions.READ, NULL, actions.EPOCH, DELETE),
        complaint=lambda limits: (
            f"not a valid {DESCRIPTIONS[limits.kind]}" if limits.kind in FORMS else ""
        ),
        test=lambda value, limits: not _is_moment(value, limits.kind),
        sql=lambda sql, name, limits: sql.not_a_date(name, limits),
    )
)
MICROSECONDS = register(
    ValueRule(
        "microseconds",
        "digits of a second that would be lost",
        (actions.CUT,),
        complaint=lambda limits: (
            f"with more than {limits.digits} digits of a second"
            if limits.kind in (Kind.moment, Kind.time) and limits.digits < FRACTION_DIGITS
            else ""
        ),
        test=_loses_digits,
        sql=lambda sql, name, limits: sql.lost_fraction(name, limits),
    )
)
UTF8 = register(
    ValueRule(
        "utf8",
        "text that is not valid UTF-8",
        (actions.REPLACE_INVALID, NULL, DELETE),
        complaint=lambda limits: "not valid UTF-8" if limits.kind is Kind.text else "",
        test=lambda value, limits: isinstance(value, str) and not values.is_utf8(value),
        sql=lambda sql, name, limits: sql.invalid_utf8(name, limits),
        in_text=True,
    )
)
NUL = register(
    ValueRule(
        "nul",
        "text with the character NUL",
        (actions.STRIP_NUL, NULL, DELETE),
        complaint=lambda limits: (
            "with a NUL character" if limits.kind is Kind.text and not limits.nul else ""
        ),
        test=lambda value, limits: isinstance(value, str) and "\0" in value,
        sql=lambda sql, name, limits: sql.nul(name, limits),
        in_text=True,
    )
)
FOUR_BYTE = register(
    ValueRule(
        "four-byte",
        "characters that take four bytes",
        (actions.REPLACE_FOUR_BYTE, NULL, DELETE),
        complaint=lambda limits: (
            "with characters that take four bytes"
            if limits.kind is Kind.text and not limits.four_byte
            else ""
        ),
        test=lambda value, limits: (
            isinstance(value, str) and values.has_four_byte_characters(value)
        ),
        sql=lambda sql, name, limits: sql.four_byte(name, limits),
        in_text=True,
    )
)
TOO_LONG = register(
    ValueRule(
        "too-long",
        "more than fits into the column",
        (actions.TRUNCATE, NULL, DELETE),
        complaint=_length_complaint,
        test=_is_too_long,
        sql=lambda sql, name, limits: sql.too_long(name, limits),
    )
)

# Found by `conditions`, `cascade` and `uniqueness`.
TOO_BIG = register(Rule("too-big", "a row too big for a packet of the server", (DELETE,)))
ORPHANS = register(Rule("orphans", "a reference to a row that does not exist", (NULL, DELETE)))
DUPLICATES = register(Rule("duplicates", "a key that another row already has", (KEEP_FIRST,)))
COLLISIONS = register(Rule("collisions", "keys that the target considers equal", (KEEP_FIRST,)))


def rules_of(limits: Limits) -> Iterator[tuple[ValueRule, str]]:
    """Yield the rules of a column's values, each with its complaint."""
    for rule in RULES.values():
        complaint = rule.complaint(limits) if isinstance(rule, ValueRule) else ""
        if isinstance(rule, ValueRule) and complaint:
            yield rule, complaint


def violated_rules(value: Value, limits: Limits) -> Iterator[ValueRule]:
    """Yield the rules that `value` violates."""
    return (rule for rule, _ in rules_of(limits) if rule.violated_by(value, limits))
