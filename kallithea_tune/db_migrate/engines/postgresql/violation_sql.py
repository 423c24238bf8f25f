"""Violations in PostgreSQL, whose types leave little room for any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Sequence

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import WIDEST, Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import is_key_of_integers
from kallithea_tune.db_migrate.values import FRACTION_DIGITS

if TYPE_CHECKING:
    from sqlalchemy import Table

DATES = (Kind.moment, Kind.instant, Kind.date, Kind.time)


class ViolationSql(base.ViolationSql):
    """The SQL of PostgreSQL."""

    def shown(self, name: str, kind: Kind) -> str:
        """Cast dates and times."""
        return f"CAST({name} AS text)" if kind in DATES else name

    def proves_unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Trust a primary key of integers."""
        return is_key_of_integers(self.connection, table, columns)

    def not_a_date(self, name: str, limits: Limits) -> Optional[str]:
        """Find infinity, years before 1 and after 9999, and the hour 24."""
        if limits.kind is Kind.time:
            return f"{name} >= '24:00:00'"
        return f"NOT ({name} >= '0001-01-01' AND {name} < '10000-01-01')"

    def out_of_range(self, name: str, limits: Limits) -> Optional[str]:
        """Compare integers, which have 64 bits at most."""
        return None if limits.integers == WIDEST else super().out_of_range(name, limits)

    def lost_fraction(self, name: str, limits: Limits) -> Optional[str]:
        """Calculate."""
        step = 10 ** (FRACTION_DIGITS - limits.digits)
        return f"CAST(extract(microseconds FROM {name}) AS bigint) % {step} <> 0"

    def not_finite(self, name: str, limits: Limits) -> Optional[str]:
        """Compare as text, which works for all types."""
        infinite = ["'Infinity'", "'-Infinity'"] if not limits.infinite else []
        return "CAST({} AS text) IN ({})".format(name, ", ".join(["'NaN'", *infinite]))

    def four_byte(self, name: str, limits: Limits) -> Optional[str]:
        """Search by regular expression."""
        return rf"{name} ~ '[\U00010000-\U0010ffff]'"

    def foldable(self, name: str) -> str:
        """Search by regular expression."""
        return f"{name} ~ '[^0-9a-f]'"
