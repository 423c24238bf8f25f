"""How a source finds values that violate a rule of preflight. Every method takes and returns SQL.

`name` is a quoted column, and the SQL is for a cursor without arguments. A method returns None
where the engine's types exclude such a value.
"""

from __future__ import annotations

from typing import ClassVar, Optional, Sequence

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.connection import Connected


class ViolationSql(Connected):
    """What all engines can find, and what they can store at all."""

    screens_text: ClassVar[bool] = False
    """Whether violations in the characters of text are only looked for where `screen` is true."""

    stores_any_type: ClassVar[bool] = False
    """Whether a column may contain values of other types."""

    def prepare(self) -> None:
        """Set up the session."""

    def screen(self, names: Sequence[str], four_byte: bool) -> str:
        """Find rows whose texts may be invalid UTF-8, or contain NUL or four-byte characters."""
        raise NotImplementedError

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
