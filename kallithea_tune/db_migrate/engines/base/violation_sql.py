"""How a source finds values that violate a rule of preflight.

The methods take and return SQL for a cursor without arguments, unless they say otherwise; `name` is
a quoted column. A method returns None where the engine's types exclude such a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Optional, Sequence

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.connection import Connected

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

TOGETHER = 100  # conditions on one level


class Text(NamedTuple):
    """A quoted column of text: the SQL that is true for usual values, and for wrong ones."""

    name: str
    usual: str
    wrong: str


class Tests(NamedTuple):
    """What rows of one table are tested for: conditions, and those that look into other tables.

    `texts` there are only with `screens_text`; in them `four_byte` characters may be looked for.
    """

    conditions: Sequence[str] = ()
    references: Sequence[str] = ()
    texts: Sequence[Text] = ()
    four_byte: bool = False


class Suspects(NamedTuple):
    """Whether a row meets one of the conditions, and whether one has a suspect text."""

    conditions: bool
    texts: bool


class ViolationSql(Connected):
    """What all engines can find, and what they can store at all."""

    screens_text: ClassVar[bool] = False
    """Whether violations in the characters of text are only looked for where `screen` is true."""

    stores_any_type: ClassVar[bool] = False
    """Whether a column may contain values of other types."""

    def prepare(self) -> None:
        """Set up the session."""

    def usual(self, name: str, limits: Limits) -> Optional[str]:
        """Find most values that violate no rule; quicker than one condition after the other.

        None where it is not. It is only NULL for NULL.
        """
        return None

    def suspects(self, table: Table, tests: Tests) -> Suspects:
        """Look through a table once, which is all that most tables need."""
        met = self.is_met(table, [*tests.conditions, *tests.references])
        return Suspects(conditions=met, texts=False)

    def is_met(self, table: Table, conditions: Sequence[str]) -> bool:
        """Tell whether a row meets one of the conditions."""
        if not conditions:
            return False
        cursor = self.cursor()
        cursor.execute(
            f"SELECT 1 FROM {self.quoted(table.name)} WHERE {any_of(conditions)} LIMIT 1"
        )
        return bool(cursor.fetchall())

    def proves_unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Tell whether the engine cannot store two rows of `table` with the same `columns`."""
        return False

    def shown(self, name: str, kind: Kind) -> str:
        """Return a key as drivers can read it: they fail on dates that Python does not have."""
        return name

    def wrong_type(self, name: str, limits: Limits) -> Optional[str]:
        """Find values of another type than the column's."""
        return None

    def not_boolean(self, name: str, limits: Limits) -> Optional[str]:
        """Find integers other than 0 and 1."""
        return None

    def out_of_range(self, name: str, limits: Limits) -> Optional[str]:
        """Find integers beyond the limits."""
        assert limits.integers
        least, greatest = limits.integers
        return f"({name} < {least} OR {name} > {greatest})"

    def not_finite(self, name: str, limits: Limits) -> Optional[str]:
        """Find infinity, or what is not a number."""
        return None

    def not_a_date(self, name: str, limits: Limits) -> Optional[str]:
        """Find what is not a valid date, time, or both."""
        return None

    def lost_fraction(self, name: str, limits: Limits) -> Optional[str]:
        """Find fractions of a second that the column would lose."""
        return None

    def invalid_utf8(self, name: str, limits: Limits) -> Optional[str]:
        """Find text that is not valid UTF-8."""
        return None

    def nul(self, name: str, limits: Limits) -> Optional[str]:
        """Find text with the character NUL."""
        return None

    def four_byte(self, name: str, limits: Limits) -> Optional[str]:
        """Find text with characters that take four bytes."""
        return None

    def too_long(self, name: str, limits: Limits) -> Optional[str]:
        """Find text and binary data with too many characters or bytes."""
        sizes = (
            (self.characters(name), limits.characters),
            (self.octets(name, limits.kind), limits.octets),
        )
        tests = [f"{size} > {most}" for size, most in sizes if most is not None]
        return "({})".format(" OR ".join(tests))

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
        """Find texts that some collation may treat as equal to another one.

        No collation does so with hexadecimal digits in lower case.
        """
        return f"{name} IS NOT NULL"


def is_key_of_integers(connection: Connection, table: Table, columns: Sequence[str]) -> bool:
    """Tell whether `columns` have the primary key in them, and it integers only.

    An index of texts can have become wrong with another version of the system's collations, and
    unique keys of InnoDB are not checked in sessions that turn this off.
    """
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    key = set(inspector.get_pk_constraint(table.name)["constrained_columns"])
    types = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
    return (
        bool(key)
        and key <= set(columns)
        and all(isinstance(types[name], sqlalchemy.Integer) for name in key)
    )


def any_of(conditions: Sequence[str]) -> str:
    """Return the condition that one of several is met, none of them very deep in it.

    SQLite takes a depth of 1,000.
    """
    if len(conditions) <= TOGETHER:
        return " OR ".join(f"({condition})" for condition in conditions)
    half = len(conditions) // 2
    return f"({any_of(conditions[:half])}) OR ({any_of(conditions[half:])})"
