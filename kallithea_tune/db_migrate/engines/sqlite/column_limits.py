"""What SQLite's columns can store: nearly any value, but it turns "not a number" into NULL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kallithea_tune.db.tables import key_column
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import Limits

if TYPE_CHECKING:
    from sqlalchemy import Column


class ColumnLimits(base.ColumnLimits):
    """Only what SQLite enforces, and what it needs so that rows can be read again."""

    def of(self, column: Column) -> Limits:
        """Return the limits of `column`."""
        return replace(
            super().of(column),
            typed=_is_checked(column) or _is_row_number(column),
            characters=None,
            integers=None,
            not_a_number=False,
        )


def _is_checked(column: Column) -> bool:
    """Tell whether a constraint allows 0 and 1 only, as SQLAlchemy makes it for booleans."""
    return bool(getattr(column.type, "create_constraint", False))


def _is_row_number(column: Column) -> bool:
    """Tell whether this is an INTEGER PRIMARY KEY, which is the number of the row itself."""
    return column is key_column(column.table)
