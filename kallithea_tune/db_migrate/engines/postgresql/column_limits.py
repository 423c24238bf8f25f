"""What PostgreSQL's columns can store: text without NUL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import Limits

if TYPE_CHECKING:
    from sqlalchemy import Column


class ColumnLimits(base.ColumnLimits):
    """The limits of the types, and that one."""

    def of(self, column: Column) -> Limits:
        """Return the limits of `column`."""
        return replace(super().of(column), nul=False)
