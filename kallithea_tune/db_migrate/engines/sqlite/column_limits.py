"""What SQLite's columns can store: all but integers over 64 bits, and "not a number"."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import WIDEST, Limits

if TYPE_CHECKING:
    from sqlalchemy import Column


class ColumnLimits(base.ColumnLimits):
    """Only what SQLite enforces, and what it needs so that rows can be read again."""

    def of(self, column: Column) -> Limits:
        """Return the limits of `column`."""
        limits = super().of(column)
        return replace(
            limits,
            typed=False,
            characters=None,
            integers=limits.integers and WIDEST,
            not_a_number=False,
        )
