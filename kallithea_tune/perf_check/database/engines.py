"""What SQLite, PostgreSQL, MySQL and MariaDB report about themselves; a function for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable, Mapping, Protocol

from kallithea_tune.perf_check.database.facts import (
    DatabaseFacts,
    InnodbFacts,
    ServerLimits,
    Setting,
    SqliteFacts,
    TableFacts,
    TableMaintenance,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Result

# Rows of a SQLite table are counted one by one up to here, since counting all keeps a writer
# waiting meanwhile.
COUNT_LIMIT = 100_000
_VERSION_QUERIES = {"sqlite": "SELECT sqlite_version()", "postgresql": "SHOW server_version"}
_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL"}
_SQLITE_TABLES = (
    "SELECT name, sql FROM sqlite_master "
    "WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
)
_POSTGRESQL_JUDGED = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "data_checksums",
    "autovacuum",
    "track_counts",
)
_MYSQL_JUDGED = (
    "innodb_flush_log_at_trx_commit",
    "innodb_doublewrite",
    "innodb_flush_method",
    "log_bin",
    "sync_binlog",
)
_POSTGRESQL_SETTINGS = "SELECT name, setting, source FROM pg_settings"
POSTGRESQL_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_POSTGRESQL_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
)
_POSTGRESQL_TABLES = """
SELECT c.relname, greatest(c.reltuples, s.n_live_tup, 0), pg_total_relation_size(c.oid),
    s.n_dead_tup, s.n_mod_since_analyze,
    EXISTS (SELECT 1 FROM pg_stats p WHERE p.schemaname = s.schemaname AND p.tablename = s.relname),
    extract(epoch FROM now() - greatest(s.last_vacuum, s.last_autovacuum)) / 86400,
    extract(epoch FROM now() - greatest(s.last_analyze, s.last_autoanalyze)) / 86400,
    coalesce(array_to_string(c.reloptions, ' '), '')
FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE s.schemaname = current_schema()
"""
_MYSQL_TABLES = (
    "SELECT t.table_name, t.table_rows, t.data_length + t.index_length, t.engine, e.transactions, "
    "t.create_options FROM information_schema.tables t "
    "LEFT JOIN information_schema.engines e ON e.engine = t.engine "
    "WHERE t.table_schema = database() AND t.table_type = 'BASE TABLE'"
)
_MYSQL_SUPERUSER = r"""
SELECT count(*) FROM information_schema.user_privileges
WHERE privilege_type IN ('SUPER', 'SYSTEM_VARIABLES_ADMIN')
    AND grantee = concat('\'', replace(current_user(), '@', '\'@\''), '\'')
"""
_SWITCHED_OFF = re.compile(
    r"\bautovacuum_enabled=(off|false|no|0|n|f)\b|\bstats_auto_recalc=0", re.IGNORECASE
)


class Query(Protocol):
    """Executes SQL text with named parameters."""

    def __call__(self, statement: str, **parameters: object) -> Result:
        """Return the result of `statement`."""


def name_and_version(connection: Connection) -> tuple[str, str]:
    """Return the engine behind a SQLAlchemy connection by its own name, and its version."""
    import sqlalchemy

    dialect: str = connection.dialect.name
    statement = sqlalchemy.text(_VERSION_QUERIES.get(dialect, "SELECT version()"))
    answer = str(connection.execute(statement).scalar())
    name = "MariaDB" if "MariaDB" in answer else _NAMES.get(dialect, dialect)
    return name, re.split(r"[ -]", answer)[0]


def sqlite(query: Query, name: str, version: str) -> DatabaseFacts:
    """Return the pragmas of the file and the rows of each table, beyond `COUNT_LIMIT` by row id."""

    def pragma(name: str) -> int:
        return int(query("PRAGMA " + name).scalar())

    tables = query(_SQLITE_TABLES).fetchall()
    return DatabaseFacts(
        name,
        version,
        tables={
            table: TableFacts(_sqlite_rows(query, table, "WITHOUT ROWID" not in sql.upper()))
            for table, sql in tables
        },
        sqlite=SqliteFacts(
            str(query("PRAGMA journal_mode").scalar()),
            pragma("page_size"),
            pragma("page_count"),
            pragma("freelist_count"),
        ),
        settings=(Setting("synchronous", str(pragma("synchronous"))),),
    )


def _sqlite_rows(query: Query, name: str, has_rowid: bool) -> int:
    escaped = name.replace('"', '""')
    counted = f'SELECT count(*) FROM (SELECT 1 FROM "{escaped}" LIMIT {COUNT_LIMIT})'
    rows = int(query(counted).scalar())
    if rows == COUNT_LIMIT and has_rowid:
        rows = int(query(f'SELECT max(rowid) - min(rowid) + 1 FROM "{escaped}"').scalar())
    return rows


def postgresql(query: Query, name: str, version: str) -> DatabaseFacts:
    """Return rows, bytes and maintenance of each table, and connections with their limits."""
    rows = [Setting(*map(str, row)) for row in query(_POSTGRESQL_SETTINGS)]
    settings = {setting.name: setting.value for setting in rows}
    # In milliseconds; PostgreSQL 14 and newer have it.
    idle_timeout_ms = int(settings.get("idle_session_timeout", 0))
    tables = {}
    for row in query(_POSTGRESQL_TABLES):
        vacuum_days, analyze_days = (None if days is None else float(days) for days in row[6:8])
        maintenance = TableMaintenance(
            int(row[3]), int(row[4]), bool(row[5]), vacuum_days, analyze_days
        )
        tables[str(row[0])] = TableFacts(
            int(row[1]), int(row[2]), maintenance, maintained=not _SWITCHED_OFF.search(row[8])
        )
    return DatabaseFacts(
        name,
        version,
        tables=tables,
        autovacuum=settings["autovacuum"] == "on",
        server=ServerLimits(
            int(query(_POSTGRESQL_CONNECTIONS).scalar()),
            int(settings["max_connections"]),
            idle_timeout_ms / 1000,
        ),
        settings=tuple(row for row in rows if row.name in _POSTGRESQL_JUDGED),
        superuser=bool(query(POSTGRESQL_SUPERUSER).scalar()),
    )


def mysql(query: Query, name: str, version: str) -> DatabaseFacts:
    """Return estimated rows and bytes of each table, connections and limits, InnoDB's memory."""
    variables = {str(row[0]): str(row[1]) for row in query("SHOW GLOBAL VARIABLES")}

    def variable(name: str) -> int:
        return int(variables[name])

    def status(name: str) -> int:
        return int(query(f"SHOW GLOBAL STATUS LIKE '{name}'").fetchone()[1])

    return DatabaseFacts(
        name,
        version,
        tables={
            str(row[0]): TableFacts(
                int(row[1] or 0),
                int(row[2] or 0),
                engine=str(row[3]),
                transactional=row[4] == "YES",
                maintained=not _SWITCHED_OFF.search(str(row[5])),
            )
            for row in query(_MYSQL_TABLES)
        },
        server=ServerLimits(
            status("Threads_connected"),
            variable("max_connections"),
            float(variable("wait_timeout")),
        ),
        innodb=InnodbFacts(
            variable("innodb_buffer_pool_size"),
            status("Innodb_buffer_pool_read_requests"),
            status("Innodb_buffer_pool_reads"),
            variables["innodb_stats_auto_recalc"] == "ON",
        ),
        settings=tuple(
            Setting(name, variables[name]) for name in _MYSQL_JUDGED if name in variables
        ),
        superuser=bool(query(_MYSQL_SUPERUSER).scalar()),
    )


# By SQLAlchemy's name of the dialect.
ENGINES: Mapping[str, Callable[[Query, str, str], DatabaseFacts]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
    "mysql": mysql,
}
