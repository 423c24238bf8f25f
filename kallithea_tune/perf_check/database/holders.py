"""Who holds the database now: open transactions, waits for locks, and what keeps old log."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from dataclasses import dataclass
from typing import Callable, Mapping, Optional

from kallithea_tune.db.sqlite_locks import SqliteLocks, watch
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.engines import POSTGRESQL_SUPERUSER, Query
from kallithea_tune.perf_check.database.server import connected, query_on
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child, processes

# How long a lock of SQLite is watched at most, and how long one is held that is reported: Kallithea
# commits within milliseconds. Our judgement.
WATCH_S, LONG_S = 3.0, 2.5

_POSTGRESQL_SESSIONS = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type),
    extract(epoch FROM clock_timestamp() - a.xact_start),
    a.state LIKE 'idle in transaction%', a.backend_xid IS NOT NULL,
    EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.granted
        AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'),
    CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{}' END,
    extract(epoch FROM clock_timestamp() - a.query_start),
    coalesce(host(a.client_addr), ''), coalesce(a.client_port, 0)
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
"""
_POSTGRESQL_SLOTS = """
SELECT slot_name, coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
    THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)
FROM pg_replication_slots WHERE NOT active
"""
_POSTGRESQL_ARCHIVER = """
SELECT failed_count, extract(epoch FROM now() - coalesce(last_archived_time, stats_reset))
FROM pg_stat_archiver
WHERE last_failed_time > coalesce(last_archived_time, '-infinity')
    AND current_setting('archive_mode') <> 'off'
"""
_POSTGRESQL_PREPARED = """
SELECT gid, extract(epoch FROM now() - prepared)
FROM pg_prepared_xacts WHERE database = current_database()
"""
_MYSQL_TRANSACTIONS = """
SELECT t.trx_mysql_thread_id, coalesce(p.user, ''),
    timestampdiff(SECOND, t.trx_started, now()), coalesce(p.command, '') = 'Sleep',
    t.trx_rows_modified + t.trx_rows_locked > 0, coalesce(p.host, '')
FROM information_schema.innodb_trx t
LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
WHERE t.trx_mysql_thread_id NOT IN (0, connection_id())
"""
_MYSQL_WAITS = {
    "MariaDB": """
SELECT b.trx_mysql_thread_id, timestampdiff(SECOND, r.trx_wait_started, now())
FROM information_schema.innodb_lock_waits w
JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id
JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id
""",
    "MySQL": """
SELECT b.trx_mysql_thread_id, timestampdiff(SECOND, r.trx_wait_started, now())
FROM performance_schema.data_lock_waits w
JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_engine_transaction_id
JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_engine_transaction_id
""",
}
_MYSQL_TABLE_WAITS = (
    "SELECT time FROM information_schema.processlist WHERE state LIKE 'Waiting for % lock'"
)


@dataclass(frozen=True)
class Holder:
    """A session of a server with an open transaction, `seconds` old, and those that wait for it.

    `idle` says that it does nothing meanwhile, `wrote` that it holds locks of writers, `excludes`
    that it keeps everybody else from a table. `waiting` others wait for it, one of them `waited_s`.
    `process` is that of the client, where it runs on this machine and its user may know, or 0.
    """

    session: int
    program: str
    seconds: float
    idle: bool
    wrote: bool
    excludes: bool = False
    waiting: int = 0
    waited_s: float = 0.0
    process: int = 0


@dataclass(frozen=True)
class Retained:
    """What keeps a server from removing old log or rows.

    `kind` is a replication ``slot``, the ``archive`` or a ``prepared`` transaction, with its
    `bytes`, failures or seconds as the `amount`.
    """

    kind: str
    name: str
    amount: float


@dataclass(frozen=True)
class Holders:
    """Open transactions, those that wait for a `table` lock of an unknown one, and what is kept.

    `hidden` has the reason where other sessions cannot be seen. `superuser` says
    whether the user may change anything on the server. `sqlite` is that engine's own.
    """

    holders: tuple[Holder, ...] = ()
    table_waits_s: tuple[float, ...] = ()
    retained: tuple[Retained, ...] = ()
    hidden: str = ""
    superuser: bool = False
    sqlite: Optional[SqliteLocks] = None

    @property
    def examined(self) -> Examined:
        """The database."""
        return Examined(1, 1, "databases")


@measurement(seconds=WATCH_S, needs=("database",), decided_by=("sqlalchemy.*",))
def database_holders(context: Context) -> Holders:
    """Look at the locks on the SQLite file, or at the sessions of the server.

    Kallithea's tables, which might be locked, are not touched. It takes its time only where
    somebody holds the file, whatever the budget: that is worse than a run that is late.
    """
    url = context.instance.database_url
    path = sqlite_file(url)
    if path:
        return Holders(sqlite=child.call(watch, WATCH_S + 5, path=path, limit=WATCH_S))
    return child.call(read_holders, 8, url=url)


def read_holders(url: str) -> Holders:
    """Return who holds the server's database of `url`; for a child."""
    with connected(url) as connection:
        read = _ENGINES.get(connection.dialect.name)
        if not read:
            raise NotMeasured(f"{connection.dialect.name} is not a supported engine")
        return read(query_on(connection))


def _postgresql(query: Query) -> Holders:
    rows = query(_POSTGRESQL_SESSIONS).fetchall()
    waits: dict[int, list[float]] = {}
    for row in rows:
        for blocker in row[6]:
            waits.setdefault(blocker, []).append(float(row[7]))
    clients = _clients() if rows else {}
    holders = [
        _waited_for(
            Holder(
                *(row[0], str(row[1]), float(row[2]), row[3], row[4], row[5]),
                process=_client(str(row[8]), int(row[9]), clients),
            ),
            waits,
        )
        for row in rows
    ]
    # Those of other users, whose transactions are not shown.
    hidden = set(waits) - {holder.session for holder in holders} - {0}
    holders += [
        _waited_for(Holder(item, "", max(waits[item]), False, True), waits) for item in hidden
    ]
    retained = [Retained("slot", str(row[0]), float(row[1])) for row in query(_POSTGRESQL_SLOTS)]
    for kind, statement in (("archive", _POSTGRESQL_ARCHIVER), ("prepared", _POSTGRESQL_PREPARED)):
        retained += [Retained(kind, str(row[0]), float(row[1] or 0)) for row in query(statement)]
    superuser = bool(query(POSTGRESQL_SUPERUSER).scalar())
    return Holders(tuple(holders), retained=tuple(retained), superuser=superuser)


def _waited_for(holder: Holder, waits: Mapping[int, list[float]]) -> Holder:
    own = waits.get(holder.session, [])
    return dataclasses.replace(holder, waiting=len(own), waited_s=max(own, default=0.0))


def _clients() -> Mapping[int, int]:
    """Return by its own port the process behind each connection of this machine."""
    connections = processes.sockets(os.getpid()).values()
    ports = {item.inode: item.port for item in connections if item.port and not item.listens}
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for target in processes.descriptors(int(pid)).values():
                inode = processes.inode_of(target)
                if inode in ports:
                    found[ports[inode]] = int(pid)
    return found


def _client(address: str, port: int, clients: Mapping[int, int]) -> int:
    """Return the process that is connected from `address`, 0 where that is another machine."""
    if port not in clients:
        return 0
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # Only an address of this machine can be bound.
        with socket.socket(family) as own:
            own.bind((address, 0))
    except OSError:
        return 0
    return clients[port]


def _mysql(query: Query) -> Holders:
    from sqlalchemy.exc import SQLAlchemyError

    table_waits = tuple(float(row[0]) for row in query(_MYSQL_TABLE_WAITS))
    engine = "MariaDB" if "MariaDB" in str(query("SELECT version()").scalar()) else "MySQL"
    try:
        rows = query(_MYSQL_TRANSACTIONS).fetchall()
        pairs = query(_MYSQL_WAITS[engine]).fetchall()
    except SQLAlchemyError:
        return Holders(
            table_waits_s=table_waits,
            hidden=f"{engine} does not show the transactions of other users to this user",
        )
    waits: dict[int, list[float]] = {}
    for blocker, seconds in pairs:
        waits.setdefault(int(blocker), []).append(float(seconds or 0))
    clients = _clients() if rows else {}
    holders = []
    for session, user, seconds, idle, wrote, place in rows:
        address, _, port = str(place).rpartition(":")
        process = _client(address, int(port) if port.isdigit() else 0, clients)
        holder = Holder(
            int(session), str(user), float(seconds), bool(idle), bool(wrote), process=process
        )
        holders.append(_waited_for(holder, waits))
    return Holders(tuple(holders), table_waits)


_ENGINES: Mapping[str, Callable[[Query], Holders]] = {"postgresql": _postgresql, "mysql": _mysql}
