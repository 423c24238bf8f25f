"""What SQLite, PostgreSQL, MySQL and MariaDB each say of themselves; one function for each."""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping

Ask = Callable[..., Any]
# Rows of a SQLite table are counted one by one up to here, since counting all keeps a writer
# waiting meanwhile.
COUNT_LIMIT = 100_000


def name_and_version(connection: Any) -> tuple[str, str]:
    """Return the engine behind a SQLAlchemy connection by its own name, and its version."""
    import sqlalchemy

    backend = connection.dialect.name
    asked = {"sqlite": "SELECT sqlite_version()", "postgresql": "SHOW server_version"}.get(
        backend, "SELECT version()"
    )
    said = str(connection.execute(sqlalchemy.text(asked)).scalar())
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(backend) or (
        "MariaDB" if "MariaDB" in said else "MySQL" if backend == "mysql" else backend
    )
    return name, re.split(r"[ -]", said)[0]


def sqlite(ask: Ask) -> dict[str, Any]:
    """Return the pragmas that describe the file, and the rows of each table: beyond `COUNT_LIMIT`
    by its row ids.
    """
    tables = ask(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    ).fetchall()
    pragmas = {
        "journal_mode": "journal_mode",
        "page_size": "page_size",
        "pages": "page_count",
        "free_pages": "freelist_count",
    }
    return {
        "tables": {
            name: {"rows": _rows(ask, name, "WITHOUT ROWID" not in sql.upper())}
            for name, sql in tables
        },
        **{key: ask("PRAGMA " + pragma).scalar() for key, pragma in pragmas.items()},
    }


def _rows(ask: Ask, name: str, has_rowid: bool) -> int:
    table = '"{}"'.format(name.replace('"', '""'))
    rows: int = ask(
        "SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %d)" % (table, COUNT_LIMIT)
    ).scalar()
    if rows == COUNT_LIMIT and has_rowid:
        rows = ask("SELECT max(rowid) - min(rowid) + 1 FROM " + table).scalar()
    return rows


def postgresql(ask: Ask) -> dict[str, Any]:
    """Return rows, bytes, dead rows, and days since VACUUM and ANALYZE by table; connections and
    their limits.
    """
    settings = dict(
        ask(
            "SELECT name, setting FROM pg_settings WHERE name IN "
            "('max_connections', 'idle_session_timeout', 'autovacuum')"
        ).fetchall()
    )
    tables = ask(
        "SELECT c.relname, greatest(c.reltuples, s.n_live_tup, 0), pg_total_relation_size(c.oid), s.n_dead_tup, "
        "s.n_mod_since_analyze, extract(epoch FROM now() - greatest(s.last_vacuum, s.last_autovacuum)) / 86400, "
        "extract(epoch FROM now() - greatest(s.last_analyze, s.last_autoanalyze)) / 86400, "
        "EXISTS (SELECT 1 FROM pg_stats p WHERE p.schemaname = s.schemaname AND p.tablename = s.relname) "
        "FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid WHERE s.schemaname = current_schema()"
    )
    return {
        "tables": {
            row[0]: {
                "rows": int(row[1]),
                "bytes": int(row[2]),
                "dead": row[3],
                "changed": row[4],
                "vacuum_days": _number(row[5]),
                "analyze_days": _number(row[6]),
                "analyzed": row[7],
            }
            for row in tables
        },
        "autovacuum": settings["autovacuum"] == "on",
        "max_connections": int(settings["max_connections"]),
        "connections": ask(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ).scalar(),
        # In milliseconds; PostgreSQL 14 and newer have it.
        "idle_timeout_s": int(settings.get("idle_session_timeout", 0)) / 1000,
    }


def _number(value: Any) -> Any:
    return None if value is None else float(value)


def mysql(ask: Ask) -> dict[str, Any]:
    """Return estimated rows and the bytes by table, connections and their limits, and InnoDB's
    memory.
    """

    def show(what: str, name: str) -> int:
        return int(ask(f"SHOW GLOBAL {what} LIKE '{name}'").fetchone()[1])

    tables = ask(
        "SELECT table_name, table_rows, data_length + index_length FROM information_schema.tables "
        "WHERE table_schema = database() AND table_type = 'BASE TABLE'"
    )
    return {
        "tables": {row[0]: {"rows": int(row[1] or 0), "bytes": int(row[2] or 0)} for row in tables},
        "max_connections": show("VARIABLES", "max_connections"),
        "connections": show("STATUS", "Threads_connected"),
        "idle_timeout_s": float(show("VARIABLES", "wait_timeout")),
        "buffer_pool_bytes": show("VARIABLES", "innodb_buffer_pool_size"),
        "page_requests": show("STATUS", "Innodb_buffer_pool_read_requests"),
        "page_reads": show("STATUS", "Innodb_buffer_pool_reads"),
    }


OWN: Mapping[str, Callable[[Ask], dict[str, Any]]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
    "mysql": mysql,
}
