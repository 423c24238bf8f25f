"""What only SQLite has: one file, its locks, and how long a request waits for one."""

from __future__ import annotations

import shlex
from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.config.instance import Instance
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.system import child
from kallithea_tune.system.mounts import NETWORK

DRIVER_TIMEOUT = 5.0


def judge_file(type: str, processes: Optional[int]) -> Finding:
    """SQLite relies on file locks, which network file systems get wrong, and lets one process write
    at a time.
    """
    common: dict[str, Any] = {
        "evidence": {"file_system": type or "not known", "processes": processes or "not said"},
        "threshold": "a local file system, 1 process",
        "source": "https://www.sqlite.org/whentouse.html, checklist for choosing the right database engine",
    }
    if type in NETWORK:
        return Finding(
            Severity.error,
            f"the SQLite file is on a network file system ({type})",
            remedy="move the file to a local disk, or use PostgreSQL or MariaDB",
            **common,
        )
    if processes is not None and processes > 1:
        return Finding(
            Severity.advice,
            "%d processes share one SQLite file, and one at a time writes" % processes,
            remedy="see DB004 for their waits; --compare-db URL measures another engine",
            **common,
        )
    return Finding(Severity.ok, "the SQLite file is local and one server process uses it", **common)


@check(
    "DB001",
    "sqlite-sharing",
    "SQLite on a network or with several processes",
    "database",
    tags=("config",),
)
def sharing(context: Context) -> Iterator[Finding]:
    """Read which file system holds the SQLite file, and how many server processes the ini file asks
    for.

    On a network file system it is an error: its locks are often broken, and the file gets damaged.
    Several processes are advice to look at DB004, which measures how long they wait for one
    another.
    """
    path = sqlite_file(context.instance.database_url)
    if path:
        yield judge_file(file_system(context, path), server_of(context.instance).processes)


def file_system(context: Context, path: str) -> str:
    """Return the type of the file system that holds the SQLite file; asked in a child, since a dead
    one hangs.
    """
    found: str = context.once(
        "file system of SQLite",
        lambda: child.call("kallithea_tune.perf_check.database.sqlite:file_system", 5, path=path),
    )
    return found


def judge_timeout(timeout: Optional[float]) -> Finding:
    """Without a timeout in the URL Python's driver waits 5 s for a lock, and then the request
    fails.
    """
    waits = DRIVER_TIMEOUT if timeout is None else timeout
    common: dict[str, Any] = {
        "evidence": {"timeout_s": waits, "set": timeout is not None},
        "threshold": "more than the driver's 5 s",
        "source": "Python manual, sqlite3.connect: timeout=5.0; Kallithea's ini template: ?timeout=60",
    }
    if waits > DRIVER_TIMEOUT:
        return Finding(
            Severity.ok, f"a request waits up to {waits:g} s for another's lock", **common
        )
    return Finding(
        Severity.advice,
        f"a request that waits {waits:g} s for a lock fails",
        remedy="end sqlalchemy.url with ?timeout=60",
        **common,
    )


@check("DB003", "sqlite-timeout", "Busy timeout of SQLite", "database", tags=("config",))
def timeout(context: Context) -> Iterator[Finding]:
    """Read ``?timeout=`` of ``sqlalchemy.url``: how long a request waits for the lock of another,
    then fails.

    Unset, Python's driver takes 5 s; Kallithea's ini template says 60.
    """
    if sqlite_file(context.instance.database_url):
        yield judge_timeout(busy_timeout(context.instance))


def busy_timeout(instance: Instance) -> Optional[float]:
    """Return ``?timeout=`` of ``sqlalchemy.url`` in seconds, None where it is not set or not a
    number.
    """
    from sqlalchemy.engine.url import make_url

    value = make_url(instance.database_url).query.get("timeout")
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None


def judge_integrity(found: Mapping[str, Any], path: str) -> Finding:
    """A damaged file gets worse with each write."""
    file = shlex.quote(path)
    common: dict[str, Any] = {
        "evidence": {"complete": found["complete"], "took_ms": found["ms"]},
        "threshold": "no complaint",
        "source": "https://www.sqlite.org/pragma.html#pragma_quick_check",
    }
    if found["complaints"]:
        return Finding(
            Severity.error,
            "the SQLite file is damaged: {}".format(found["complaints"][0]),
            remedy=f"stop Kallithea, restore a backup, or: sqlite3 {file} .recover | sqlite3 mended.db",
            **common,
        )
    if not found["complete"]:
        return Finding(
            Severity.advice,
            "the SQLite file is too large to be checked whole in {:.2g} s".format(
                found["ms"] / 1000
            ),
            remedy=f"at a quiet hour: sqlite3 {file} 'PRAGMA quick_check'",
            confidence="low",
            **common,
        )
    return Finding(Severity.ok, "SQLite finds no damage in its file", **common)


@check(
    "DB012",
    "sqlite-integrity",
    "Integrity of the SQLite file",
    "database",
    seconds=1.2,
    needs=("database",),
)
def integrity(context: Context) -> Iterator[Finding]:
    """Run ``PRAGMA quick_check`` on the SQLite file for at most 0.8 s, and say so when it did not
    come to the end.

    Any complaint is an error. While it runs it holds a shared lock, which keeps writers waiting:
    hence the limit.
    """
    path = sqlite_file(context.instance.database_url)
    if path:
        seconds = max(0.2, min(0.8, context.deadline.left - 0.3))
        found = child.call(
            "kallithea_tune.perf_check.database.sqlite:examine",
            seconds + 5,
            path=path,
            limit=seconds,
        )
        yield judge_integrity(found, path)
