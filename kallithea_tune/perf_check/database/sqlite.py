"""A SQLite file: how the ini file uses it, the file system it is on, and whether it is damaged."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from typing import Optional

from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.db.engine import open_sqlite
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.servers.served import servers
from kallithea_tune.system import child
from kallithea_tune.system.mounts import NETWORK, holding, table

# What Python's sqlite3.connect waits for a lock unless told otherwise.
DRIVER_TIMEOUT_S = 5.0
QUICK_CHECK_S = 0.8


@dataclass(frozen=True)
class SqliteSettings:
    """The SQLite file ("" for another engine), and who shares it.

    `timeout_s` is ``?timeout=`` of the URL, None where it is not set or not a number; `processes`
    is None where the ini file does not set it.
    """

    path: str
    timeout_s: Optional[float]
    processes: Optional[int]

    @property
    def waits_s(self) -> float:
        """How long a request waits for a lock before it fails."""
        return DRIVER_TIMEOUT_S if self.timeout_s is None else self.timeout_s

    @property
    def examined(self) -> Examined:
        """The ini file."""
        return Examined(1, 1, "ini file")


@measurement()
def sqlite_settings(context: Context) -> SqliteSettings:
    """Read the path and the busy timeout in ``sqlalchemy.url``, and the processes that share it."""
    instance = context.instance
    path = sqlite_file(instance.database_url) or ""
    timeout_s = busy_timeout(instance.database_url) if path else None
    return SqliteSettings(path, timeout_s, server_of(instance).processes)


@measurement(uses=(sqlite_settings, servers))
def sqlite_in_use(context: Context) -> SqliteSettings:
    """Read the same, with the processes that run."""
    found = context.measure(servers)
    count = found.processes.count_for(found.first)
    return replace(context.measure(sqlite_settings), processes=count)


def busy_timeout(url: str) -> Optional[float]:
    """Return ``?timeout=`` of `url` in seconds, None where it is not set or not a number."""
    from sqlalchemy.engine.url import make_url

    value = make_url(url).query.get("timeout")
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None


@dataclass(frozen=True)
class SqliteFileSystem:
    """The type of the file system with the SQLite file: "" where it is unknown, None for another
    engine.
    """

    type: Optional[str]

    @property
    def is_network(self) -> bool:
        """Whether the file is on another machine."""
        return self.type in NETWORK

    @property
    def examined(self) -> Examined:
        """The file system, where there is a file."""
        return Examined(int(bool(self.type)), int(self.type is not None), "file system")


@measurement(uses=(sqlite_settings,))
def sqlite_file_system(context: Context) -> SqliteFileSystem:
    """Look the file system up, in a child since a dead one hangs."""
    path = context.measure(sqlite_settings).path
    return SqliteFileSystem(child.call(file_system, 5, path=path) if path else None)


def file_system(path: str) -> str:
    """Return the type of the file system that `path` is on, as the table of mounts has it."""
    try:
        mount = holding(os.path.dirname(os.path.realpath(path)), table())
    except OSError:
        return ""
    return mount.type if mount else ""


@dataclass(frozen=True)
class Integrity:
    """What ``PRAGMA quick_check`` reported, and whether it was `complete`; no `path`, no SQLite."""

    path: str
    complaints: tuple[str, ...]
    complete: bool
    took_ms: float

    @property
    def examined(self) -> Examined:
        """The file, when it was read to its end."""
        return Examined(int(self.complete and bool(self.path)), int(bool(self.path)), "SQLite file")


@measurement(seconds=1.2, needs=("database",), uses=(sqlite_settings,))
def sqlite_integrity(context: Context) -> Integrity:
    """Check the file for at most `QUICK_CHECK_S`."""
    path = context.measure(sqlite_settings).path
    if not path:
        return Integrity("", (), True, 0.0)
    seconds = max(0.2, min(QUICK_CHECK_S, context.deadline.left - 0.3))
    return child.call(quick_check, seconds + 5, path=path, limit=seconds)


def quick_check(path: str, limit: float) -> Integrity:
    """Run ``PRAGMA quick_check`` for at most `limit` seconds; for a child.

    It takes a shared lock, which in rollback-journal mode keeps writers waiting: hence the limit.
    Raises NotMeasured when the file cannot be opened or is locked.
    """
    import sqlite3

    complaints: list[str] = []
    complete, started = True, time.monotonic()
    try:
        with contextlib.closing(open_sqlite(path, timeout=0.5)) as connection:
            started = time.monotonic()
            # SQLite calls back every so many virtual machine instructions, and stops when the
            # answer is not zero.
            connection.set_progress_handler(lambda: time.monotonic() > started + limit, 10000)
            for (line,) in connection.execute("PRAGMA quick_check(5)"):
                if line != "ok":
                    complaints.append(str(line).splitlines()[-1])
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise NotMeasured(failure_reason(error, "sqlite:///" + path)) from None
        complete = False
    except sqlite3.DatabaseError as error:
        complaints.append(str(error))
    return Integrity(path, tuple(complaints), complete, (time.monotonic() - started) * 1000)
