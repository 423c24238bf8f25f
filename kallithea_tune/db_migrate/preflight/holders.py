"""What the columns of each engine hold, as the target of a migration. To add an engine, add a
subclass of `Holder`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Optional

from kallithea_tune.db_migrate.preflight.limits import ALL_DIGITS, Limits
from kallithea_tune.db_migrate.values import Kind, kind_of

if TYPE_CHECKING:
    from sqlalchemy import Column

    from kallithea_tune.db_migrate.copy import End

BITS: Mapping[str, int] = {"small_integer": 16, "big_integer": 64}
# Bytes; https://mariadb.com/kb/en/data-type-storage-requirements/
MYSQL_SIZES: Mapping[str, int] = {
    "TINYTEXT": 255,
    "TEXT": 65535,
    "MEDIUMTEXT": 2**24 - 1,
    "TINYBLOB": 255,
    "BLOB": 65535,
    "MEDIUMBLOB": 2**24 - 1,
}


class Holder:
    """One engine, found by its SQLAlchemy name."""

    __dialect__ = ""
    known: ClassVar[dict[str, type[Holder]]] = {}

    folds = False
    """Whether it may hold texts that differ for equal."""

    packet: Optional[int] = None
    """The most bytes that the server takes at once; None where there is no limit."""

    def __init_subclass__(cls) -> None:
        """Make the engine known."""
        Holder.known[cls.__dialect__] = cls

    def ask(self, target: End) -> None:
        """Ask the server for what depends on its configuration."""

    def limits(self, column: Column) -> Limits:
        """Return what `column` holds, whose type is that of the target."""
        kind = kind_of(column)
        return Limits(
            kind,
            nullable=bool(column.nullable) and not column.primary_key,
            characters=getattr(column.type, "length", None) if kind is Kind.text else None,
            integers=_range(column) if kind is Kind.integer else None,
        )


class PostgreSQL(Holder):
    """PostgreSQL: text without NUL."""

    __dialect__ = "postgresql"

    def limits(self, column: Column) -> Limits:
        """Add that."""
        return replace(super().limits(column), nul=False)


class SQLite(Holder):
    """SQLite takes any value in any column, but makes NULL of what is not a number."""

    __dialect__ = "sqlite"

    def limits(self, column: Column) -> Limits:
        """Keep only what SQLite enforces, and what it needs to be read again."""
        return replace(
            super().limits(column), typed=False, characters=None, integers=None, not_a_number=False
        )


class MySQL(Holder):
    """MariaDB and MySQL: sizes in bytes, finite numbers, characters and packets as the server is
    configured.
    """

    __dialect__ = "mysql"
    folds = True
    four_byte = True

    def ask(self, target: End) -> None:
        """Ask for the character set that new tables get, and for the greatest packet."""
        cursor = target.dialect.cursor(target.connection)
        cursor.execute("SELECT @@character_set_database, @@max_allowed_packet")
        charset, packet = cursor.fetchone()
        self.four_byte, self.packet = charset not in ("utf8", "utf8mb3"), int(packet)

    def limits(self, column: Column) -> Limits:
        """Look at the type that the column gets."""
        found = super().limits(column)
        octets, digits = None, ALL_DIGITS
        written = str(column.type.compile(dialect=_dialect()))
        if found.kind in (Kind.text, Kind.binary):
            octets = MYSQL_SIZES.get(written.partition("(")[0])
            if found.kind is Kind.binary and octets is None:
                octets = getattr(column.type, "length", None)
        if found.kind in (Kind.moment, Kind.time):
            digits = getattr(column.type, "fsp", None) or 0
        return replace(
            found,
            octets=octets,
            digits=digits,
            four_byte=self.four_byte,
            infinite=False,
            not_a_number=False,
        )


def holder_of(target: End) -> Holder:
    """Return what is known about the engine of the target, its server having been asked."""
    holder = Holder.known.get(target.connection.dialect.name, Holder)()
    holder.ask(target)
    return holder


def _range(column: Any) -> tuple[int, int]:
    bits = BITS.get(getattr(column.type, "__visit_name__", "").lower(), 32)
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _dialect() -> Any:
    from sqlalchemy.dialects import mysql

    return mysql.dialect()
