"""Several processes write log rows at once, as Kallithea's do, into a table or a file made for that."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import secrets
import statistics
import time
from typing import Any, Iterator, Sequence

from kallithea_tune.engine import create_engine, sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.probes import child
from kallithea_tune.probes.scratch import scratch

THINK_S = 0.05
SEED_ROWS = 1000


def measure(
    url: str, clients: int, seconds: float, lengths: Sequence[int], lock_timeout: float, journal_mode: str = "delete",
    page_size: int = 4096,
) -> dict[str, Any]:
    """Measure what one write and one read take, for one client alone and for `clients` at once.

    Each client reads the newest 20 rows, inserts one in a transaction of its own, and thinks for 50 ms on average. For
    a SQLite `url` that happens in a scratch file beside the file named, for a server in a table of a name of its own;
    both are gone afterwards, Ctrl-C included. Raises NotMeasured when that is not possible.
    """
    load = {"clients": clients, "duration": seconds, "lengths": list(lengths), "lock_timeout": lock_timeout}
    path = sqlite_file(url)
    if path:
        with scratch(os.path.dirname(path)) as directory:
            file = os.path.join(directory, "scratch.db")
            _prepare_file(file, journal_mode, page_size)
            with _table("sqlite:///" + file, lengths) as table:
                return _call("sqlite:///" + file, table, load)
    with _table(url, lengths) as table:
        return _call(url, table, load)


def _call(url: str, table: str, load: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = child.call(
        "kallithea_tune.probes.contention:load", load["duration"] * 2 + 5, url=url, table=table, **load)
    return result


def _prepare_file(path: str, journal_mode: str, page_size: int) -> None:
    import sqlite3

    open(path, "x").close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA page_size = %d" % page_size)
    connection.execute("PRAGMA journal_mode = %s" % journal_mode)
    connection.close()


@contextlib.contextmanager
def _table(url: str, lengths: Sequence[int]) -> Iterator[str]:
    """Make a table shaped like user_logs, with some rows, under a name of its own; drop it whatever happens."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    from kallithea_tune.probes.database import explained

    name = "kallithea_tune_scratch_" + secrets.token_hex(4)
    engine = create_engine(url, "--compare-db")
    table = _definition(name)
    try:
        table.create(engine)
        with engine.begin() as connection:
            connection.execute(table.insert(), [_row(random.Random(0), lengths) for _ in range(SEED_ROWS)])
        yield name
    except SQLAlchemyError as error:
        raise NotMeasured(explained(error, url)) from None
    finally:
        with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:
            connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS %s" % name))
        engine.dispose()


def _definition(name: str) -> Any:
    from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, UnicodeText

    return Table(
        name, MetaData(), Column("user_log_id", Integer, primary_key=True), Column("user_id", Integer),
        Column("username", String(255), nullable=False), Column("repository_id", Integer),
        Column("repository_name", String(255), nullable=False), Column("user_ip", String(255)),
        Column("action", UnicodeText, nullable=False), Column("action_date", DateTime, nullable=False))


def _row(chance: random.Random, lengths: Sequence[int]) -> dict[str, Any]:
    import datetime

    username, repository, action = ("x" * max(length, 1) for length in lengths)
    return {
        "user_id": chance.randrange(100), "username": username, "repository_id": chance.randrange(100),
        "repository_name": repository, "user_ip": "192.0.2.1", "action": action,
        "action_date": datetime.datetime.now(),
    }


def load(
    url: str, table: str, clients: int, duration: float, lengths: Sequence[int], lock_timeout: float
) -> dict[str, Any]:
    """Put the load on `table`, first one client without pause for a fifth of the time, then all; for a child."""
    alone = _client((url, table, 0.0, time.monotonic(), duration / 5, lengths, lock_timeout, 0))
    start = time.monotonic() + 0.1
    jobs = [(url, table, THINK_S, start, duration, lengths, lock_timeout, number + 1) for number in range(clients)]
    with multiprocessing.get_context("fork").Pool(clients) as pool:
        answers = pool.map(_client, jobs, chunksize=1)
    reads = [taken for answer in answers for taken in answer["reads"]]
    writes = [taken for answer in answers for taken in answer["writes"]]
    errors = [error for answer in answers for error in answer["errors"]]
    return {
        "clients": clients, "alone_ms": statistics.median(alone["writes"]), "write_ms": summary(writes),
        "read_ms": summary(reads), "errors": len(errors), "error": errors[0] if errors else "",
        "writes_per_s": len(writes) / duration,
    }


def _client(job: Sequence[Any]) -> dict[str, Any]:
    """Read and write in turn until the time is over, over connections as Kallithea's engine would keep them."""
    url, table, think, start, seconds, lengths, lock_timeout, seed = job
    import sqlalchemy
    from sqlalchemy.exc import DBAPIError

    chance = random.Random(seed)
    options: dict[str, Any] = {"connect_args": {"timeout": lock_timeout}} if url.startswith("sqlite") else {}
    engine = sqlalchemy.create_engine(url, **options)
    newest = sqlalchemy.text("SELECT * FROM %s ORDER BY user_log_id DESC LIMIT 20" % table)
    insert = _definition(table).insert()
    answer: dict[str, Any] = {"reads": [], "writes": [], "errors": []}
    with engine.connect():
        pass
    time.sleep(max(0.0, start - time.monotonic()) + chance.random() * think)
    while time.monotonic() < start + seconds or not answer["writes"]:
        started = time.perf_counter()
        try:
            with engine.connect() as connection:
                connection.execute(newest).fetchall()
            between = time.perf_counter()
            answer["reads"].append((between - started) * 1000)
            with engine.begin() as connection:
                connection.execute(insert, _row(chance, lengths))
            answer["writes"].append((time.perf_counter() - between) * 1000)
        except DBAPIError as error:
            answer["errors"].append(str(error.orig).splitlines()[0])
            if len(answer["errors"]) > 100:
                break
        if think:
            time.sleep(chance.expovariate(1 / think))
    engine.dispose()
    return answer


def summary(taken: Sequence[float]) -> dict[str, float]:
    """Return count, median, 99th percentile (nearest rank), maximum and mean of milliseconds."""
    ranked = sorted(taken)
    if not ranked:
        raise NotMeasured("not one of the writes came to an end")
    return {
        "n": len(ranked), "p50": statistics.median(ranked), "p99": ranked[max(0, -(-len(ranked) * 99 // 100) - 1)],
        "max": ranked[-1], "mean": statistics.mean(ranked),
    }
