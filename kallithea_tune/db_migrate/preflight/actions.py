"""What a fix can do about a value that violates a rule: pure functions of value and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Mapping, Optional

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.preflight import readings
from kallithea_tune.db_migrate.values import FRACTION_DIGITS, Value

REPLACEMENT = "\ufffd"
EPOCH_VALUES: Mapping[Kind, Value] = {
    Kind.moment: "1970-01-01 00:00:00.000000",
    Kind.date: "1970-01-01",
}
EMPTY_VALUES: Mapping[Kind, Value] = {
    **EPOCH_VALUES,
    Kind.instant: "1970-01-01 00:00:01.000000+00:00",  # MariaDB's first
    Kind.time: "00:00:00.000000",
    Kind.integer: 0,
    Kind.boolean: 0,
    Kind.number: 0.0,
    Kind.decimal: 0,
    Kind.text: "",
    Kind.binary: b"",
}


def _always(_limits: Limits) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Action:
    """An action of ``--fix``: `fixed` returns the new value; where it is None the row is left out.

    `possible` tells whether the action makes sense in a column. With `partial` there are values
    that it returns as they are, so that another action may follow for these.
    """

    name: str
    fixed: Optional[Callable[[Value, Limits], Value]] = None
    possible: Callable[[Limits], bool] = _always
    partial: bool = False


def _truncated(value: Value, limits: Limits) -> str:
    text = str(value)[: limits.characters]
    if limits.octets is not None and values.size(text) > limits.octets:
        # A character that is cut in the middle is left out.
        text = values.utf8(text)[: limits.octets].decode("utf-8", "ignore")
    return text


def _with_short_fraction(value: Value, limits: Limits) -> str:
    seconds, _, fraction = str(value).partition(".")
    return "{}.{}".format(seconds, fraction[: limits.digits].ljust(FRACTION_DIGITS, "0"))


def _with_valid_utf8(value: Value, _limits: Limits) -> str:
    return values.utf8(str(value)).decode("utf-8", "replace")


def _without_four_byte(value: Value, _limits: Limits) -> str:
    return "".join(
        REPLACEMENT if values.has_four_byte_characters(character) else character
        for character in str(value)
    )


DELETE = Action("delete")
# What is continued is the sequence of the key; no value is changed.
RESTART = Action("restart", lambda value, limits: value, lambda limits: False)
CONVERT = Action(
    "convert", lambda value, limits: readings.converted(value, limits.kind), partial=True
)
READ = Action("read", lambda value, limits: readings.read_moment(value, limits.kind), partial=True)
KEEP_FIRST = Action("keep-first")
NULL = Action("null", lambda value, limits: None, lambda limits: limits.nullable)
EMPTY = Action("empty", lambda value, limits: EMPTY_VALUES[limits.kind])
TRUE = Action("true", lambda value, limits: 1)
EPOCH = Action(
    "epoch",
    lambda value, limits: EPOCH_VALUES[limits.kind],
    lambda limits: limits.kind in EPOCH_VALUES,
)
CUT = Action("cut", _with_short_fraction)
STRIP_NUL = Action("strip", lambda value, limits: str(value).replace("\0", ""))
REPLACE_INVALID = Action("replace", _with_valid_utf8)
REPLACE_FOUR_BYTE = Action("replace", _without_four_byte)
# Half of a blob is worth nothing.
TRUNCATE = Action("truncate", _truncated, lambda limits: limits.kind is not Kind.binary)
