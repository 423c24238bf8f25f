"""The source as it was at one moment, while the application may go on writing, and whether it
did.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from typing import TYPE_CHECKING, Any, Iterator, Optional

from kallithea_tune.db.sqlite_reader import looks_abandoned
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate import connect, target
from kallithea_tune.db_migrate.copy import End
from kallithea_tune.db_migrate.engines import dialect_of
from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

SPARE = 1.2  # times the size of the database that must be free for a copy of it


class Source:
    """The database that is moved: `end` sees one moment, whatever happens meanwhile. Nothing is
    ever written to it.
    """

    end: End

    def __init__(self, url: str) -> None:
        self._url, self._engine = url, connect.source_engine(url)
        self._dialect = dialect_of(self._engine)
        # A second connection, outside of the snapshot, sees what happens meanwhile.
        self._live = target.reach(self._engine, "sqlalchemy.url")
        self.begin()

    def begin(self) -> None:
        """Take a snapshot of this moment, in place of the one before. Raises Refused as `_refused`
        does.
        """
        with _refused():
            self._begin()

    def _begin(self) -> None:
        self._end()
        # The marker comes first: a write between the two is seen as one after the snapshot, never
        # as none.
        self._marker = self._read_marker()
        self.end = End(
            self._copied() or target.reach(self._engine, "sqlalchemy.url"), self._dialect
        )
        self._dialect.begin_snapshot(self.end.connection)

    def maybe_written(self) -> bool:
        """Tell whether anyone may have written since the snapshot; False is certain."""
        with _refused():
            marker = self._read_marker()
        return not marker or marker != self._marker

    def close(self) -> None:
        """Close all connections."""
        self._end()
        self._live.close()

    def _end(self) -> None:
        with contextlib.suppress(AttributeError):
            self.end.connection.close()

    def _read_marker(self) -> str:
        marker = self._dialect.marker(self._live)
        # PostgreSQL would go on answering with the snapshot of this transaction.
        self._live.connection.rollback()
        return marker

    def _copied(self) -> Optional[Connection]:
        """Copy a SQLite file whose readers hold up its writers, so that the application can go on
        writing.

        None where that is not so (WAL, another engine), or where there is no room: then writers
        wait.
        """
        path = sqlite_file(self._url)
        if (
            not path
            or self._live.connection.cursor().execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        ):
            return None
        for directory in (os.path.dirname(path), tempfile.gettempdir()):
            with contextlib.suppress(OSError):
                if shutil.disk_usage(directory).free > os.path.getsize(path) * SPARE:
                    return self._copy_in(directory)
        return None

    def _copy_in(self, directory: str) -> Connection:
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        handle, path = tempfile.mkstemp(prefix=".kallithea-tune-", dir=directory)
        os.close(handle)
        copy = sqlite3.connect(path, check_same_thread=False)
        copy.execute("PRAGMA journal_mode = OFF").fetchall()
        # Gone from the directory at once, so that nothing is left of it however this process ends.
        os.unlink(path)
        raw: Any = self._live.connection
        raw.backup(copy)
        copy.execute("PRAGMA query_only = ON")
        engine = sqlalchemy.create_engine(
            self._engine.url, creator=lambda: copy, poolclass=NullPool
        )
        connection: Connection = engine.connect()
        return connection


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Raise Refused where a process died in the middle of writing: who only reads cannot roll back
    what it left.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if not looks_abandoned(error):
            raise
        raise Refused(
            "in the source a process died in the middle of writing; start the application once, so that "
            "SQLite takes back what it left"
        ) from None
