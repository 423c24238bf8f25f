"""Types under which SQLite keeps values that its own ones would change, or not tell apart."""

from __future__ import annotations

from typing import Optional

from sqlalchemy import types

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines.sqlite.definitions import DECIMAL_TEXT, INSTANT


class DecimalText(types.Numeric):  # type: ignore[misc]
    """Decimals of more than 15 digits: "TEXT" in the name keeps SQLite from making them floats."""

    __visit_name__ = "user_defined"
    reported_kind = Kind.text
    """What SQLAlchemy takes the declared type for."""

    @property
    def length(self) -> Optional[int]:
        """What SQLAlchemy takes the digits for."""
        return self.precision  # type: ignore[no-any-return]

    def get_col_spec(self, **_options: object) -> str:
        """Return the type as it is declared."""
        if self.precision is None:
            return DECIMAL_TEXT
        return f"{DECIMAL_TEXT}({self.precision}, {self.scale or 0})"


class Instant(types.DateTime):  # type: ignore[misc]
    """Moments with their zone, in text."""

    __visit_name__ = "user_defined"
    reported_kind = Kind.decimal
    """What SQLAlchemy takes the declared type for."""

    def get_col_spec(self, **_options: object) -> str:
        """Return the type as it is declared."""
        return INSTANT
