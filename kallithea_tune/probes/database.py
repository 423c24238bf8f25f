"""Asks the database what it is and how it does, read-only and over one connection, in a child process."""

from __future__ import annotations

import os
import re
import statistics
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from kallithea_tune.engine import read_only_engine, sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.instance import Instance
from kallithea_tune.probes import child

ROUND_TRIPS = 50
LOG = "user_logs"
# What Kallithea's journal and admin pages ask for, whoever looks; the order decides whether an index can serve it.
JOURNAL = (
    "SELECT * FROM user_logs LEFT OUTER JOIN users ON users.user_id = user_logs.user_id "
    "LEFT OUTER JOIN repositories ON repositories.repo_id = user_logs.repository_id "
    "ORDER BY user_logs.%s DESC LIMIT 20"
)

Facts = Mapping[str, Any]


def facts(instance: Instance, seconds: float) -> Facts:
    """Return what `survey` says of the database of `instance` within `seconds`.

    Raises NotMeasured in one sentence when the database cannot be used, ConfigError when its URL cannot.
    """
    instance.engine()
    result: Facts = child.call("kallithea_tune.probes.database:survey", seconds, url=instance.database_url)
    return result


def survey(url: str) -> dict[str, Any]:
    """Return engine, version, round trips, tables, indexes, user_logs and what the engine alone knows; for a child."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        # Autocommit, so that nothing stays "idle in transaction" while we measure.
        with read_only_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:

            def ask(statement: str, **parameters: Any) -> Any:
                return connection.execute(sqlalchemy.text(statement), parameters)

            own = _OWN.get(connection.dialect.name)
            if not own:
                raise NotMeasured("the engine %s is not one that is known here" % connection.dialect.name)
            found: dict[str, Any] = {"round_trips_ms": _timed(lambda: ask("SELECT 1").fetchall(), ROUND_TRIPS)}
            found.update(own(ask))
            found["foreign_keys"] = _unindexed(sqlalchemy.inspect(connection))
            if LOG in found["tables"]:
                found["log"] = _log(ask)
            return found
    except SQLAlchemyError as error:
        raise NotMeasured(explained(error, url)) from None


def explained(error: Exception, url: str) -> str:
    """Say in one sentence, without the URL, why the database of `url` did not answer."""
    path = sqlite_file(url)
    said = getattr(error, "orig", None) or error
    text = str(said.args[-1] if said.args else said).strip().splitlines()[0]
    if not path:
        return text
    if not os.path.exists(path):
        return "the SQLite file %s does not exist" % path
    if os.path.isdir(path):
        return "%s is a directory, not a SQLite file" % path
    if "locked" in text:
        holders = ", ".join("process %d" % pid for pid in lock_holders(path))
        return "%s is locked for more than 2 s%s" % (path, " by " + holders if holders else "")
    return "%s: %s" % (path, text)


def lock_holders(path: str) -> list[int]:
    """Return the processes that hold a write lock on the file, as Linux lists them in /proc/locks."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    # "1: POSIX ADVISORY WRITE 4242 08:01:655361 1073741826 1073742335"
    return sorted({
        int(words[-4]) for words in lines
        if "WRITE" in words and words[-3].split(":")[-1] == str(inode) and int(words[-4]) > 0
    })


def _timed(action: Callable[[], object], times: int, seconds: float = 1.0) -> list[float]:
    """Return the milliseconds each of up to `times` calls took, the first (warm-up) left out."""
    action()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < times and (not taken or time.perf_counter() < end):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def _unindexed(inspector: Any) -> list[tuple[str, str]]:
    """Return table and columns of each foreign key that no index, unique or primary key begins with."""
    missing = []
    for table in inspector.get_table_names():
        leading = [inspector.get_pk_constraint(table)["constrained_columns"]]
        leading += [index["column_names"] for index in inspector.get_indexes(table)]
        leading += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
        for key in inspector.get_foreign_keys(table):
            columns = key["constrained_columns"]
            if not any(list(other[: len(columns)]) == columns for other in leading):
                missing.append((table, ", ".join(columns)))
    return missing


def _log(ask: Callable[..., Any]) -> dict[str, Any]:
    """Return what the newest rows of user_logs show: their shape, and how many came when."""
    rows = ask(
        "SELECT action_date, username, repository_name, action FROM user_logs ORDER BY user_log_id DESC LIMIT 1000"
    ).fetchall()
    if not rows:
        return {}
    stamps = sorted(_seconds(row[0]) for row in rows)
    busiest, first = 0, 0
    for last, stamp in enumerate(stamps):
        while stamps[first] <= stamp - 60:
            first += 1
        busiest = max(busiest, last - first + 1)
    days = max((stamps[-1] - stamps[0]) / 86400, 1.0)
    return {
        "rows_a_day": len(rows) / days, "busiest_minute": busiest,
        "lengths": [sum(len(row[column]) for row in rows) // len(rows) for column in (1, 2, 3)],
    }


def _seconds(stamp: Any) -> float:
    import datetime

    if isinstance(stamp, str):
        # SQLite keeps dates as text, and Python 3.8 reads a fraction of three or six digits only.
        stamp = datetime.datetime.fromisoformat(stamp.split(".")[0])
    result: float = stamp.replace(tzinfo=datetime.timezone.utc).timestamp()
    return result


def _sqlite(ask: Callable[..., Any]) -> dict[str, Any]:
    def pragma(name: str) -> Any:
        return ask("PRAGMA " + name).scalar()

    names = [row[0] for row in ask(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'")]
    return {
        "engine": "SQLite", "version": ask("SELECT sqlite_version()").scalar(),
        "tables": {name: {"rows": ask('SELECT count(*) FROM "%s"' % name).scalar()} for name in names},
        "journal_mode": pragma("journal_mode"), "page_size": pragma("page_size"), "pages": pragma("page_count"),
        "free_pages": pragma("freelist_count"),
    }


def _postgresql(ask: Callable[..., Any]) -> dict[str, Any]:
    def setting(name: str) -> Optional[int]:
        value = ask("SELECT current_setting(:name, true)", name=name).scalar()
        return int(re.sub(r"\D", "", value) or 0) if value else None

    tables = ask(
        "SELECT c.relname, c.reltuples, pg_total_relation_size(c.oid), s.n_live_tup, s.n_dead_tup, "
        "greatest(s.last_analyze, s.last_autoanalyze) IS NOT NULL "
        "FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid WHERE s.schemaname = current_schema()")
    return {
        "engine": "PostgreSQL", "version": ask("SHOW server_version").scalar().split()[0],
        "tables": {
            row[0]: {"rows": int(max(row[1], row[3], 0)), "bytes": row[2], "dead": row[4], "analyzed": row[5]}
            for row in tables
        },
        "max_connections": setting("max_connections"),
        "connections": ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'").scalar(),
        "idle_timeout_s": (setting("idle_session_timeout") or 0) / 1000,
    }


def _mysql(ask: Callable[..., Any]) -> dict[str, Any]:
    def show(what: str, name: str) -> int:
        return int(ask("SHOW GLOBAL %s LIKE '%s'" % (what, name)).fetchone()[1])

    version = ask("SELECT version()").scalar()
    tables = {
        row[0]: {"rows": int(row[1] or 0), "bytes": int(row[2] or 0)} for row in ask(
            "SELECT table_name, table_rows, data_length + index_length FROM information_schema.tables "
            "WHERE table_schema = database()")
    }
    return {
        "engine": "MariaDB" if "MariaDB" in version else "MySQL", "version": version.split("-")[0], "tables": tables,
        "max_connections": show("VARIABLES", "max_connections"), "connections": show("STATUS", "Threads_connected"),
        "idle_timeout_s": float(show("VARIABLES", "wait_timeout")),
        "buffer_pool_bytes": show("VARIABLES", "innodb_buffer_pool_size"),
        "page_requests": show("STATUS", "Innodb_buffer_pool_read_requests"),
        "page_reads": show("STATUS", "Innodb_buffer_pool_reads"),
    }


_OWN: Mapping[str, Callable[[Callable[..., Any]], dict[str, Any]]] = {
    "sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql,
}


def journal(url: str) -> dict[str, Any]:
    """Time the newest 20 rows of user_logs in Kallithea's order, by date, and in one that has an index; for a child.

    The order by primary key gives the same rows where dates ascend, and costs what the order by date would cost with
    an index of its own. `sorts` says whether the engine's EXPLAIN shows a sort of its own for the order by date.
    """
    import sqlalchemy

    with read_only_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:

        def ask(statement: str) -> list[Any]:
            return list(connection.execute(sqlalchemy.text(statement)).fetchall())

        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        plan = " ".join(str(value) for row in ask(explain + JOURNAL % "action_date") for value in row)
        return {
            "sorts": bool(re.search(r"USE TEMP B-TREE FOR ORDER BY|\bSort\b|Using filesort", plan)),
            "by_date_ms": _timed(lambda: ask(JOURNAL % "action_date"), 7, 0.7),
            "by_key_ms": _timed(lambda: ask(JOURNAL % "user_log_id"), 7, 0.3),
            "count_ms": _timed(lambda: ask("SELECT count(*) FROM user_logs"), 3, 0.3),
        }


def look_ups(url: str, keys: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return, for each table and column, the milliseconds of looking up a value that is not there; for a child."""
    import sqlalchemy

    taken = {}
    with read_only_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        quoted = connection.dialect.identifier_preparer.quote
        for table, column in keys:
            if "," in column:
                continue
            statement = sqlalchemy.text("SELECT * FROM %s WHERE %s = -1" % (quoted(table), quoted(column)))
            times = _timed(lambda wanted=statement: connection.execute(wanted).fetchall(), 3, 0.2)  # type: ignore[misc]
            taken["%s.%s" % (table, column)] = statistics.median(times)
    return taken
