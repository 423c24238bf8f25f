"""Connections to a SQLite file that others use, which retry what SQLite briefly gets wrong."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Callable, TypeVar

from kallithea_tune.system import interruption

TRIES, PAUSE = 20, 0.05  # and seconds between them
# Seconds of each of SQLite's own waits for a lock, which nothing can interrupt.
LOCK_WAIT = 0.2

_T = TypeVar("_T")


class Connection(sqlite3.Connection):
    """A connection that waits `lock_seconds` for a lock, unless the end is requested."""

    lock_seconds = 0.0

    # The signatures are those of sqlite3's own stubs.
    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that waits as well."""
        return super().cursor(factory or _Cursor)

    def execute(self, *args: Any) -> Any:
        """Execute on a cursor that waits; on newer Pythons, sqlite3's own would not use it."""
        return self.cursor().execute(*args)

    def commit(self) -> None:
        """Commit, once those who read have finished."""
        self.retried(super().commit)

    def retried(self, work: Callable[[], _T]) -> _T:
        """Return `work()`, repeated while the file is locked."""
        end = time.monotonic() + self.lock_seconds
        while True:
            interruption.check()
            try:
                return work()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
            interruption.sleep(PAUSE)


class Reader(Connection):
    """A connection that never writes, and retries for a second when a journal looks abandoned.

    A journal that no process has locked belongs to one that died, and a reader may not roll it
    back: "attempt to write a readonly database". SQLite looks for the journal first and for its
    lock second, so the error is wrong when another process commits and begins again in between.
    """

    def retried(self, work: Callable[[], _T]) -> _T:
        """Return `work()`, repeated while the file is locked or looks abandoned."""
        for _ in range(TRIES - 1):
            try:
                return super().retried(work)
            except sqlite3.OperationalError as error:
                if not looks_abandoned(error):
                    raise
            interruption.sleep(PAUSE)
        return super().retried(work)

    def backup(self, *args: Any, **options: Any) -> None:
        """Copy the database as sqlite3 does."""
        self.retried(lambda: super(Reader, self).backup(*args, **options))


class _Cursor(sqlite3.Cursor):
    connection: Connection

    def execute(self, *args: Any) -> Any:
        return self.connection.retried(lambda: super(_Cursor, self).execute(*args))


def looks_abandoned(error: sqlite3.Error) -> bool:
    """Whether SQLite believes that a process left the file in the middle of a transaction."""
    return "readonly" in str(error)
