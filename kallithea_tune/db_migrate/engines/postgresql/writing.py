"""Rows into PostgreSQL, by COPY, all in one transaction."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Optional, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.reading import Lines
from kallithea_tune.db_migrate.engines.base.stream import PiecesFile
from kallithea_tune.db_migrate.engines.postgresql.reading import COPY_FORMAT

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

LONGEST_NAME = 63  # bytes
OLDEST = 100000  # server_version_num


class Writer(base.Writer):
    """Writes by COPY."""

    transactional_ddl = True
    keeps_nul = False
    strict = True
    # 1,000,000 rows: 3.0 s into a table with a primary key, 1.6 s into one without, 0.3 s to add
    # it.
    primary_key_later = True

    def lock(self, name: str) -> bool:
        """Take an advisory lock, which belongs to this database."""
        cursor = self.cursor()
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [name])
        return bool(cursor.fetchone()[0])

    def why_not_called(self, name: str) -> str:
        """Compare bytes, after which the server cuts a name."""
        too_long = len(name.encode()) > LONGEST_NAME
        return f"its name is longer than {LONGEST_NAME} bytes" if too_long else ""

    def risk(self, column: Column) -> str:
        """Return the risks of all engines, and that PostgreSQL's text has no NUL."""
        risks = [super().risk(column)]
        if kind_of(column) is Kind.text:
            risks.append("text with a NUL is refused")
        return "; ".join(filter(None, risks))

    def why_unsuitable(self) -> str:
        """Require PostgreSQL 10, and UTF-8, since every other encoding lacks characters."""
        cursor = self.cursor()
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
            " current_setting('server_encoding')"
        )
        version, number, encoding = cursor.fetchone()
        self.connection.connection.rollback()
        if number < OLDEST:
            return f"PostgreSQL {version} is too old; 10 is required"
        if encoding != "UTF8":
            return (
                f"its encoding is {encoding}; create one with CREATE DATABASE ..."
                " ENCODING 'UTF8' TEMPLATE template0"
            )
        return ""

    def load(self, table: Table, lines: Lines) -> None:
        """Write rows by COPY."""
        names = ", ".join(self.quoted(column.name) for column in table.columns)
        statement = f"COPY {self.quoted(table.name)} ({names}) FROM STDIN ({COPY_FORMAT})"
        # Where the server goes away, psycopg2 stumbles over a second error, and has Python print
        # the first one.
        hook, sys.excepthook = sys.excepthook, lambda *_error: None
        try:
            self.cursor().copy_expert(statement, PiecesFile(lines))
            return
        except Exception:
            if not self.connection.connection.closed:
                raise
        finally:
            sys.excepthook = hook
        raise self.connection.dialect.dbapi.OperationalError("the server closed the connection")

    def set_last_key(self, table: Table, column: Column, key: int) -> None:
        """Set the sequence of the key."""
        self.cursor().execute(
            "SELECT setval(pg_get_serial_sequence(%s, %s), %s, %s)",
            [self.quoted(table.name), column.name, max(key, 1), key > 0],
        )

    def begin_changes(self) -> None:
        """Defer the checks of foreign keys."""
        self._alter_foreign_keys("DEFERRABLE INITIALLY DEFERRED")
        self.cursor().execute("SET CONSTRAINTS ALL DEFERRED")

    def end_changes(self, tables: Sequence[Table]) -> None:
        """Check them, and make them immediate again."""
        self.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._alter_foreign_keys("NOT DEFERRABLE")

    def _alter_foreign_keys(self, timing: str) -> None:
        cursor = self.cursor()
        cursor.execute(
            "SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint"
            " WHERE contype = 'f' AND connamespace = current_schema()::regnamespace"
        )
        for table, name in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} ALTER CONSTRAINT {name} {timing}")

    def rows_written(self) -> Optional[int]:
        """Return the count of this transaction, which stays 0 where ``track_counts`` is off."""
        cursor = self.cursor()
        cursor.execute(
            "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables"
        )
        return int(cursor.fetchone()[0] or 0)

    def analyze(self, tables: Sequence[Table]) -> None:
        """Run ANALYZE, which is possible inside a transaction."""
        cursor = self.cursor()
        for table in tables:
            cursor.execute(f"ANALYZE {self.quoted(table.name)}")
