"""Fingerprints in SQLite, which borrows the digest from Python."""

from __future__ import annotations

import hashlib
from typing import Optional

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.fingerprint_sql import SEPARATOR
from kallithea_tune.db_migrate.engines.sqlite.utf16 import is_utf16
from kallithea_tune.db_migrate.values import from_utf8


class FingerprintSql(base.FingerprintSql):
    """The SQL of SQLite."""

    stores_any_type = True
    written = {
        Kind.integer: "%s",
        Kind.boolean: "%s",
        Kind.date: "%s",
        # Without a fraction where it was written by hand.
        Kind.moment: "substr(%s || '.000000', 1, 26)",
        Kind.instant: "substr(replace(%s, '+00:00', '') || '.000000', 1, 26) || '+00:00'",
        Kind.time: "substr(%s || '.000000', 1, 15)",
    }

    def prepare(self) -> bool:
        """Register the digest, and keep the driver from failing on text that is not UTF-8.

        Where text is stored in UTF-16, casts give other bytes, so that rows are fetched.
        """
        raw = self.cursor().connection
        raw.text_factory = from_utf8
        raw.create_function("tune_digest", 1, _digest)
        return not is_utf16(raw)

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Cast, since length() of text ends at a NUL."""
        return f"length(CAST({value} AS BLOB))"

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Pass bytes to Python, since text that is not UTF-8 would not get there."""
        return f"tune_digest(CAST({value} AS BLOB))"

    def stored(self, value: str, kind: Kind) -> str:
        """Read text in a column of binary data as bytes."""
        if kind is Kind.binary:
            return f"CASE typeof({value}) WHEN 'text' THEN CAST({value} AS BLOB) ELSE {value} END"
        return value

    def joined(self, value: str) -> str:
        """Use group_concat."""
        return f"group_concat({value}, '{SEPARATOR}')"


def _digest(value: Optional[bytes]) -> Optional[str]:
    return None if value is None else hashlib.sha256(value).hexdigest()
