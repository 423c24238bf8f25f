"""The load: processes that read and write log rows at once, as Kallithea's do; runs in a child."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import functools
import multiprocessing
import os
import random
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Iterator, Mapping, Optional

from kallithea_tune.db.engine import create_engine
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.engines import name_and_version
from kallithea_tune.perf_check.database.facts import TextLengths
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.measurement import Examined

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    from sqlalchemy import Table
    from sqlalchemy.engine import Engine

THINK_S = 0.05
ROUNDS = 3
SEED_ROWS = 200
ALONE_S = 0.3


@dataclass(frozen=True)
class Target:
    """A database to put the load on; what comes after the URL is for SQLite alone."""

    url: str
    lock_timeout_s: float = 5.0
    journal_mode: str = "delete"
    page_size: int = 4096


@dataclass(frozen=True)
class Plan:
    """The same load for each target: on which table, by how many clients, for how long.

    Each client thinks for `think_s` between two requests, on average.
    """

    table: str
    clients: int
    seconds: float
    think_s: float
    lengths: TextLengths


class Kind(enum.Enum):
    """The two kinds of requests, as evidence calls them."""

    writes = "write"
    reads = "read"


@dataclass(frozen=True)
class Load:
    """The milliseconds of every read and write of all clients, and the errors of those that failed.

    `alone_ms` is the median of the writes of one client alone.
    """

    engine: str
    clients: int
    seconds: float
    alone_ms: float
    reads_ms: tuple[float, ...]
    writes_ms: tuple[float, ...]
    errors: tuple[str, ...]

    def times_ms(self, kind: Kind) -> tuple[float, ...]:
        """The milliseconds of the requests of one kind."""
        return self.writes_ms if kind is Kind.writes else self.reads_ms

    @property
    def examined(self) -> Examined:
        """The writes that succeeded, of all requests that ended one way or the other."""
        succeeded = len(self.writes_ms)
        return Examined(succeeded, succeeded + len(self.errors), "request")


@dataclass(frozen=True)
class Loads:
    """The load on each target, or what a database refused with: nothing is left there then."""

    loads: Mapping[str, Load]
    refusal: str = ""


@dataclass(frozen=True)
class Requests:
    """What became of requests, to be added to."""

    reads_ms: list[float] = field(default_factory=list)
    writes_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def extend(self, other: Requests) -> None:
        """Add those of another client."""
        self.reads_ms.extend(other.reads_ms)
        self.writes_ms.extend(other.writes_ms)
        self.errors.extend(other.errors)


@dataclass(frozen=True)
class Job:
    """The part of one client: how long it thinks between requests on average, and for how long."""

    target: Target
    table: str
    lengths: TextLengths
    think_s: float
    seconds: float
    seed: int


def put_load(targets: Mapping[str, Target], plan: Plan) -> Loads:
    """Put the load on a table of each target in turn, by a client alone first; for a child.

    Raises NotMeasured when the table could not be dropped.
    """
    from sqlalchemy.exc import SQLAlchemyError

    current, loads = "", {}
    try:
        with contextlib.ExitStack() as stack:
            for name, target in targets.items():
                current = target.url
                engine = stack.enter_context(scratch_table(target, plan.table, plan.lengths))
                seconds = min(ALONE_S, plan.seconds / 4)
                alone = run_client(Job(target, plan.table, plan.lengths, 0.0, seconds, seed=0))
                if not alone.writes_ms:
                    return Loads({}, alone.errors[0])
                alone_ms = statistics.median(alone.writes_ms)
                loads[name] = Load(engine, plan.clients, plan.seconds, alone_ms, (), (), ())
            requests = _run_rounds(targets, plan)
    except SQLAlchemyError as error:
        return Loads({}, failure_reason(error, current))
    return Loads({name: _with_requests(loads[name], requests[name]) for name in targets})


def _with_requests(load: Load, requests: Requests) -> Load:
    return dataclasses.replace(
        load,
        reads_ms=tuple(requests.reads_ms),
        writes_ms=tuple(requests.writes_ms),
        errors=tuple(requests.errors),
    )


def _run_rounds(targets: Mapping[str, Target], plan: Plan) -> Mapping[str, Requests]:
    """Let the targets take turns, so that what slows the machine down affects all of them."""
    requests = {name: Requests() for name in targets}
    fork = multiprocessing.get_context("fork")
    with fork.Pool(plan.clients, _meet_at, [fork.Barrier(plan.clients)]) as pool:
        for number in range(ROUNDS):
            for name, target in targets.items():
                seconds, first_seed = plan.seconds / ROUNDS, number * plan.clients + 1
                jobs = [
                    Job(
                        target, plan.table, plan.lengths, plan.think_s, seconds, first_seed + client
                    )
                    for client in range(plan.clients)
                ]
                for answer in pool.map(run_client, jobs, chunksize=1):
                    requests[name].extend(answer)
    return requests


@contextlib.contextmanager
def scratch_table(target: Target, name: str, lengths: TextLengths) -> Iterator[str]:
    """Make a table shaped like user_logs, with some rows, and drop it afterwards.

    Gives engine and version.
    """
    from sqlalchemy.exc import SQLAlchemyError

    if sqlite_file(target.url):
        _make_file(target)
    engine = create_engine(target.url, "--compare-db")
    table = _definition(name)
    with engine.connect() as connection:
        version = name_and_version(connection)
    try:
        with engine.begin() as connection:
            table.create(connection)
            for _ in range(SEED_ROWS // 100):
                rows = [_row(random.Random(0), lengths) for _ in range(100)]
                connection.execute(table.insert().values(rows))
        yield " ".join(version)
    finally:
        try:
            with engine.begin() as connection:
                table.drop(connection, checkfirst=True)
        except SQLAlchemyError as error:
            raise NotMeasured(failure_reason(error, target.url)) from None


def _make_file(target: Target) -> None:
    import sqlite3

    connection = sqlite3.connect(str(sqlite_file(target.url)))
    connection.execute(f"PRAGMA page_size = {target.page_size}")
    connection.execute(f"PRAGMA journal_mode = {target.journal_mode}")
    # The journal mode of a file without a table is not kept.
    connection.execute("CREATE TABLE filler (filler)")
    connection.close()


def _definition(name: str) -> Table:
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


def _row(chance: random.Random, lengths: TextLengths) -> dict[str, object]:
    return {
        "user_id": chance.randrange(100),
        "username": "x" * max(lengths.username, 1),
        "repository_id": chance.randrange(100),
        "repository_name": "x" * max(lengths.repository_name, 1),
        "user_ip": "192.0.2.1",
        "action": "x" * max(lengths.action, 1),
        "action_date": datetime.datetime.now(),
    }


_barrier: Optional[Barrier] = None


def _meet_at(barrier: Barrier) -> None:
    """Let this process begin its load when all others have connected, too."""
    global _barrier
    _barrier = barrier


def run_client(job: Job) -> Requests:
    """Read and write in turn until the time is over, over connections pooled as Kallithea's are."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    chance = random.Random(job.seed)
    engine = _engine(os.getpid(), job.target.url, job.target.lock_timeout_s)
    newest = sqlalchemy.text(f"SELECT * FROM {job.table} ORDER BY user_log_id DESC LIMIT 20")
    insert, requests = _definition(job.table).insert(), Requests()
    with contextlib.suppress(SQLAlchemyError), engine.connect():
        pass
    if _barrier:
        _barrier.wait(10)
    end = time.monotonic() + job.seconds
    time.sleep(chance.random() * job.think_s)
    while time.monotonic() < end:
        started = time.perf_counter()
        try:
            with engine.connect() as connection:
                connection.execute(newest).fetchall()
            between = time.perf_counter()
            requests.reads_ms.append(round((between - started) * 1000, 3))
            with engine.begin() as connection:
                connection.execute(insert, _row(chance, job.lengths))
            requests.writes_ms.append(round((time.perf_counter() - between) * 1000, 3))
        except SQLAlchemyError as error:
            requests.errors.append(str(getattr(error, "orig", error)).splitlines()[0])
            time.sleep(THINK_S)
        if job.think_s:
            time.sleep(chance.expovariate(1 / job.think_s))
    if not _barrier:
        # Connections that processes forked later would share.
        engine.dispose()
    return requests


@functools.lru_cache(maxsize=None)
def _engine(process: int, url: str, lock_timeout_s: float) -> Engine:
    """Make the engine of one process for all rounds: to connect can take longer than a round."""
    import sqlalchemy

    options = {"connect_args": {"timeout": lock_timeout_s}} if sqlite_file(url) else {}
    return sqlalchemy.create_engine(url, **options)
