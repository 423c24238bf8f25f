"""Tables and rows into MariaDB and MySQL, with no transaction around the tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Iterator, Optional, Sequence, Union

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.reading import Lines
from kallithea_tune.db_migrate.engines.mysql import keys
from kallithea_tune.db_migrate.engines.mysql.connection import Connected
from kallithea_tune.db_migrate.engines.mysql.load_data import UTC, LoadData
from kallithea_tune.db_migrate.engines.mysql.reading import Reader, is_unbounded
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Column, Constraint, Index, Table
    from sqlalchemy.types import TypeEngine

# In characters; 3,072 bytes are allowed for all columns of a key.
KEY_LENGTH = 255
# Digits, and those after the point, where none are declared: the most that all versions have.
DECIMAL = (65, 30)
# The first with keys of 3,072 bytes by default.
OLDEST = {"MariaDB": (10, 2), "MySQL": (5, 7)}


class Writer(Connected, base.Writer):
    """Writes by LOAD DATA LOCAL, or INSERT where the server forbids it."""

    strict = True
    # Each statement that alters a table takes 30 to 70 ms, however small the table is.
    keys_together = True
    loses_negative_zero = True
    # With the digits of the column; other functions need parentheses.
    current_moment = "CURRENT_TIMESTAMP(6)"
    current_day = "(CURRENT_DATE)"
    # https://mariadb.com/kb/en/timestamp/; later versions have a later end.
    instants = ("1970-01-01 00:00:01", "2038-01-19 03:14:07")

    def lock(self, name: str) -> bool:
        """Take a lock, which belongs to the entire server."""
        cursor = self.cursor()
        cursor.execute("SELECT GET_LOCK(CONCAT(%s, SHA1(DATABASE())), 0)", [name])
        return bool(cursor.fetchone()[0])

    def column_type(self, column: Column) -> Optional[TypeEngine]:
        """Keep microseconds, and texts over 65,535 bytes; but a key must have a limit."""
        from sqlalchemy.dialects import mysql

        kind, unbounded = kind_of(column), is_unbounded(column)
        if unbounded and keys.is_in_key(column):
            return mysql.VARBINARY(KEY_LENGTH) if kind is Kind.binary else mysql.VARCHAR(KEY_LENGTH)
        if unbounded:
            return mysql.LONGBLOB() if kind is Kind.binary else mysql.LONGTEXT()
        if kind is Kind.decimal and column.type.precision is None:
            return mysql.DECIMAL(*DECIMAL)
        return {
            Kind.moment: mysql.DATETIME(fsp=6),
            Kind.instant: mysql.TIMESTAMP(fsp=6),
            Kind.time: mysql.TIME(fsp=6),
        }.get(kind)

    def why_not_called(self, name: str) -> str:
        """Leave out what SQLAlchemy cannot read back."""
        return super().why_not_called(name) or (
            "its name contains a backtick" if "`" in name else ""
        )

    def why_no_table_called(self, name: str) -> str:
        """Return what servers that keep names in lower case would make of it."""
        cursor = self.cursor()
        cursor.execute("SELECT @@lower_case_table_names")
        if int(cursor.fetchone()[0]) and name != name.lower():
            return "table names are not case-sensitive on the target"
        return ""

    def why_unsuitable(self) -> str:
        """Require versions with large keys, and Unicode; utf8mb3 is left to preflight."""
        cursor = self.cursor()
        cursor.execute("SELECT VERSION(), @@character_set_database")
        version, charset = cursor.fetchone()
        family = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        oldest = OLDEST[family]
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < oldest:
            return f"{family} {version} is too old; {oldest[0]}.{oldest[1]} is required"
        if not charset.startswith("utf8"):
            return (
                f"its character set is {charset};"
                " change it with ALTER DATABASE ... CHARACTER SET utf8mb4"
            )
        cursor.execute("SELECT @@innodb_default_row_format")
        if cursor.fetchone()[0] not in ("dynamic", "compressed"):
            return (
                "its rows have no room for the keys; SET GLOBAL innodb_default_row_format = dynamic"
            )
        return ""

    def begin_load(self) -> None:
        """Turn off keys and references, which are added and checked afterwards."""
        self.cursor().execute(
            "SET SESSION foreign_key_checks = 0, unique_checks = 0,"
            " default_storage_engine = 'InnoDB'"
        )

    def add_keys(self, table: Table, added: Sequence[Union[Constraint, Index]]) -> None:
        """Add all by one statement, which the server runs completely or not at all."""
        from sqlalchemy import DDL

        # Identifiers come with % doubled, as DDL expects.
        self.connection.execute(DDL(keys.alter_table(self.connection.dialect, table, added)))

    def end_load(self, tables: Sequence[Table]) -> None:
        """Search for orphans: adding a foreign key with the check on copies the table."""
        self._check_references(tables)
        self.cursor().execute("SET SESSION foreign_key_checks = 1, unique_checks = 1")

    def begin_changes(self) -> None:
        """Have the server ignore foreign keys."""
        self.cursor().execute("SET SESSION foreign_key_checks = 0")

    def end_changes(self, tables: Sequence[Table]) -> None:
        """Search for orphans, which the server never does afterwards."""
        self._check_references(tables)
        self.cursor().execute("SET SESSION foreign_key_checks = 1")

    def _check_references(self, tables: Sequence[Table]) -> None:
        cursor = self.cursor()
        for table in tables:
            for constraint in table.foreign_key_constraints:
                cursor.execute(keys.orphans(constraint, self.quoted_with_arguments), ())
                if cursor.fetchone()[0]:
                    columns = ", ".join(constraint.column_keys)
                    referred = constraint.referred_table.name
                    raise TuneError(
                        f"{table.name}.{columns} refers to rows that are not in {referred}"
                    )

    def can_load(self) -> bool:
        """Whether the server allows LOAD DATA LOCAL."""
        cursor = self.cursor()
        cursor.execute("SELECT @@local_infile")
        return bool(cursor.fetchone()[0])

    def load(self, table: Table, lines: Lines) -> None:
        """Write rows by LOAD DATA LOCAL. Raises TuneError for anything that it only warns of."""
        LoadData(self.connection, table).run(lines)

    def insert(self, table: Table, rows: Iterator[Sequence[Row]]) -> None:
        """Write rows by INSERT; both drivers put many into one statement."""
        name = self.quoted_with_arguments
        names = ", ".join(name(column.name) for column in table.columns)
        marks = ", ".join(
            # Without its zone, which is that of the session.
            f"REPLACE(%s, '{UTC}', '')" if kind_of(column) is Kind.instant else "%s"
            for column in table.columns
        )
        statement = f"INSERT INTO {name(table.name)} ({names}) VALUES ({marks})"
        cursor = self.cursor()
        for batch in rows:
            if batch:
                cursor.executemany(statement, batch)

    def set_last_key(self, table: Table, column: Column, key: int) -> None:
        """Set AUTO_INCREMENT, which commits, unless the rows themselves have brought it there."""
        if Reader(self.connection).last_key(table) != key:
            self.cursor().execute(
                f"ALTER TABLE {self.quoted(table.name)} AUTO_INCREMENT = {key + 1}"
            )

    def analyze(self, tables: Sequence[Table]) -> None:
        """Run ANALYZE TABLE, which commits."""
        if tables:
            cursor = self.cursor()
            cursor.execute(
                "ANALYZE TABLE " + ", ".join(self.quoted(table.name) for table in tables)
            )
            cursor.fetchall()
