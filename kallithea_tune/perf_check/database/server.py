"""The database's own facts, read over one read-only connection in a child process."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Union

from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.database.engines import ENGINES, Query, name_and_version
from kallithea_tune.perf_check.database.facts import (
    LOG,
    REVISIONS,
    DatabaseFacts,
    ForeignKey,
    LogFacts,
    TextLengths,
)
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Inspector


ROUND_TRIPS = 50
NEWEST_ROWS = 1000
WEEK_S = 7 * 86400
DAY_S = 86400


@dataclass(frozen=True)
class DatabaseAnswer:
    """The facts, or why there are none; `create_command` is what fills an empty database."""

    facts: Optional[DatabaseFacts]
    failure: str
    create_command: str

    @property
    def examined(self) -> Examined:
        """The database."""
        return Examined(int(self.facts is not None), 1, "database")


@measurement(seconds=1.5, needs=("database",), decided_by=("sqlalchemy.*",))
def database_answer(context: Context) -> DatabaseAnswer:
    """Connect to the database and read its facts; that it cannot be read is a result, too."""
    instance = context.instance
    facts, failure = None, ""
    try:
        read_only_engine(instance.database_url)
        seconds = max(context.deadline.left, 0.5) + 6
        facts = child.call(survey, seconds, url=instance.database_url)
    except (NotMeasured, TuneError) as error:
        failure = str(error)
    return DatabaseAnswer(facts, failure, instance.cli("db-create"))


@measurement(uses=(database_answer,))
def database_facts(context: Context) -> DatabaseFacts:
    """Return the facts of a database of a supported engine.

    Raises NotMeasured, briefly: why the database cannot be read is the finding of DB000.
    """
    facts = context.measure(database_answer).facts
    if not facts:
        raise NotMeasured("the database cannot be read, see DB000")
    if not facts.supported:
        raise NotMeasured(f"{facts.engine} is not a supported engine")
    return facts


@contextlib.contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Connect read-only and in autocommit, so that no transaction stays open while we measure.

    Raises NotMeasured in one sentence for whatever the database refuses, then and later.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with (
            read_only_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT")
        ) as connection:
            yield connection
    except SQLAlchemyError as error:
        raise NotMeasured(failure_reason(error, url)) from None


def query_on(connection: Connection) -> Query:
    """Return a function that executes SQL text on `connection` with named parameters."""
    import sqlalchemy

    return lambda statement, **parameters: connection.execute(
        sqlalchemy.text(statement), parameters
    )


def survey(url: str) -> DatabaseFacts:
    """Return the facts of the database of `url`; for a child."""
    import sqlalchemy

    with connected(url) as connection:
        query = query_on(connection)
        engine, version = name_and_version(connection)
        round_trips = timed(lambda: query("SELECT 1").fetchall(), ROUND_TRIPS, 1.0)
        own = ENGINES.get(connection.dialect.name)
        if not own:
            return DatabaseFacts(engine, version, supported=False, round_trips_ms=round_trips)
        facts = own(query, engine, version)
        revisions = None
        if REVISIONS in facts.tables:
            rows = query(f"SELECT version_num FROM {REVISIONS}")
            revisions = tuple(sorted(str(row[0]) for row in rows))
        return dataclasses.replace(
            facts,
            round_trips_ms=round_trips,
            unindexed_keys=unindexed_keys(sqlalchemy.inspect(connection)),
            log=log_facts(query) if LOG in facts.tables else None,
            revisions=revisions,
        )


def timed(action: Callable[[], object], times: int, seconds: float) -> tuple[float, ...]:
    """Return the milliseconds of each of up to `times` calls, none begun after `seconds`.

    The first is a warm-up and left out, unless it is the only one.
    """
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) <= times and (not taken or time.perf_counter() < end):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    return tuple(taken[1:] or taken)


def unindexed_keys(inspector: Inspector) -> tuple[ForeignKey, ...]:
    """Return the foreign keys with which no index, unique or primary key begins."""
    missing: list[ForeignKey] = []
    for table in inspector.get_table_names():
        indexes = [inspector.get_pk_constraint(table)["constrained_columns"]]
        indexes += [index["column_names"] for index in inspector.get_indexes(table)]
        indexes += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
        leading = {columns[0] for columns in indexes if columns}
        keys = [key["constrained_columns"][0] for key in inspector.get_foreign_keys(table)]
        missing += [ForeignKey(table, column) for column in keys if column not in leading]
    return tuple(missing)


def log_facts(query: Query) -> Optional[LogFacts]:
    """Return how user_logs grows, from its newest `NEWEST_ROWS` rows; None when it is empty."""
    rows = query(
        "SELECT action_date, username, repository_name, action FROM user_logs "
        f"ORDER BY user_log_id DESC LIMIT {NEWEST_ROWS}"
    ).fetchall()
    if not rows:
        return None
    times = sorted(_seconds(row[0]) for row in rows)
    busiest_minute, first = 0, 0
    for last, time_s in enumerate(times):
        while time_s - times[first] > 60:
            first += 1
        busiest_minute = max(busiest_minute, last - first + 1)
    lengths = (sum(len(row[column]) for row in rows) // len(rows) for column in (1, 2, 3))
    return LogFacts(_rows_a_day(query), busiest_minute, TextLengths(*lengths))


def _rows_a_day(query: Query) -> float:
    """Return the growth over the last week of use or more.

    It is found by the primary key alone, since no other column has an index.
    """
    dated = (
        "SELECT user_log_id, action_date FROM user_logs "
        "WHERE user_log_id >= :id ORDER BY user_log_id "
    )
    newest, until = query(dated + "DESC LIMIT 1", id=0).fetchone()
    rows, seconds = 1, 0.0
    for distance in (NEWEST_ROWS, 10_000, 100_000, 1_000_000, newest):
        oldest, since = query(dated + "LIMIT 1", id=newest - distance).fetchone()
        passed = _seconds(until) - _seconds(since)
        # Rows that were copied from elsewhere can be younger than those after them.
        if passed >= seconds:
            rows, seconds = newest - oldest + 1, passed
        if seconds >= WEEK_S:
            break
    return float(rows) / max(seconds / DAY_S, 1.0)


def _seconds(date: Union[datetime.datetime, str]) -> float:
    if isinstance(date, str):
        # SQLite keeps dates as text, and Python 3.8 reads a fraction of three or six digits only.
        date = datetime.datetime.fromisoformat(date.split(".")[0])
    return date.replace(tzinfo=datetime.timezone.utc).timestamp()
