"""Reads a SQLite file that others write: what SQLite says in error, for a moment, is asked
again.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Callable, TypeVar

TRIES, PAUSE = 20, 0.05  # and seconds between them

_T = TypeVar("_T")


class Reader(sqlite3.Connection):
    """A connection that may not write, and waits up to a second for SQLite to see that no process
    has died.

    A journal that nobody holds was left by a process that died, and who may not write cannot roll
    it back: "attempt to write a readonly database". SQLite looks for the journal and for its holder
    one after the other, so it errs when another process commits and begins anew in between.
    """

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that waits."""
        return super().cursor(factory or _Cursor)

    def execute(self, *words: Any) -> Any:
        """Execute on a cursor that waits; sqlite3's own asks for none of ours, on newer Pythons."""
        return self.cursor().execute(*words)

    def backup(self, *words: Any, **named: Any) -> None:
        """Copy the database as sqlite3 does."""
        _patiently(lambda: super(Reader, self).backup(*words, **named))


class _Cursor(sqlite3.Cursor):
    def execute(self, *words: Any) -> Any:
        return _patiently(lambda: super(_Cursor, self).execute(*words))


def looks_abandoned(error: sqlite3.Error) -> bool:
    """Whether SQLite takes the file for one that a process left in the middle of a transaction."""
    return "readonly" in str(error)


def _patiently(work: Callable[[], _T]) -> _T:
    for _ in range(TRIES - 1):
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not looks_abandoned(error):
                raise
        time.sleep(PAUSE)
    return work()
