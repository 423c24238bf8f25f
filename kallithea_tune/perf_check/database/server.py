"""Asks the database what it is and how it does, read-only and over one connection, in a child
process.
"""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import threading
import time
from typing import Any, Callable, Iterator, Mapping, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.engines import OWN, Ask, name_and_version
from kallithea_tune.system import child

ROUND_TRIPS = 50
WEEK_S = 7 * 86400
LOG, REVISIONS = "user_logs", "alembic_version"
# What Kallithea's journal and admin pages ask for, whoever looks; the order decides whether an
# index can serve it.
JOURNAL = (
    "SELECT * FROM user_logs LEFT OUTER JOIN users ON users.user_id = user_logs.user_id "
    "LEFT OUTER JOIN repositories ON repositories.repo_id = user_logs.repository_id "
    "ORDER BY user_logs.%s DESC LIMIT 20"
)

Facts = Mapping[str, Any]


def facts(instance: Instance, seconds: float) -> Facts:
    """Return what `survey` says of the database of `instance` within `seconds`.

    Raises NotMeasured in one sentence when the database cannot be used, ConfigError when its URL
    cannot.
    """
    read_only_engine(instance.database_url)
    result: Facts = child.call(
        "kallithea_tune.perf_check.database.server:survey", seconds, url=instance.database_url
    )
    return result


@contextlib.contextmanager
def connected(url: str) -> Iterator[Any]:
    """Connect read-only and in autocommit, so that nothing stays "idle in transaction" while we
    measure.

    Raises NotMeasured in one sentence for whatever the database refuses, then and later.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with (
            read_only_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT")
        ) as connection:
            yield connection
    except SQLAlchemyError as error:
        raise NotMeasured(explained(error, url)) from None


def asking(connection: Any) -> Ask:
    """Return a function that executes SQL text on `connection` with named parameters."""
    import sqlalchemy

    return lambda statement, **parameters: connection.execute(
        sqlalchemy.text(statement), parameters
    )


def survey(url: str) -> dict[str, Any]:
    """Return engine, version, round trips, tables, indexes, user_logs and what the engine alone
    knows; for a child.
    """
    import sqlalchemy

    with connected(url) as connection:
        ask = asking(connection)
        name, version = name_and_version(connection)
        found: dict[str, Any] = {"engine": name, "version": version, "tables": {}}
        found["round_trips_ms"] = timed(lambda: ask("SELECT 1").fetchall(), ROUND_TRIPS, 1.0)
        own = OWN.get(connection.dialect.name)
        if own:
            found.update(own(ask))
            found["foreign_keys"] = unindexed(sqlalchemy.inspect(connection))
        if LOG in found["tables"]:
            found["log"] = log(ask)
        if REVISIONS in found["tables"]:
            found["revisions"] = sorted(
                str(row[0]) for row in ask("SELECT version_num FROM " + REVISIONS)
            )
        return found


def explained(error: Exception, url: str) -> str:
    """Say in one sentence, without the URL, why the database of `url` did not answer."""
    path = sqlite_file(url)
    said = getattr(error, "orig", None) or error
    text = (str(said.args[-1] if said.args else said).strip() or type(said).__name__).splitlines()[
        0
    ]
    if not path:
        return text
    try:
        os.stat(path)
    except FileNotFoundError:
        return f"the SQLite file {path} does not exist"
    except OSError as failure:
        return f"the SQLite file {path} cannot be reached: {failure.strerror}"
    if os.path.isdir(path):
        return f"{path} is a directory, not a SQLite file"
    if not os.access(path, os.R_OK):
        return f"the SQLite file {path} cannot be read: Permission denied"
    if "locked" in text:
        holders = ", ".join("process %d" % pid for pid in lock_holders(path))
        return "{} is locked{}".format(path, " by " + holders if holders else "")
    if "readonly" in text:
        return f"{path} was left in mid-transaction by a process that died; its next use by Kallithea mends it"
    return f"{path}: {text}"


def lock_holders(path: str) -> list[int]:
    """Return the processes that hold a write lock on the file, as Linux lists them in
    /proc/locks.
    """
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    # "1: POSIX ADVISORY WRITE 4242 08:01:655361 1073741826 1073742335"
    return sorted(
        {
            int(words[-4])
            for words in lines
            if "WRITE" in words and words[-3].split(":")[-1] == str(inode) and int(words[-4]) > 0
        }
    )


def timed(action: Callable[[], object], times: int, seconds: float) -> list[float]:
    """Return the milliseconds each of up to `times` calls took, the first (warm-up) left out unless
    it used them up.
    """
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) <= times and (not taken or time.perf_counter() < end):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    return taken[1:] or taken


def unindexed(inspector: Any) -> list[tuple[str, str]]:
    """Return table and first column of each foreign key with which no index, unique or primary key
    begins.
    """
    missing = []
    for table in inspector.get_table_names():
        leading = [inspector.get_pk_constraint(table)["constrained_columns"]]
        leading += [index["column_names"] for index in inspector.get_indexes(table)]
        leading += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
        first = {columns[0] for columns in leading if columns}
        keys = [key["constrained_columns"][0] for key in inspector.get_foreign_keys(table)]
        missing += [(table, column) for column in keys if column not in first]
    return missing


def log(ask: Ask) -> dict[str, Any]:
    """Return how fast user_logs grows, its busiest minute of late, and how long its texts are on
    average.
    """
    rows = ask(
        "SELECT action_date, username, repository_name, action FROM user_logs ORDER BY user_log_id DESC LIMIT 1000"
    ).fetchall()
    if not rows:
        return {}
    stamps = sorted(_seconds(row[0]) for row in rows)
    busiest, first = 0, 0
    for last, stamp in enumerate(stamps):
        while stamp - stamps[first] > 60:
            first += 1
        busiest = max(busiest, last - first + 1)
    return {
        "rows_a_day": _rows_a_day(ask),
        "busiest_minute": busiest,
        "lengths": [sum(len(row[column]) for row in rows) // len(rows) for column in (1, 2, 3)],
    }


def _rows_a_day(ask: Ask) -> float:
    """Return the growth over the last week or more of use, by the primary key alone: no other
    column has an index.
    """
    dated = "SELECT user_log_id, action_date FROM user_logs WHERE user_log_id >= :id ORDER BY user_log_id "
    newest, until = ask(dated + "DESC LIMIT 1", id=0).fetchone()
    rows, seconds = 1, 0.0
    for back in (1000, 10_000, 100_000, 1_000_000, newest):
        oldest, since = ask(dated + "LIMIT 1", id=newest - back).fetchone()
        passed = _seconds(until) - _seconds(since)
        # Rows that were copied from elsewhere can be younger than those after them.
        if passed >= seconds:
            rows, seconds = newest - oldest + 1, passed
        if seconds >= WEEK_S:
            break
    return float(rows) / max(seconds / 86400, 1.0)


def _seconds(stamp: Any) -> float:
    import datetime

    if isinstance(stamp, str):
        # SQLite keeps dates as text, and Python 3.8 reads a fraction of three or six digits only.
        stamp = datetime.datetime.fromisoformat(stamp.split(".")[0])
    result: float = stamp.replace(tzinfo=datetime.timezone.utc).timestamp()
    return result


def journal(url: str, limit: float) -> dict[str, Any]:
    """Time the newest 20 rows of user_logs in Kallithea's order, by date, and in one that has an
    index; for a child.

    The order by primary key gives the same rows where dates ascend, and costs what the order by
    date would cost with an index of its own. `sorts` says whether the engine's EXPLAIN shows a sort
    of its own for the order by date, and `cut` that it did not come to its end within `limit`
    seconds.
    """
    with connected(url) as connection:
        ask = asking(connection)
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        plan = " ".join(
            str(value) for row in ask(explain + JOURNAL % "action_date") for value in row
        )
        found = {
            "sorts": bool(re.search(r"USE TEMP B-TREE FOR ORDER BY|\bSort\b|Using filesort", plan)),
            "by_key_ms": timed(lambda: ask(JOURNAL % "user_log_id").fetchall(), 7, 0.2),
            "count_ms": timed(lambda: ask("SELECT count(*) FROM user_logs").fetchall(), 3, 0.2),
        }
        answer: list[Any] = []

        def by_date() -> None:
            try:
                # A connection of its own, which nobody closes under its hands.
                with connected(url) as own:
                    answer.append(
                        timed(lambda: asking(own)(JOURNAL % "action_date").fetchall(), 7, 0.7)
                    )
            except Exception as error:
                answer.append(error)

        worker = threading.Thread(target=by_date, daemon=True)
        worker.start()
        worker.join(limit)
        if answer and isinstance(answer[0], Exception):
            raise answer[0]
        # The child ends without waiting for the thread.
        return {**found, "by_date_ms": answer[0] if answer else [limit * 1000], "cut": not answer}


def look_ups(url: str, keys: Sequence[Sequence[str]], limit: float) -> dict[str, float]:
    """Return by ``table.column`` the milliseconds of looking up a value that is not there; for a
    child.

    After `limit` seconds no further one is begun.
    """
    end = time.monotonic() + limit
    taken: dict[str, float] = {}
    with connected(url) as connection:
        ask, quoted = asking(connection), connection.dialect.identifier_preparer.quote
        for table, column in keys:
            if taken and time.monotonic() > end:
                break
            # In quotes, so that it is of the column's own type, whatever that is.
            statement = f"SELECT * FROM {quoted(table)} WHERE {quoted(column)} = '-1'"
            times = timed(lambda wanted=statement: ask(wanted).fetchall(), 3, 0.2)  # type: ignore[misc]
            taken[f"{table}.{column}"] = statistics.median(times)
    return taken
