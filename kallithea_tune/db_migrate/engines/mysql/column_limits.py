"""What MariaDB's and MySQL's columns can store: sizes in bytes, finite numbers, short fractions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Mapping

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.values import FRACTION_DIGITS

if TYPE_CHECKING:
    from sqlalchemy import Column

# Bytes; https://mariadb.com/kb/en/data-type-storage-requirements/
SIZES: Mapping[str, int] = {
    "TINYTEXT": 255,
    "TEXT": 65535,
    "MEDIUMTEXT": 2**24 - 1,
    "TINYBLOB": 255,
    "BLOB": 65535,
    "MEDIUMBLOB": 2**24 - 1,
}

VARIABLES = (
    "@@version",
    "@@character_set_database",
    "@@collation_database",
    "@@sql_mode",
    "@@max_allowed_packet",
)


class ColumnLimits(base.ColumnLimits):
    """The limits of the types, and those of the server's configuration."""

    folds = True
    four_byte = True

    def read_configuration(self) -> None:
        """Read the character set that new tables get, and the greatest packet."""
        cursor = self.cursor()
        cursor.execute("SELECT @@character_set_database, @@max_allowed_packet")
        charset, packet = cursor.fetchone()
        self.four_byte, self.packet = charset not in ("utf8", "utf8mb3"), int(packet)

    def configuration(self) -> Mapping[str, str]:
        """Return the variables of the session."""
        cursor = self.cursor()
        cursor.execute("SELECT {}".format(", ".join(VARIABLES)))
        return dict(zip(VARIABLES, map(str, cursor.fetchone())))

    def of(self, column: Column) -> Limits:
        """Return the limits of `column`."""
        from sqlalchemy.dialects import mysql

        limits = super().of(column)
        octets, digits = None, FRACTION_DIGITS
        if limits.kind in (Kind.text, Kind.binary):
            type_name = str(column.type.compile(dialect=mysql.dialect())).partition("(")[0]
            octets = SIZES.get(type_name)
            if limits.kind is Kind.binary and octets is None:
                octets = getattr(column.type, "length", None)
        if limits.kind in (Kind.moment, Kind.instant, Kind.time):
            digits = getattr(column.type, "fsp", None) or 0
        return replace(
            limits,
            octets=octets,
            digits=digits,
            four_byte=self.four_byte,
            infinite=False,
            not_a_number=False,
        )
