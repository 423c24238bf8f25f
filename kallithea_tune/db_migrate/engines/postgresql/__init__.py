"""PostgreSQL through psycopg2."""

from __future__ import annotations

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.postgresql.catalog import Catalog
from kallithea_tune.db_migrate.engines.postgresql.column_limits import ColumnLimits
from kallithea_tune.db_migrate.engines.postgresql.connection import SETTINGS
from kallithea_tune.db_migrate.engines.postgresql.definitions import Definitions
from kallithea_tune.db_migrate.engines.postgresql.fingerprint_sql import FingerprintSql
from kallithea_tune.db_migrate.engines.postgresql.identity import Identity
from kallithea_tune.db_migrate.engines.postgresql.reading import Reader
from kallithea_tune.db_migrate.engines.postgresql.violation_sql import ViolationSql
from kallithea_tune.db_migrate.engines.postgresql.writing import Writer

LOCK_HOLDERS = """
    SELECT DISTINCT pid, usename, application_name
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE granted AND locktype = 'relation' AND mode = 'AccessExclusiveLock'
        AND datname = current_database() AND pid <> pg_backend_pid()
    ORDER BY pid"""


class Engine(base.Engine):
    """PostgreSQL 10 and newer; fingerprints are computed there from 11 on."""

    __dialect__ = "postgresql"
    settings = SETTINGS
    catalog_class = Catalog
    identity_class = Identity
    reader_class = Reader
    writer_class = Writer
    definitions_class = Definitions
    column_limits_class = ColumnLimits
    violation_sql_class = ViolationSql
    fingerprint_sql_class = FingerprintSql

    def lock_holders(self) -> str:
        """Return them with their users and programs."""
        with self.connection.engine.connect() as other:
            cursor = other.connection.cursor()
            cursor.execute(LOCK_HOLDERS)
            sessions = [" ".join(filter(None, map(str, row))) for row in cursor.fetchall()]
        return f"the session {', '.join(sessions)}" if sessions else ""
