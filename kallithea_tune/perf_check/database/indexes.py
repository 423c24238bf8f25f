"""How long lookups without an index take, and the query of Kallithea's journal pages."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import Optional, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.facts import DatabaseFacts, ForeignKey
from kallithea_tune.perf_check.database.server import connected, database_facts, query_on, timed
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child

LARGE_TABLE = 10_000
JOURNAL_S = 3.0
# Kallithea sends this for its journal and admin pages, whoever the user is; the order decides
# whether an index can serve it.
JOURNAL_QUERY = (
    "SELECT * FROM user_logs LEFT OUTER JOIN users ON users.user_id = user_logs.user_id "
    "LEFT OUTER JOIN repositories ON repositories.repo_id = user_logs.repository_id "
    "ORDER BY user_logs.%s DESC LIMIT 20"
)
_SORT = re.compile(r"USE TEMP B-TREE FOR ORDER BY|\bSort\b|Using filesort")


@dataclass(frozen=True)
class Lookup:
    """How long it takes, at the least, to look up a value that a column does not contain."""

    table: str
    column: str
    ms: float

    @property
    def name(self) -> str:
        """The column as people write it, ``table.column``."""
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class JournalTimes:
    """Milliseconds of the newest 20 log rows by date and by primary key, and of counting all rows.

    The order by primary key gives the same rows where dates ascend, and costs what the order by
    date would cost with an index of its own. `sorts` says whether the engine's EXPLAIN shows a sort
    for the order by date, and `cut` that this query was given up.
    """

    sorts: bool
    cut: bool
    by_date_ms: tuple[float, ...]
    by_key_ms: tuple[float, ...]
    count_ms: tuple[float, ...]


@dataclass(frozen=True)
class IndexTimes:
    """Lookups by those of `keys` foreign keys of large tables that there was time for.

    `journal` is None without log rows and where it could not be measured: `journal_failure` is why.
    """

    lookups: tuple[Lookup, ...]
    keys: int
    journal: Optional[JournalTimes]
    journal_failure: str = ""

    @property
    def examined(self) -> Examined:
        """The foreign keys without an index in large tables."""
        return Examined(len(self.lookups), self.keys, "foreign key")


@measurement(
    seconds=3.0,
    needs=("database",),
    uses=(database_facts,),
    decided_by=("sqlalchemy.*",),
)
def index_times(context: Context) -> IndexTimes:
    """Time lookups by foreign keys without an index in large tables, and the journal's query."""
    facts = context.measure(database_facts)
    url = context.instance.database_url
    lookups: tuple[Lookup, ...] = ()
    keys = [key for key in facts.unindexed_keys if _is_large(facts, key.table)]
    if keys:
        seconds = max(0.3, context.deadline.left / 2)
        lookups = child.call(time_lookups, seconds + 8, url=url, keys=keys, limit=seconds)
    journal, failure = None, ""
    if facts.log:
        seconds = max(0.5, min(JOURNAL_S, context.deadline.left))
        try:
            journal = child.call(time_journal, seconds + 8, url=url, limit=seconds)
        except NotMeasured as error:
            failure = str(error)
    return IndexTimes(lookups, len(keys), journal, failure)


def _is_large(facts: DatabaseFacts, table: str) -> bool:
    return table in facts.tables and facts.tables[table].rows >= LARGE_TABLE


def time_lookups(url: str, keys: Sequence[ForeignKey], limit: float) -> tuple[Lookup, ...]:
    """Look up a value that is not there by each of `keys`; for a child.

    None but the first is begun after `limit` seconds.
    """
    end = time.monotonic() + limit
    lookups: list[Lookup] = []
    with connected(url) as connection:
        query, quoted = query_on(connection), connection.dialect.identifier_preparer.quote
        for table, column in keys:
            if lookups and time.monotonic() > end:
                break
            # In quotes, so that it is of the column's own type, whatever that is.
            statement = f"SELECT * FROM {quoted(table)} WHERE {quoted(column)} = '-1'"

            def look_up(statement: str = statement) -> object:
                return query(statement).fetchall()

            lookups.append(Lookup(table, column, min(timed(look_up, 3, 0.2))))
    return tuple(lookups)


def time_journal(url: str, limit: float) -> JournalTimes:
    """Time the journal's query, giving up on it after `limit` seconds; for a child."""
    with connected(url) as connection:
        query = query_on(connection)
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        rows = query(explain + JOURNAL_QUERY % "action_date")
        plan = " ".join(str(value) for row in rows for value in row)
        by_key_ms = timed(lambda: query(JOURNAL_QUERY % "user_log_id").fetchall(), 7, 0.2)
        count_ms = timed(lambda: query("SELECT count(*) FROM user_logs").fetchall(), 3, 0.2)
        by_date_ms = _time_by_date(url, limit)
    return JournalTimes(
        sorts=bool(_SORT.search(plan)),
        cut=by_date_ms is None,
        by_date_ms=(limit * 1000,) if by_date_ms is None else by_date_ms,
        by_key_ms=by_key_ms,
        count_ms=count_ms,
    )


def _time_by_date(url: str, limit: float) -> Optional[tuple[float, ...]]:
    """Return the milliseconds of the order by date, or None when it takes longer than `limit`."""
    times: list[tuple[float, ...]] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            # A connection of its own, since it may be at work when the other is closed.
            with connected(url) as connection:
                query = query_on(connection)
                times.append(timed(lambda: query(JOURNAL_QUERY % "action_date").fetchall(), 7, 0.7))
        except Exception as error:
            errors.append(error)

    # The child ends without waiting for the thread.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(limit)
    if errors:
        raise errors[0]
    return times[0] if times else None
