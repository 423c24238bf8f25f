"""Fingerprints in MariaDB and MySQL."""

from __future__ import annotations

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.fingerprint_sql import SEPARATOR, RowSelection

MOMENT = "date_format(%s, '%%Y-%%m-%%d %%H:%%i:%%s.%%f')"
DATES = (Kind.moment, Kind.instant, Kind.date, Kind.time)


class FingerprintSql(base.FingerprintSql):
    """The SQL of MariaDB and MySQL."""

    written = {
        Kind.integer: "CAST(%s AS char)",
        Kind.boolean: "CAST(%s AS char)",
        Kind.moment: MOMENT,
        Kind.instant: "date_format(%s, '%%Y-%%m-%%d %%H:%%i:%%s.%%f+00:00')",
        Kind.time: "time_format(%s, '%%H:%%i:%%s.%%f')",
        Kind.date: "CAST(%s AS char)",
    }

    def prepare(self) -> bool:
        """Look for other encodings."""
        cursor = self.cursor()
        cursor.execute(
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE()"
            " AND character_set_name NOT IN ('utf8mb4', 'utf8mb3', 'utf8', 'ascii')"
        )
        self.utf8_text = cursor.fetchone()[0] == 0
        return True

    def text(self, value: str) -> str:
        """Convert only where some column has another encoding."""
        return value if self.utf8_text else f"CONVERT({value} USING utf8mb4)"

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Count bytes."""
        return f"length({value if kind is Kind.binary else self.text(value)})"

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Use sha2."""
        return f"sha2({value if kind is Kind.binary else self.text(value)}, 256)"

    def stored(self, value: str, kind: Kind) -> str:
        """Read dates as text, since Python has no zero dates."""
        if kind is Kind.number:
            # Of a FLOAT only six digits would be sent.
            return f"CAST({value} AS double)"
        return self.written[kind] % value if kind in DATES else value

    def concatenated(self, *texts: str) -> str:
        """Use concat, since || may mean OR."""
        return "concat({})".format(", ".join(texts))

    def joined(self, value: str) -> str:
        """Use group_concat."""
        return f"group_concat({value} SEPARATOR '{SEPARATOR}')"

    def from_rows(self, rows: RowSelection) -> str:
        """Read along the primary key, without the temporary table that a subquery would need.

        No limit: group_concat has its own.
        """
        return f"FROM {rows.table} FORCE INDEX (PRIMARY) WHERE {rows.where}"
