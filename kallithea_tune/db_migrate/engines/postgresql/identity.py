"""The proof that nobody has written to a PostgreSQL cluster: no transaction has got a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.identity import Parts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# A snapshot lists the first number that is free and those in use. Restored files can have counted
# as far, so the server has to run since; after a crash, it forgets its statistics. Sequences count
# outside transactions.
QUERIES = {
    "cluster": "SELECT system_identifier FROM pg_control_system()",
    "database": "SELECT oid FROM pg_database WHERE datname = current_database()",
    "server start": "SELECT extract(epoch FROM pg_postmaster_start_time())",
    "statistics": "SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter",
    "user": "SELECT current_user || ' ' || current_schemas(true)::text",
    "sequences": "SELECT md5(string_agg(s::text, ',' ORDER BY s::text)) FROM pg_sequences AS s",
    "transactions": "SELECT txid_current_snapshot()",
}


class Identity(base.Identity):
    """What the transactions of the cluster have left behind."""

    def read(self, connection: Connection) -> Parts:
        """Read everything as of one moment."""
        cursor = connection.connection.cursor()
        parts = {}
        try:
            for name, query in QUERIES.items():
                cursor.execute(query)
                parts[name] = str(cursor.fetchone()[0])
        except connection.dialect.dbapi.Error:
            return {}
        finally:
            connection.connection.rollback()
        return parts
