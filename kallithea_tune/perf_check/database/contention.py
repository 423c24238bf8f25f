"""How long concurrent writers wait: here, in WAL, and on the engine of --compare-db.

The load is put on a file or a table made for it alone; see `load`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional

from kallithea_tune.db.engine import create_engine
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.database.facts import DatabaseFacts, TextLengths
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.database.load import THINK_S, Load, Plan, Target, put_load
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.database.sqlite import sqlite_file_system, sqlite_settings
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child
from kallithea_tune.system.scratch import scratch

PREFIX = "kallithea_tune_scratch_"
CLIENTS = 8
LOAD_S = 1.5
# What comes before and after the load: processes start, tables are made and dropped.
OVERHEAD_S = 1.5


@dataclass(frozen=True)
class SqliteContention:
    """The load beside the SQLite file, in its journal mode and in WAL.

    `now` is None for another engine; `wal` also where that is the file's own mode or cannot work.
    """

    journal_mode: str = ""
    on_network: bool = False
    now: Optional[Load] = None
    wal: Optional[Load] = None

    @property
    def loads(self) -> Mapping[str, Load]:
        """The loads that were measured, by ``now`` and ``wal``."""
        return {name: load for name, load in (("now", self.now), ("wal", self.wal)) if load}

    @property
    def examined(self) -> Examined:
        """The journal modes."""
        return Examined(len(self.loads), len(self.loads), "journal mode")


@measurement(
    seconds=5.0,
    writes="a scratch file beside the SQLite file",
    needs=("database",),
    uses=(database_facts, sqlite_settings, sqlite_file_system),
    decided_by=("sqlalchemy.*",),
)
def sqlite_contention(context: Context) -> SqliteContention:
    """Put the load on scratch files with the page size and the busy timeout of the SQLite file."""
    facts, settings = context.measure(database_facts), context.measure(sqlite_settings)
    if not settings.path or not facts.sqlite:
        return SqliteContention()
    mode, on_network = facts.sqlite.journal_mode, context.measure(sqlite_file_system).is_network
    target = Target(context.instance.database_url, settings.waits_s, mode, facts.sqlite.page_size)
    targets = {"now": target}
    if mode != "wal" and not on_network:
        targets["wal"] = dataclasses.replace(target, journal_mode="wal")
    loads = _measured(context, facts, targets)
    return SqliteContention(mode, on_network, loads["now"], loads.get("wal"))


@dataclass(frozen=True)
class Comparison:
    """The load on --compare-db, and the one here where that is SQLite."""

    there: Load
    here: Mapping[str, Load]

    @property
    def examined(self) -> Examined:
        """The other database."""
        return Examined(1, 1, "database")


@measurement(
    seconds=3.0,
    writes="a scratch table in --compare-db",
    needs=("database",),
    uses=(database_facts, sqlite_contention),
    decided_by=("sqlalchemy.*",),
    requested=lambda context: bool(context.compare_db),
)
def comparison(context: Context) -> Comparison:
    """Put the load on a scratch table in --compare-db.

    Raises NotMeasured where that is Kallithea's own database server, which is not written to.
    """
    own_server = not sqlite_file(context.instance.database_url)
    if own_server and _is_same(context.compare_db, context.instance.database_url):
        raise NotMeasured("--compare-db is Kallithea's own database, which is not written to")
    here = {} if own_server else context.measure(sqlite_contention).loads
    facts = context.measure(database_facts)
    there = _measured(context, facts, {"there": Target(context.compare_db)})["there"]
    return Comparison(there, here)


def _is_same(first: str, second: str) -> bool:
    from sqlalchemy.engine.url import make_url

    places = [
        (url.get_backend_name(), url.host, url.port, url.database)
        for url in map(make_url, (first, second))
    ]
    return places[0] == places[1]


def _measured(
    context: Context, facts: DatabaseFacts, targets: Mapping[str, Target]
) -> Mapping[str, Load]:
    lengths = facts.log.lengths if facts.log else TextLengths()
    seconds = max(0.4, min(LOAD_S, (context.deadline.left - OVERHEAD_S) / len(targets)))
    return measure(targets, CLIENTS, seconds, lengths)


def measure(
    targets: Mapping[str, Target], clients: int, seconds: float, lengths: TextLengths
) -> Mapping[str, Load]:
    """Measure on each target what one write and one read take, with `clients` at once.

    For `seconds` each client reads the newest 20 rows, inserts one in a transaction of its own, and
    thinks for `THINK_S` on average. For SQLite this is done in a scratch file in the directory of
    the file, on a server in a table with a name of its own; both are gone afterwards, Ctrl-C
    included. Raises NotMeasured when it cannot be done, and TuneError when a server went away and
    keeps the table.
    """
    table = PREFIX + secrets.token_hex(8)
    with contextlib.ExitStack() as stack:
        placed = {}
        for name, target in targets.items():
            path, url = sqlite_file(target.url), target.url
            if path:
                directory = stack.enter_context(scratch(os.path.dirname(path)))
                url = "sqlite:///" + os.path.join(directory, "scratch.db")
            else:
                stack.enter_context(_dropped(url, table))
            placed[name] = dataclasses.replace(target, url=url)
        result = child.call(
            put_load,
            len(targets) * seconds * 1.5 + 10,
            targets=placed,
            plan=Plan(table, clients, seconds, THINK_S, lengths),
        )
    if result.refusal:
        raise NotMeasured(result.refusal)
    return result.loads


@contextlib.contextmanager
def _dropped(url: str, table: str) -> Iterator[None]:
    """Drop the table when the child that made it was ended before it could."""
    try:
        yield
    except BaseException:
        try:
            child.clean_up(drop, 10, url=url, table=table)
        except NotMeasured as error:
            raise TuneError(
                f"the table {table} may be left in --compare-db; drop it: {error}"
            ) from None
        raise


def drop(url: str, table: str) -> None:
    """Drop the scratch table; for a child. Raises NotMeasured when the database does not let it."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_engine(url).begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {table}"))
    except SQLAlchemyError as error:
        raise NotMeasured(failure_reason(error, url)) from None
