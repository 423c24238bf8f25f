"""Whether a session or a process holds what all others need, and which one it is."""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional

from kallithea_tune.db.sqlite_locks import Locker, SqliteLocks
from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.database.holders import (
    LONG_S,
    Holder,
    Holders,
    Retained,
    database_holders,
)
from kallithea_tune.perf_check.database.sqlite import SqliteSettings, sqlite_settings
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, Remedy
from kallithea_tune.text import figure, megabytes

# Seconds that a transaction with locks of a writer may stand still before it is advice and a
# warning, one without locks before it is a warning, and that one may work. Our judgement.
IDLE_WRITER_S, STUCK_WRITER_S, IDLE_S, BUSY_S = 10, 60, 600, 3600
# Pages: twice and ten times wal_autocheckpoint, at which SQLite begins to remove them.
CHECKPOINT_PAGES = 1000
SOME_PAGES, MANY_PAGES = 2 * CHECKPOINT_PAGES, 10 * CHECKPOINT_PAGES
SLOT_BYTES = 1 << 30
PREPARED_S = 600


@check(
    "DB019",
    "database-holders",
    "Who holds the database",
    measures=(sql_client, sqlite_settings, database_holders),
    threshold=f"{LONG_S:g} s",
    source="our judgement",
    tags=("locks",),
    harm=Harm.access,
)
def holders(client: SqlClient, settings: SqliteSettings, now: Holders) -> Iterator[Finding]:
    """Report transactions that keep others waiting, or stay open, and log that cannot be removed.

    What holds a lock of a writer, or keeps everybody from a table, stops pushes and log-ins.
    """
    if now.sqlite:
        found = list(_sqlite(now.sqlite, settings))
    else:
        found = [finding for item in now.holders for finding in _held(item, client)]
        found += [_retained(item, now.superuser, client) for item in now.retained]
        found += _table_waits(now)
    yield from found
    if now.hidden:
        yield Finding(
            Severity.unknown,
            f"not measured: {now.hidden}",
            remedy=client.as_administrator().statements(
                f"GRANT PROCESS ON *.* TO {client.quoted(client.user)}", "as the server's root"
            ),
        )
    elif not found:
        yield Finding(
            Severity.ok,
            "no process or session holds the database",
            evidence={"open_transactions": len(now.holders)},
        )


def _sqlite(locks: SqliteLocks, settings: SqliteSettings) -> Iterator[Finding]:
    waits = f"pushes and log-ins wait {figure(settings.waits_s)} s, and fail"
    # A writer that cannot commit because of a reader is not at fault.
    for locker in () if locks.waiting and locks.readers else locks.writers:
        if locker.seconds >= LONG_S:
            yield _locker_finding(
                locker,
                Severity.error,
                f"has held SQLite's write lock for {locker.seconds:.0f} s: {waits}",
            )
    for locker in locks.readers:
        if locker.seconds >= LONG_S:
            yield from _reader(locker, locks, waits)
    if not locks.readers and locks.wal_pages > MANY_PAGES:
        yield Finding(
            Severity.advice,
            f"SQLite's write-ahead log has {megabytes(locks.wal_bytes)} that no checkpoint removed",
            subject="wal",
            evidence={"pages": locks.wal_pages, "wal_mb": locks.wal_bytes / 1e6},
            threshold=f"{MANY_PAGES} pages",
            source="https://www.sqlite.org/wal.html, avoiding excessively large WAL files",
            remedy=SqlClient("sqlite", (locks.path,)).statements("PRAGMA wal_checkpoint(TRUNCATE)"),
        )


def _reader(locker: Locker, locks: SqliteLocks, waits: str) -> Iterator[Finding]:
    """In rollback mode a reader keeps writers from committing, in WAL the log from shrinking."""
    held = f"has read from the SQLite file for {locker.seconds:.0f} s"
    if locks.wal_pages > SOME_PAGES:
        yield _locker_finding(
            locker,
            Severity.warning if locks.wal_pages > MANY_PAGES else Severity.advice,
            f"{held}: the write-ahead log, {megabytes(locks.wal_bytes)}, cannot shrink",
        )
    elif locks.waiting:
        yield _locker_finding(locker, Severity.error, f"{held}, and a writer waits: {waits}")
    elif not locks.wal:
        yield _locker_finding(
            locker, Severity.warning, f"{held}: until it ends, no other process can write"
        )


def _locker_finding(locker: Locker, severity: Severity, diagnosis: str) -> Finding:
    program = f" ({locker.program})" if locker.program else ""
    return Finding(
        severity,
        f"process {locker.process}{program} {diagnosis}",
        subject=f"process {locker.process}",
        evidence={"process": locker.process, "held_s": round(locker.seconds, 1)},
        source="https://www.sqlite.org/lockingv3.html; our judgement",
        remedy=Command(
            ("kill", str(locker.process)),
            note="see what it does; to end it, losing what it has not committed",
            effect=Effect.deletes,
        ),
    )


def _held(item: Holder, client: SqlClient) -> Iterator[Finding]:
    """Judge one transaction of a server."""
    verdict = _verdict(item, f"session {item.session}{_of(item)}")
    if not verdict:
        return
    yield Finding(
        verdict.severity,
        verdict.diagnosis,
        subject=f"session {item.session}",
        evidence={
            "transaction_s": round(item.seconds, 1),
            "idle": item.idle,
            "waiting": item.waiting,
            "wrote": item.wrote,
            **({"process": item.process} if item.process else {}),
        },
        threshold=verdict.threshold,
        source=(
            "PostgreSQL manual, idle_in_transaction_session_timeout; MariaDB manual, InnoDB lock "
            "waits; the seconds are our judgement"
        ),
        remedy=_end(item, client),
    )


class _Verdict(NamedTuple):
    severity: Severity
    diagnosis: str
    threshold: str = ""


def _verdict(item: Holder, who: str) -> Optional[_Verdict]:
    state = f"has been {'idle' if item.idle else 'open'} for {item.seconds:.0f} s"
    if item.waiting and item.waited_s >= LONG_S:
        others = "another one waits" if item.waiting == 1 else f"{item.waiting} others wait"
        diagnosis = f"{who} holds a lock: {others} for {item.waited_s:.0f} s"
        return _Verdict(Severity.error, diagnosis)
    if item.excludes and item.idle and item.seconds >= LONG_S:
        diagnosis = f"{who} locks all others out of a table, and {state}"
        return _Verdict(Severity.error, diagnosis)
    if item.idle and item.wrote and item.seconds >= IDLE_WRITER_S:
        severity = Severity.warning if item.seconds >= STUCK_WRITER_S else Severity.advice
        diagnosis = f"a transaction of {who} with locks {state}"
        return _Verdict(severity, diagnosis, f"{IDLE_WRITER_S} s with locks")
    if item.seconds >= (IDLE_S if item.idle else BUSY_S):
        return _Verdict(
            Severity.warning if item.idle else Severity.advice,
            f"a transaction of {who} {state}: no dead row younger than it can be removed",
            f"{IDLE_S} s idle, {BUSY_S} s at work",
        )
    return None


def _of(item: Holder) -> str:
    parts = [item.program, f"process {item.process}" if item.process else ""]
    text = ", ".join(filter(None, parts))
    return f" ({text})" if text else ""


def _end(item: Holder, client: SqlClient) -> Remedy:
    sql = f"SELECT pg_terminate_backend({item.session})"
    if client.dialect == "mysql":
        sql = f"KILL {item.session}"
    note = "find out what it does; to end it, losing what it has not committed"
    return client.statements(sql, note, Effect.deletes)


def _table_waits(now: Holders) -> Iterator[Finding]:
    """Waits for LOCK TABLES, a backup or DDL: MariaDB does not show who holds these."""
    long = [seconds for seconds in now.table_waits_s if seconds >= LONG_S]
    if long:
        sessions = "1 session waits" if len(long) == 1 else f"{len(long)} sessions wait"
        yield Finding(
            Severity.error,
            f"{sessions} for the lock of a table, for {figure(max(long))} s",
            subject="table locks",
            evidence={"waiting": len(long), "longest_s": max(long)},
            source="MariaDB manual, metadata locking; our judgement",
            remedy="SHOW FULL PROCESSLIST, and KILL the session with LOCK TABLES, a backup or "
            "ALTER TABLE that it waits for",
        )


def _retained(item: Retained, superuser: bool, client: SqlClient) -> Finding:
    """Judge what keeps PostgreSQL's log, or its locks, without an end."""
    judge = {"slot": _slot, "archive": _archive, "prepared": _prepared}[item.kind]
    return judge(item, client if superuser else client.as_administrator())


def _slot(item: Retained, client: SqlClient) -> Finding:
    return Finding(
        Severity.warning if item.amount >= SLOT_BYTES else Severity.advice,
        f"the replication slot {item.name} is not being read: it keeps {megabytes(item.amount)} of "
        "log, and all that follows",
        subject=item.name,
        evidence={"kept_mb": item.amount / 1e6},
        threshold=f"no unread slot, {megabytes(SLOT_BYTES)}",
        source="PostgreSQL manual, replication slots",
        remedy=client.statements(
            f"SELECT pg_drop_replication_slot({_literal(item.name)})",
            "if its replica is gone",
            Effect.deletes,
        ),
    )


def _archive(item: Retained, client: SqlClient) -> Finding:
    return Finding(
        Severity.warning,
        f"PostgreSQL failed to archive its log {item.name} times, and keeps all of it",
        subject="archive",
        evidence={"failed": int(item.name), "last_success_days": item.amount / 86400},
        threshold="no failure since the last success",
        source="PostgreSQL manual, continuous archiving",
        remedy="see PostgreSQL's log for why archive_command fails",
    )


def _prepared(item: Retained, client: SqlClient) -> Finding:
    return Finding(
        Severity.warning if item.amount >= PREPARED_S else Severity.advice,
        f"the prepared transaction {item.name} has kept its locks for {item.amount:.0f} s",
        subject=item.name,
        evidence={"prepared_s": round(item.amount, 1)},
        threshold=f"{PREPARED_S} s",
        source="PostgreSQL manual, PREPARE TRANSACTION",
        remedy=client.statements(
            f"ROLLBACK PREPARED {_literal(item.name)}",
            "if nobody will commit it",
            Effect.deletes,
        ),
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
