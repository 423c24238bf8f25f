"""Reads a SQLite file that others write, and retries what SQLite briefly gets wrong."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Callable, TypeVar

TRIES, PAUSE = 20, 0.05  # and seconds between them

_T = TypeVar("_T")


class Reader(sqlite3.Connection):
    """A connection that never writes, and retries for a second when a journal looks abandoned.

    A journal that no process has locked belongs to one that died, and a reader may not roll it
    back: "attempt to write a readonly database". SQLite looks for the journal first and for its
    lock second, so the error is wrong when another process commits and begins again in between.
    """

    # The signatures are those of sqlite3's own stubs.
    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that retries."""
        return super().cursor(factory or _Cursor)

    def execute(self, *args: Any) -> Any:
        """Execute on a cursor that retries; on newer Pythons, sqlite3's own would not use it."""
        return self.cursor().execute(*args)

    def backup(self, *args: Any, **options: Any) -> None:
        """Copy the database as sqlite3 does."""
        _retried(lambda: super(Reader, self).backup(*args, **options))


class _Cursor(sqlite3.Cursor):
    def execute(self, *args: Any) -> Any:
        return _retried(lambda: super(_Cursor, self).execute(*args))


def looks_abandoned(error: sqlite3.Error) -> bool:
    """Whether SQLite believes that a process left the file in the middle of a transaction."""
    return "readonly" in str(error)


def _retried(work: Callable[[], _T]) -> _T:
    for _ in range(TRIES - 1):
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not looks_abandoned(error):
                raise
        time.sleep(PAUSE)
    return work()
