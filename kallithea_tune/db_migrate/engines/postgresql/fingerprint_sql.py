"""Fingerprints in PostgreSQL 11 and newer, which have sha256()."""

from __future__ import annotations

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.fingerprint_sql import SEPARATOR

# A colon before a word is a parameter in SQLAlchemy's text(), unless escaped.
MOMENT = r"to_char(%s, 'YYYY-MM-DD HH24\:MI\:SS.US')"
INSTANT = r"to_char(timezone('UTC', %s), 'YYYY-MM-DD HH24\:MI\:SS.US+00\:00')"
OLDEST = (11,)


class FingerprintSql(base.FingerprintSql):
    """The SQL of PostgreSQL."""

    written = {
        Kind.integer: "CAST(%s AS text)",
        Kind.boolean: "CAST(CAST(%s AS integer) AS text)",
        Kind.moment: MOMENT,
        Kind.instant: INSTANT,
        Kind.time: r"to_char(CAST(%s AS interval), 'HH24\:MI\:SS.US')",
        Kind.date: "to_char(%s, 'YYYY-MM-DD')",
    }

    def prepare(self) -> bool:
        """Look for another encoding, and for sha256()."""
        cursor = self.cursor()
        cursor.execute("SHOW server_encoding")
        self.utf8_text = cursor.fetchone()[0] == "UTF8"
        version = self.connection.dialect.server_version_info
        return bool(version is None or version >= OLDEST)

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Convert only where the database has another encoding."""
        plain = self.utf8_text or kind is Kind.binary
        return "octet_length({})".format(value if plain else _in_utf8(value))

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Use sha256, which takes bytes."""
        octets = value if kind is Kind.binary else _in_utf8(value)
        return f"encode(sha256({octets}), 'hex')"

    def stored(self, value: str, kind: Kind) -> str:
        """Read dates as text: Python has no infinity, and only the years from 1 to 9999."""
        if kind in (Kind.moment, Kind.instant):
            return (
                rf"CASE WHEN {value} >= '0001-01-01' AND {value} < '10000-01-01'"
                rf" THEN {self.written[kind] % value} ELSE CAST({value} AS text) END"
            )
        if kind is Kind.number:
            # Singles are sent with fewer digits than it takes to be the same double.
            return f"CAST({value} AS double precision)"
        if kind is Kind.time:
            return self.written[kind] % value
        return f"CAST({value} AS text)" if kind is Kind.date else value

    def joined(self, value: str) -> str:
        """Use string_agg, which keeps the order of a sorted subquery when there are no groups."""
        return f"string_agg({value}, '{SEPARATOR}')"


def _in_utf8(text: str) -> str:
    return f"convert_to({text}, 'UTF8')"
