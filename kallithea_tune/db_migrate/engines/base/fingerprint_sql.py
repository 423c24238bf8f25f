"""The SQL of fingerprints, the same values in every engine. Every method takes and returns SQL.

It serves to check what was copied, so nothing here is shared with `reading` and `writing`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import ClassVar, Mapping

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines.base.connection import Connected

# Between two values, in place of NULL, and before the digest of a long text. They are new in every
# run, so that no value contains one, which saves the length of each value.
SEPARATOR, NOTHING, LONG = (secrets.token_hex(6) for _ in range(3))


@dataclass(frozen=True)
class RowSelection:
    """SQL for some rows of a table: those that meet `where`, by `key`, at most `limit` of them."""

    table: str
    columns: str
    where: str
    key: str
    limit: int


class FingerprintSql(Connected):
    """How one engine computes what every other one computes alike."""

    stores_any_type: ClassVar[bool] = False
    """Whether a column of text may contain binary data."""

    utf8_text: bool = True
    """Whether the engine stores text as UTF-8, so that its bytes need no conversion."""

    written: ClassVar[Mapping[Kind, str]] = {}
    """For each kind that all engines can write alike, the text of a value that is not NULL."""

    def prepare(self) -> bool:
        """Set up the session; False where the engine is too old for this SQL."""
        return True

    def text(self, value: str) -> str:
        """Return text in an encoding whose bytes are those of UTF-8."""
        return value

    def octets(self, value: str, kind: Kind = Kind.text) -> str:
        """Count the bytes of text in UTF-8, or of binary data."""
        raise NotImplementedError

    def digest(self, value: str, kind: Kind = Kind.text) -> str:
        """Return the SHA-256 of text in UTF-8, or of binary data, in hexadecimal."""
        raise NotImplementedError

    def stored(self, value: str, kind: Kind) -> str:
        """Return a value in a form that the driver can read, whatever it is."""
        return value

    def concatenated(self, *texts: str) -> str:
        """Concatenate texts of one row; NULL where one of them is."""
        return "({})".format(" || ".join(texts))

    def joined(self, value: str) -> str:
        """Join the texts of all rows by `SEPARATOR`, in the order of the rows."""
        raise NotImplementedError

    def from_rows(self, rows: RowSelection) -> str:
        """Return a FROM clause with these rows."""
        return (
            f"FROM (SELECT {rows.columns} FROM {rows.table} WHERE {rows.where}"
            f" ORDER BY {rows.key} LIMIT {rows.limit}) AS some_rows"
        )
