"""Violations in MariaDB and MySQL: dates without a month or a day, NUL in text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Sequence

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import is_key_of_integers
from kallithea_tune.db_migrate.values import FRACTION_DIGITS

if TYPE_CHECKING:
    from sqlalchemy import Table

DATES = (Kind.moment, Kind.instant, Kind.date, Kind.time)


class ViolationSql(base.ViolationSql):
    """The SQL of MariaDB and MySQL."""

    def shown(self, name: str, kind: Kind) -> str:
        """Cast dates and times."""
        return f"CAST({name} AS CHAR)" if kind in DATES else name

    def not_boolean(self, name: str, limits: Limits) -> Optional[str]:
        """Compare: booleans are small integers."""
        return f"{name} NOT IN (0, 1)"

    def proves_unique(self, table: Table, columns: Sequence[str]) -> bool:
        """Trust a primary key of integers."""
        return is_key_of_integers(self.connection, table, columns)

    def not_a_date(self, name: str, limits: Limits) -> Optional[str]:
        """Find zeros, days that a month does not have, and times beyond the day."""
        if limits.kind is Kind.time:
            return f"({name} < '00:00:00' OR {name} >= '24:00:00')"
        return (
            f"(YEAR({name}) = 0 OR MONTH({name}) = 0 OR DAYOFMONTH({name}) = 0"
            f" OR DAYOFMONTH({name}) > DAYOFMONTH(LAST_DAY({name})))"
        )

    def lost_fraction(self, name: str, limits: Limits) -> Optional[str]:
        """Calculate."""
        return f"MICROSECOND({name}) MOD {10 ** (FRACTION_DIGITS - limits.digits)} <> 0"

    def nul(self, name: str, limits: Limits) -> Optional[str]:
        """Search among bytes, since many collations ignore NUL."""
        return f"LOCATE(x'00', CAST({name} AS BINARY)) > 0"

    def four_byte(self, name: str, limits: Limits) -> Optional[str]:
        """Search for the first byte of such a character."""
        return f"HEX(CONVERT({name} USING utf8mb4)) REGEXP '^(..)*F[0-4]'"

    def octets(self, name: str, kind: Kind) -> str:
        """Count, text in UTF-8."""
        return "LENGTH({})".format(
            name if kind is Kind.binary else f"CONVERT({name} USING utf8mb4)"
        )

    def exact(self, name: str, kind: Kind) -> str:
        """Cast text, whose collation may treat different ones as equal."""
        return f"CAST({name} AS BINARY)" if kind is Kind.text else name

    def foldable(self, name: str) -> str:
        """Search among bytes."""
        return f"CAST({name} AS BINARY) REGEXP '[^0-9a-f]'"
