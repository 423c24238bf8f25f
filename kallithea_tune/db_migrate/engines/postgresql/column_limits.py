"""What PostgreSQL's columns can store: text without NUL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Mapping

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import Limits

if TYPE_CHECKING:
    from sqlalchemy import Column


class ColumnLimits(base.ColumnLimits):
    """The limits of the types, and that one."""

    def configuration(self) -> Mapping[str, str]:
        """Return the version, and what the database was created with."""
        cursor = self.cursor()
        cursor.execute(
            "SELECT version(), pg_encoding_to_char(encoding), datcollate, datctype"
            " FROM pg_database WHERE datname = current_database()"
        )
        names = ("version", "encoding", "collation", "character types")
        return dict(zip(names, map(str, cursor.fetchone())))

    def of(self, column: Column) -> Limits:
        """Return the limits of `column`."""
        return replace(super().of(column), nul=False)
