"""Several processes write log rows at once, as Kallithea's do, into a file or a table made for that
alone.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import random
import secrets
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.db.engine import create_engine
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.system import child
from kallithea_tune.system.scratch import scratch

PREFIX = "kallithea_tune_scratch_"
THINK_S = 0.05
ROUNDS = 3
SEED_ROWS = 200


@dataclass(frozen=True)
class Target:
    """A database to put the load on; what comes after the URL is for SQLite alone, `lock_timeout`
    in seconds.
    """

    url: str
    lock_timeout: float = 5.0
    journal_mode: str = "delete"
    page_size: int = 4096


def measure(
    targets: Mapping[str, Target], clients: int, seconds: float, lengths: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Measure for `seconds` on each target what one write and one read take, for a client alone and
    for `clients`.

    Each client reads the newest 20 rows, inserts one in a transaction of its own, and thinks for 50
    ms on average. The targets take turns, so that what slows the machine down meets all of them. A
    SQLite target is a scratch file in the directory of the file named, a server gets a table of a
    name of its own; both are gone afterwards, Ctrl-C included. Returns for each target the
    milliseconds of every read and write. Raises NotMeasured when it cannot be done, and TuneError
    when a server went away and keeps the table.
    """
    table = PREFIX + secrets.token_hex(8)
    with contextlib.ExitStack() as stack:
        placed = {}
        for name, target in targets.items():
            path = sqlite_file(target.url)
            if path:
                directory = stack.enter_context(scratch(os.path.dirname(path)))
                url = "sqlite:///" + os.path.join(directory, "scratch.db")
            else:
                stack.enter_context(_dropped(target.url, table))
                url = target.url
            placed[name] = {**asdict(target), "url": url}
        result: dict[str, Any] = child.call(
            "kallithea_tune.perf_check.database.contention:load",
            len(targets) * seconds * 1.5 + 10,
            targets=placed,
            table=table,
            clients=clients,
            duration=seconds,
            lengths=list(lengths),
        )
    if "failed" in result:
        raise NotMeasured(result["failed"])
    return result


@contextlib.contextmanager
def _dropped(url: str, table: str) -> Iterator[None]:
    """Drop the table when the child that made it was ended before it could."""
    try:
        yield
    except BaseException:
        try:
            child.call(
                "kallithea_tune.perf_check.database.contention:drop", 10, url=url, table=table
            )
        except NotMeasured as error:
            raise TuneError(
                f"the table {table} may be left in --compare-db; drop it: {error}"
            ) from None
        raise


def drop(url: str, table: str) -> None:
    """Drop the scratch table; for a child. Raises NotMeasured when the database does not let it."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    from kallithea_tune.perf_check.database.server import explained

    try:
        with create_engine(url).begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {table}"))
    except SQLAlchemyError as error:
        raise NotMeasured(explained(error, url)) from None


def load(
    targets: Mapping[str, Mapping[str, Any]],
    table: str,
    clients: int,
    duration: float,
    lengths: Sequence[int],
) -> dict[str, Any]:
    """Put the load on `table` of each target in turn, on a client alone first; for a child.

    Returns ``{"failed": reason}`` when a database refused and nothing is left there. Raises
    NotMeasured when the table could not be dropped.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from kallithea_tune.perf_check.database.server import explained

    current = {"url": ""}
    try:
        with contextlib.ExitStack() as stack:
            results = {}
            for name, target in targets.items():
                current = dict(target)
                engine = stack.enter_context(_table(target, table, lengths))
                alone = _client((target, table, 0.0, min(0.3, duration / 4), lengths, 0))
                if not alone["writes"]:
                    return {"failed": alone["errors"][0]}
                results[name] = {
                    "engine": engine,
                    "clients": clients,
                    "alone_ms": statistics.median(alone["writes"]),
                    "reads": [],
                    "writes": [],
                    "errors": [],
                    "seconds": duration,
                }
            fork = multiprocessing.get_context("fork")
            pool = stack.enter_context(fork.Pool(clients, _meet_at, [fork.Barrier(clients)]))
            for number in range(ROUNDS):
                for name, target in targets.items():
                    _round(
                        pool,
                        results[name],
                        target,
                        table,
                        clients,
                        duration / ROUNDS,
                        lengths,
                        number,
                    )
            return results
    except SQLAlchemyError as error:
        return {"failed": explained(error, current["url"])}


def _round(
    pool: Any,
    result: dict[str, Any],
    target: Mapping[str, Any],
    table: str,
    clients: int,
    seconds: float,
    lengths: Sequence[int],
    number: int,
) -> None:
    jobs = [
        (target, table, THINK_S, seconds, lengths, number * clients + client + 1)
        for client in range(clients)
    ]
    for answer in pool.map(_client, jobs, chunksize=1):
        for key, values in answer.items():
            result[key] += values


@contextlib.contextmanager
def _table(target: Mapping[str, Any], name: str, lengths: Sequence[int]) -> Iterator[str]:
    """Make a table shaped like user_logs, with some rows, and drop it afterwards; gives engine and
    version.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from kallithea_tune.perf_check.database.engines import name_and_version
    from kallithea_tune.perf_check.database.server import explained

    url = target["url"]
    if sqlite_file(url):
        _make_file(target)
    engine = create_engine(url, "--compare-db")
    table = _definition(name)
    with engine.connect() as connection:
        version = name_and_version(connection)
    try:
        with engine.begin() as connection:
            table.create(connection)
            for _ in range(SEED_ROWS // 100):
                connection.execute(
                    table.insert().values([_row(random.Random(0), lengths) for _ in range(100)])
                )
        yield " ".join(version)
    finally:
        try:
            with engine.begin() as connection:
                table.drop(connection, checkfirst=True)
        except SQLAlchemyError as error:
            raise NotMeasured(explained(error, url)) from None


def _make_file(target: Mapping[str, Any]) -> None:
    import sqlite3

    connection = sqlite3.connect(str(sqlite_file(target["url"])))
    connection.execute("PRAGMA page_size = %d" % target["page_size"])
    connection.execute("PRAGMA journal_mode = {}".format(target["journal_mode"]))
    # The journal mode of a file without a table is not kept.
    connection.execute("CREATE TABLE filler (filler)")
    connection.close()


def _definition(name: str) -> Any:
    from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, UnicodeText

    return Table(
        name,
        MetaData(),
        Column("user_log_id", Integer, primary_key=True),
        Column("user_id", Integer),
        Column("username", String(255), nullable=False),
        Column("repository_id", Integer),
        Column("repository_name", String(255), nullable=False),
        Column("user_ip", String(255)),
        Column("action", UnicodeText, nullable=False),
        Column("action_date", DateTime, nullable=False),
    )


def _row(chance: random.Random, lengths: Sequence[int]) -> dict[str, Any]:
    import datetime

    username, repository, action = ("x" * max(length, 1) for length in lengths)
    return {
        "user_id": chance.randrange(100),
        "username": username,
        "repository_id": chance.randrange(100),
        "repository_name": repository,
        "user_ip": "192.0.2.1",
        "action": action,
        "action_date": datetime.datetime.now(),
    }


_barrier: Any = None


def _meet_at(barrier: Any) -> None:
    """Let this process begin its load when all others have connected, too."""
    global _barrier
    _barrier = barrier


def _client(job: Sequence[Any]) -> dict[str, list[Any]]:
    """Read and write in turn until the time is over, over connections as Kallithea's engine would
    keep them.
    """
    target, table, think, seconds, lengths, seed = job
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    chance = random.Random(seed)
    engine = _engine(os.getpid(), target["url"], target["lock_timeout"])
    newest = sqlalchemy.text(f"SELECT * FROM {table} ORDER BY user_log_id DESC LIMIT 20")
    insert = _definition(table).insert()
    answer: dict[str, list[Any]] = {"reads": [], "writes": [], "errors": []}
    with contextlib.suppress(SQLAlchemyError), engine.connect():
        pass
    if _barrier:
        _barrier.wait(10)
    end = time.monotonic() + seconds
    time.sleep(chance.random() * think)
    while time.monotonic() < end:
        started = time.perf_counter()
        try:
            with engine.connect() as connection:
                connection.execute(newest).fetchall()
            between = time.perf_counter()
            answer["reads"].append(round((between - started) * 1000, 3))
            with engine.begin() as connection:
                connection.execute(insert, _row(chance, lengths))
            answer["writes"].append(round((time.perf_counter() - between) * 1000, 3))
        except SQLAlchemyError as error:
            answer["errors"].append(str(getattr(error, "orig", error)).splitlines()[0])
            time.sleep(THINK_S)
        if think:
            time.sleep(chance.expovariate(1 / think))
    if not _barrier:
        # Connections that processes forked later would share.
        engine.dispose()
    return answer


@functools.lru_cache(maxsize=None)
def _engine(process: int, url: str, lock_timeout: float) -> Any:
    """Make the engine of one process for all rounds: to connect can take longer than a round."""
    import sqlalchemy

    options = {"connect_args": {"timeout": lock_timeout}} if sqlite_file(url) else {}
    return sqlalchemy.create_engine(url, **options)
