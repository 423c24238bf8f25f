"""What a column of the target holds, and which rules a value breaks there: pure decisions, no
database is asked.

Values are in storage form, text that is not valid UTF-8 with surrogates in place of the bytes that
are not.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Optional

from kallithea_tune.db_migrate.values import Kind

# As the application writes them in SQLite, where they are text; the other engines have types for
# them.
FORMS: Mapping[Kind, Any] = {
    Kind.moment: re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{6})?", re.ASCII),
    Kind.date: re.compile(r"(\d{4}-\d\d-\d\d)", re.ASCII),
    Kind.time: re.compile(r"(\d\d:\d\d:\d\d)(\.\d{6})?", re.ASCII),
}
WORDS: Mapping[Kind, str] = {
    Kind.moment: "date and time (YYYY-MM-DD HH:MM:SS)",
    Kind.date: "date (YYYY-MM-DD)",
    Kind.time: "time (HH:MM:SS)",
}
READ: Mapping[Kind, Callable[[str], Any]] = {
    Kind.moment: datetime.datetime.fromisoformat,
    Kind.date: datetime.date.fromisoformat,
    Kind.time: datetime.time.fromisoformat,
}
PYTHON_TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.integer: (int,),
    Kind.boolean: (int,),
    Kind.number: (int, float),
    Kind.text: (str,),
    Kind.binary: (bytes, str),
}
ALL_DIGITS = 6  # of a fraction of a second


@dataclass(frozen=True)
class Limits:
    """What a column holds; None where there is no limit.

    `typed`: values of other types are refused or changed. `characters` bound text, `octets` text
    and binary data, `integers` are the least and the greatest one. `nul` and `four_byte` say
    whether text may hold such characters, `infinite` and `not_a_number` what floats may be.
    `digits` of a second are kept.
    """

    kind: Kind
    nullable: bool = True
    typed: bool = True
    characters: Optional[int] = None
    octets: Optional[int] = None
    integers: Optional[tuple[int, int]] = None
    nul: bool = True
    four_byte: bool = True
    infinite: bool = True
    not_a_number: bool = True
    digits: int = ALL_DIGITS

    def rules(self) -> Iterator[tuple[str, str]]:
        """Yield the rules that a value can break here, each with what is wrong with such a
        value.
        """
        if not self.nullable:
            yield "nulls", "NULL, which the column may not be"
        if self.kind in FORMS:
            yield "dates", f"no valid {WORDS[self.kind]}"
            if self.digits < ALL_DIGITS and self.kind is not Kind.date:
                yield "microseconds", "with more than %d digits of a second" % self.digits
            return
        if self.typed:
            yield "wrong-type", f"not of type {self.kind.value}"
        if self.kind is Kind.boolean and self.typed:
            yield "booleans", "neither 0 nor 1"
        if self.integers:
            yield "out-of-range", "not between %d and %d" % self.integers
        if not (self.infinite and self.not_a_number) and self.kind is Kind.number:
            yield "not-finite", "not a finite number"
        if self.kind is Kind.text:
            yield from self._text_rules()
        if self.characters is not None or self.octets is not None:
            yield (
                "too-long",
                "over {}".format(
                    " or ".join(
                        "%d %s" % (most, unit)
                        for most, unit in ((self.characters, "characters"), (self.octets, "bytes"))
                        if most is not None
                    )
                ),
            )

    def _text_rules(self) -> Iterator[tuple[str, str]]:
        yield "utf8", "not valid UTF-8"
        if not self.nul:
            yield "nul", "with a NUL in it"
        if not self.four_byte:
            yield "four-byte", "with characters that take four bytes"


def broken(value: Any, limits: Limits) -> Iterator[str]:
    """Yield the names of the rules that `value` breaks."""
    for rule, _ in limits.rules():
        if breaks(rule, value, limits):
            yield rule


def breaks(rule: str, value: Any, limits: Limits) -> bool:
    """Tell whether `value` breaks `rule`, which is one that applies."""
    if value is None:
        return rule == "nulls"
    return rule != "nulls" and bool(_BREAKS[rule](value, limits))


def octets(value: Any) -> int:
    """Return how many bytes text in UTF-8 or binary data takes."""
    return len(value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape"))


def is_utf8(text: str) -> bool:
    """Tell whether text was valid UTF-8, so that it has no surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def repaired(text: str) -> str:
    """Put U+FFFD in place of what is not valid UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_moment(value: Any, kind: Kind) -> bool:
    """Tell whether `value` is a date, time or both, as the application writes and reads it."""
    if not isinstance(value, str) or not FORMS[kind].fullmatch(value):
        return False
    try:
        READ[kind](value)
    except ValueError:
        return False
    return True


def _wrong_type(value: Any, limits: Limits) -> bool:
    return not isinstance(value, PYTHON_TYPES[limits.kind])


def _out_of_range(value: Any, limits: Limits) -> bool:
    least, greatest = limits.integers or (value, value)
    return isinstance(value, int) and not least <= value <= greatest


def _not_finite(value: Any, limits: Limits) -> bool:
    if not isinstance(value, float):
        return False
    return (
        math.isnan(value) and not limits.not_a_number or math.isinf(value) and not limits.infinite
    )


def _loses_digits(value: Any, limits: Limits) -> bool:
    return is_moment(value, limits.kind) and bool(
        value.partition(".")[2][limits.digits :].strip("0")
    )


def _too_long(value: Any, limits: Limits) -> bool:
    if limits.kind is Kind.text and not isinstance(value, str):
        return False
    longer = limits.characters is not None and len(value) > limits.characters
    return longer or limits.octets is not None and octets(value) > limits.octets


_BREAKS: Mapping[str, Callable[[Any, Limits], bool]] = {
    "wrong-type": _wrong_type,
    "booleans": lambda value, _: isinstance(value, int) and value not in (0, 1),
    "out-of-range": _out_of_range,
    "not-finite": _not_finite,
    "dates": lambda value, limits: not is_moment(value, limits.kind),
    "microseconds": _loses_digits,
    "utf8": lambda value, _: isinstance(value, str) and not is_utf8(value),
    "nul": lambda value, _: isinstance(value, str) and "\0" in value,
    "four-byte": lambda value, _: (
        isinstance(value, str) and any(letter > "\uffff" for letter in value)
    ),
    "too-long": _too_long,
}
