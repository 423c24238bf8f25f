"""How each engine, as the source, finds values that break a rule. To add an engine, add a subclass
of `Finder`.

Every method takes and returns SQL, for a cursor without arguments. `tests/migration` shows that an
engine finds just what `limits.broken` says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, AbstractSet, Any, Callable, ClassVar, Optional, Sequence

from kallithea_tune.db_migrate.preflight import limits as pure
from kallithea_tune.db_migrate.preflight.limits import Limits
from kallithea_tune.db_migrate.values import Kind

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.copy import End

FRACTION = "." + "[0-9]" * pure.ALL_DIGITS
EMOJI = re.compile(rb"[\xf0-\xf4]")  # the first byte of what takes four
# For each kind the function of SQLite that reads it, and the length without a fraction.
SQLITE_FORMS = {Kind.moment: ("datetime", 19), Kind.date: ("date", 10), Kind.time: ("time", 8)}


class Finder:
    """One engine, found by its SQLAlchemy name; by itself what all of them can do, and have."""

    __dialect__ = ""
    known: ClassVar[dict[str, type[Finder]]] = {}

    screened: frozenset[str] = frozenset()
    """Rules that are only looked for where `screen` suspects something."""

    def __init_subclass__(cls) -> None:
        """Make the engine known."""
        Finder.known[cls.__dialect__] = cls

    def prepare(self, source: End) -> None:
        """Set the connection up."""

    def condition(self, rule: str, name: str, limits: Limits) -> Optional[str]:
        """Return what is true for values of the column `name` that break `rule`; None where there
        can be none.
        """
        if rule == "nulls":
            return f"{name} IS NULL"
        method: Optional[Callable[[str, Limits], str]] = getattr(self, rule.replace("-", "_"), None)
        return f"({name} IS NOT NULL AND {method(name, limits)})" if method else None

    def screen(self, names: Sequence[str], rules: AbstractSet[str]) -> str:
        """Return what is true for rows in whose texts one of the `rules`, screened ones, may be
        broken.
        """
        raise NotImplementedError

    def out_of_range(self, name: str, limits: Limits) -> str:
        """Compare."""
        assert limits.integers
        return "(%s < %d OR %s > %d)" % (name, limits.integers[0], name, limits.integers[1])

    def too_long(self, name: str, limits: Limits) -> str:
        """Count characters or bytes."""
        counted = (
            (self.characters(name), limits.characters),
            (self.octets(name, limits.kind), limits.octets),
        )
        return "({})".format(
            " OR ".join("%s > %d" % (size, most) for size, most in counted if most is not None)
        )

    def characters(self, name: str) -> str:
        """Count the characters of text."""
        return f"char_length({name})"

    def octets(self, name: str, kind: Kind) -> str:
        """Count the bytes of text or binary data."""
        return f"octet_length({name})"

    def exact(self, name: str, kind: Kind) -> str:
        """Have a value compared byte by byte."""
        return name

    def foldable(self, name: str) -> str:
        """Find texts that some collation may hold for another one: hexadecimal digits in lower case
        none does.
        """
        return f"{name} IS NOT NULL"


class SQLite(Finder):
    """SQLite, whose columns hold anything; text is looked at with the help of Python where it
    cannot do so itself.
    """

    __dialect__ = "sqlite"
    screened = frozenset({"utf8", "nul", "four-byte"})

    def prepare(self, source: End) -> None:
        """Lend functions, which get bytes, since text that is not valid UTF-8 would not reach
        them.
        """
        connection: Any = source.connection.connection
        for name, tell in (
            ("tune_suspect", _suspect),
            (
                "tune_suspect_emoji",
                lambda value: _suspect(value) or EMOJI.search(value) is not None,
            ),
            ("tune_characters", lambda value: len(_text(value))),
            ("tune_utf8", lambda value: pure.breaks("utf8", _text(value), Limits(Kind.text))),
            (
                "tune_four_byte",
                lambda value: pure.breaks("four-byte", _text(value), Limits(Kind.text)),
            ),
        ):
            connection.create_function(name, 1, tell)

    def screen(self, names: Sequence[str], rules: AbstractSet[str]) -> str:
        """Look at all texts of a row at once."""
        function = "tune_suspect_emoji" if "four-byte" in rules else "tune_suspect"
        return "{}(CAST({} AS BLOB))".format(
            function, " || ',' || ".join(f"coalesce({name}, '')" for name in names)
        )

    def wrong_type(self, name: str, limits: Limits) -> str:
        """Ask for the type of the value."""
        wrong = {
            Kind.integer: "typeof(%s) <> 'integer'",
            Kind.boolean: "typeof(%s) <> 'integer'",
            Kind.number: "typeof(%s) NOT IN ('integer', 'real')",
            Kind.binary: "typeof(%s) IN ('integer', 'real')",
        }
        return (
            "NOT " + self._is_text(name) if limits.kind is Kind.text else wrong[limits.kind] % name
        )

    def _is_text(self, name: str) -> str:
        # Numbers are less than text, and blobs greater; to compare is quicker than to call
        # typeof().
        return f"({name} >= '' AND {name} < x'')"

    def booleans(self, name: str, limits: Limits) -> str:
        """Compare."""
        return f"typeof({name}) = 'integer' AND {name} NOT IN (0, 1)"

    def out_of_range(self, name: str, limits: Limits) -> str:
        """Compare what is a number."""
        return f"{super().out_of_range(name, limits)} AND typeof({name}) = 'integer'"

    def not_finite(self, name: str, limits: Limits) -> str:
        """Compare with infinity, which only such a literal writes; SQLite knows no other such
        number.
        """
        return (
            f"typeof({name}) = 'real' AND {name} IN (9e999, -9e999)" if not limits.infinite else "0"
        )

    def dates(self, name: str, limits: Limits) -> str:
        """Have SQLite read the value and write it again."""
        return f"NOT ({self._is_moment(name, limits.kind)})"

    def _is_moment(self, name: str, kind: Kind) -> str:
        read, length = SQLITE_FORMS[kind]
        whole = "substr(%s, 1, %d)" % (name, length)
        # By itself SQLite takes the 30th of February; to add days it has to calculate.
        parts = [self._is_text(name), f"coalesce({read}({whole}, '+0 days') = {whole}, 0)"]
        if kind is not Kind.time:
            parts.append(f"{name} >= '0001'")
        size = self.octets(name, Kind.text)
        if kind is Kind.date:
            return " AND ".join([*parts, "%s = %d" % (size, length)])
        return " AND ".join(
            [
                *parts,
                "(%s = %d AND substr(%s, %d) GLOB '%s' OR %s = %d)"
                % (size, length + len(".123456"), name, length + 1, FRACTION, size, length),
            ]
        )

    def microseconds(self, name: str, limits: Limits) -> str:
        """Look for a digit that would be lost."""
        return "%s AND substr(%s, %d) GLOB '*[1-9]*'" % (
            self._is_moment(name, limits.kind),
            name,
            SQLITE_FORMS[limits.kind][1] + len(".") + limits.digits + 1,
        )

    def utf8(self, name: str, limits: Limits) -> str:
        """Have Python decode it."""
        return f"typeof({name}) = 'text' AND tune_utf8(CAST({name} AS BLOB))"

    def nul(self, name: str, limits: Limits) -> str:
        """Search for the character."""
        return f"typeof({name}) = 'text' AND instr({name}, char(0)) > 0"

    def four_byte(self, name: str, limits: Limits) -> str:
        """Have Python look."""
        return f"typeof({name}) = 'text' AND tune_four_byte(CAST({name} AS BLOB))"

    def too_long(self, name: str, limits: Limits) -> str:
        """Count characters in Python, as length() ends at a NUL, where there are bytes enough."""
        size = self.octets(name, Kind.text)
        found = ["%s > %d" % (size, limits.octets)] if limits.octets is not None else []
        if limits.characters is not None:
            found.append(
                "%s > %d AND tune_characters(CAST(%s AS BLOB)) > %d"
                % (size, limits.characters, name, limits.characters)
            )
        kept = " AND " + self._is_text(name) if limits.kind is Kind.text else ""
        return "({}){}".format(" OR ".join(found), kept)

    def octets(self, name: str, kind: Kind) -> str:
        """Cast, since length() of text counts characters."""
        return f"length(CAST({name} AS BLOB))"

    def exact(self, name: str, kind: Kind) -> str:
        """Set the collation."""
        return f"{name} COLLATE BINARY"

    def foldable(self, name: str) -> str:
        """Search for another character, and for NUL, at which GLOB ends."""
        return f"({name} GLOB '*[^0-9a-f]*' OR instr({name}, char(0)) > 0)"


class PostgreSQL(Finder):
    """PostgreSQL, whose types leave little that may be wrong."""

    __dialect__ = "postgresql"

    def dates(self, name: str, limits: Limits) -> str:
        """Find infinity, years before 1 and after 9999, and the hour 24."""
        if limits.kind is Kind.time:
            return f"{name} >= '24:00:00'"
        return f"NOT ({name} >= '0001-01-01' AND {name} < '10000-01-01')"

    def microseconds(self, name: str, limits: Limits) -> str:
        """Calculate."""
        return "CAST(extract(microseconds FROM %s) AS bigint) %% %d <> 0" % (
            name,
            10 ** (pure.ALL_DIGITS - limits.digits),
        )

    def not_finite(self, name: str, limits: Limits) -> str:
        """Compare as text, which goes for all types."""
        infinite = ["'Infinity'", "'-Infinity'"] if not limits.infinite else []
        return "CAST({} AS text) IN ({})".format(name, ", ".join(["'NaN'", *infinite]))

    def four_byte(self, name: str, limits: Limits) -> str:
        """Search by regular expression."""
        return rf"{name} ~ '[\U00010000-\U0010ffff]'"

    def foldable(self, name: str) -> str:
        """Search by regular expression."""
        return f"{name} ~ '[^0-9a-f]'"


class MySQL(Finder):
    """MariaDB and MySQL, which may hold dates without a month or a day, and NUL in text."""

    __dialect__ = "mysql"

    def booleans(self, name: str, limits: Limits) -> str:
        """Compare: booleans are small integers."""
        return f"{name} NOT IN (0, 1)"

    def dates(self, name: str, limits: Limits) -> str:
        """Find zeros, and times of day beyond the day."""
        if limits.kind is Kind.time:
            return f"({name} < '00:00:00' OR {name} >= '24:00:00')"
        return f"(YEAR({name}) = 0 OR MONTH({name}) = 0 OR DAYOFMONTH({name}) = 0)"

    def microseconds(self, name: str, limits: Limits) -> str:
        """Calculate."""
        return "MICROSECOND(%s) MOD %d <> 0" % (name, 10 ** (pure.ALL_DIGITS - limits.digits))

    def nul(self, name: str, limits: Limits) -> str:
        """Search among bytes, as NUL is nothing to many collations."""
        return f"LOCATE(x'00', CAST({name} AS BINARY)) > 0"

    def four_byte(self, name: str, limits: Limits) -> str:
        """Look for the first byte of such a character."""
        return f"HEX(CONVERT({name} USING utf8mb4)) REGEXP '^(..)*F[0-4]'"

    def octets(self, name: str, kind: Kind) -> str:
        """Count, text in UTF-8."""
        return "LENGTH({})".format(
            name if kind is Kind.binary else f"CONVERT({name} USING utf8mb4)"
        )

    def exact(self, name: str, kind: Kind) -> str:
        """Cast text, whose collation may hold different ones for equal."""
        return f"CAST({name} AS BINARY)" if kind is Kind.text else name

    def foldable(self, name: str) -> str:
        """Search among bytes."""
        return f"CAST({name} AS BINARY) REGEXP '[^0-9a-f]'"


def finder_of(source: End) -> Finder:
    """Return how the engine of the source finds things, its connection being set up for that."""
    finder = Finder.known.get(source.connection.dialect.name, Finder)()
    finder.prepare(source)
    return finder


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _suspect(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in value
