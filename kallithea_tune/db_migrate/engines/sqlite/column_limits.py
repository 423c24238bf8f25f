"""What SQLite's columns can store: any value, but it turns "not a number" into NULL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import Limits

if TYPE_CHECKING:
    from sqlalchemy import Column


class ColumnLimits(base.ColumnLimits):
    """Only what SQLite enforces, and what it needs so that rows can be read again."""

    def of(self, column: Column) -> Limits:
        """Return the limits of `column`."""
        return replace(
            super().of(column), typed=False, characters=None, integers=None, not_a_number=False
        )
