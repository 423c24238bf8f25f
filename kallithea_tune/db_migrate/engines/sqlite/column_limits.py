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
            # An INTEGER PRIMARY KEY is the number of the row itself.
            typed=limits.generated or _is_checked(column),
            characters=None,
            integers=limits.integers and WIDEST,
            not_a_number=False,
        )


def _is_checked(column: Column) -> bool:
    """Tell whether a constraint allows 0 and 1 only, as SQLAlchemy makes it for booleans."""
    return bool(getattr(column.type, "create_constraint", False))
