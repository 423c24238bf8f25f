"""What the columns of a target can store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Mapping, Optional

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db.tables import key_column
from kallithea_tune.db_migrate.engines.base.connection import Connected
from kallithea_tune.db_migrate.values import FRACTION_DIGITS

if TYPE_CHECKING:
    from sqlalchemy import Column

# By the name that SQLAlchemy's visitors give the type.
BITS: Mapping[str, int] = {"small_integer": 16, "big_integer": 64}
DEFAULT_BITS = 32
WIDEST = (-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class Limits:
    """What one column can store; None where there is no limit.

    `typed`: values of other types are refused or changed. `characters` limits text, `octets` text
    and binary data, `integers` are the least and the greatest, `generated` is for keys that the
    engine generates. `nul` and `four_byte` say whether
    text may contain such characters, `infinite` and `not_a_number` which floats are possible.
    `digits` of a second are kept.
    """

    kind: Kind
    nullable: bool = True
    typed: bool = True
    characters: Optional[int] = None
    octets: Optional[int] = None
    integers: Optional[tuple[int, int]] = None
    generated: bool = False
    nul: bool = True
    four_byte: bool = True
    infinite: bool = True
    not_a_number: bool = True
    digits: int = FRACTION_DIGITS


class ColumnLimits(Connected):
    """The limits that follow from a column's SQLAlchemy type."""

    folds: ClassVar[bool] = False
    """Whether a collation may treat different texts as equal."""

    packet: Optional[int] = None
    """The most bytes that the server takes at once; None where there is no limit."""

    def read_configuration(self) -> None:
        """Read from the server what depends on its configuration."""

    def configuration(self) -> Mapping[str, str]:
        """Return what decides, beside the limits, which rows the target accepts and what is equal.

        That are its version and its collation, among others.
        """
        dialect = self.connection.dialect
        version = getattr(dialect, "server_version_info", None)
        return {"engine": dialect.name, "version": str(version)}

    def of(self, column: Column) -> Limits:
        """Return the limits of `column`, whose type is that of the target."""
        kind = kind_of(column)
        return Limits(
            kind,
            nullable=bool(column.nullable) and not column.primary_key,
            characters=getattr(column.type, "length", None) if kind is Kind.text else None,
            integers=_range(column) if kind is Kind.integer else None,
            generated=column.table is not None and key_column(column.table) is column,
        )


def _range(column: Column) -> tuple[int, int]:
    bits = BITS.get(getattr(column.type, "__visit_name__", "").lower(), DEFAULT_BITS)
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
