"""The source as of one moment, while the application may keep writing, and whether it did."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from typing import TYPE_CHECKING, Iterator, Optional

from kallithea_tune.db import sqlite_locks
from kallithea_tune.db.sqlite_reader import looks_abandoned
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate import connect
from kallithea_tune.db_migrate.driver_errors import open_connection
from kallithea_tune.db_migrate.engines import Engine, engine_class, engine_for
from kallithea_tune.db_migrate.engines.base.identity import Parts
from kallithea_tune.db_migrate.engines.sqlite import utf16
from kallithea_tune.errors import Refused
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

STEP = 4000  # pages copied at a time
SPARE = 1.2  # times the size of the database that must be free for a copy of it
OPTION = "sqlalchemy.url"


class Source:
    """The database that is migrated: `endpoint` is a snapshot of it. It is never written to.

    `identity` is equal for two snapshots only where nobody wrote between them; it may be empty.
    """

    endpoint: Engine
    identity: Parts

    def __init__(self, url: str) -> None:
        self._url, self._engine = url, connect.source_engine(url)
        self._identity = engine_class(self._engine.dialect.name).identity_class(url)
        # A second connection, outside the snapshot, sees later writes.
        self._live = open_connection(self._engine, OPTION)
        self.take_snapshot()

    def take_snapshot(self) -> None:
        """Take a snapshot in place of the old one; raises Refused as `_refused` does."""
        with self._refused():
            self._take_snapshot()

    def _take_snapshot(self) -> None:
        self._end_snapshot()
        self._spare: Optional[Connection] = None
        # The marker is read first, so that a write between the two counts as one after the
        # snapshot.
        self._marker = self._read_marker()
        before = self._identity.read(self._live)
        connection = self._copied() or open_connection(self._engine, OPTION)
        self.endpoint = engine_for(connection)
        self.endpoint.reader.begin_snapshot()
        self.identity = before if before == self._identity.read(self._live) else {}

    def another_connection(self) -> Optional[Engine]:
        """Open another connection to the snapshot, for another process; the caller closes it.

        Returns None where nothing proves that it sees the same moment.
        """
        with self._refused():
            spare, self._spare = self._spare, None
            other = engine_for(spare or open_connection(self._engine, OPTION))
            same = other.reader.join_snapshot(self.endpoint.reader)
            if same or spare is not None or not self.maybe_written():
                return other
            other.connection.close()
            return None

    def maybe_written(self) -> bool:
        """Tell whether anything may have been written since the snapshot; False is certain."""
        with self._refused():
            marker = self._read_marker()
        return not marker or marker != self._marker

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        """Raise Refused for a SQLite file that stays locked, or that a process left half-written.

        Only a writer can roll the latter back.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            if looks_abandoned(error):
                reason = (
                    "a process died while writing to the source; start the application once, so "
                    "that SQLite rolls back what it left"
                )
            elif "locked" in str(error):
                reason = (
                    f"the source stays locked by {_lockers(sqlite_file(self._url) or '')}; wait "
                    "until that has finished, or end it, and run the command again"
                )
            else:
                raise
            raise Refused(reason) from None

    def close(self) -> None:
        """Close all connections."""
        self._end_snapshot()
        self._live.close()
        self._identity.close()

    def _end_snapshot(self) -> None:
        with contextlib.suppress(AttributeError):
            self.endpoint.connection.close()
            if self._spare is not None:
                self._spare.close()

    def _read_marker(self) -> str:
        marker = engine_for(self._live).reader.change_marker()
        # Within this transaction PostgreSQL would keep answering from the same snapshot.
        self._live.connection.rollback()
        return marker

    def _copied(self) -> Optional[Connection]:
        """Copy a SQLite file whose readers block its writers, so that the application can write on.

        Returns None for another engine, in WAL mode, where readers block nobody, and where there is
        no room; then writers wait. A file in UTF-16 is always copied, into one in UTF-8; raises
        Refused where there is no room.
        """
        path = sqlite_file(self._url)
        if not path:
            return None
        live: sqlite3.Connection = self._live.connection.cursor().connection
        mode = live.execute("PRAGMA journal_mode").fetchone()[0]
        converted = utf16.is_utf16(live)
        if mode == "wal" and not converted:
            return None
        for directory in (os.path.dirname(path), tempfile.gettempdir()):
            with contextlib.suppress(OSError):
                if shutil.disk_usage(directory).free > os.path.getsize(path) * SPARE:
                    return self._copy_in(directory, converted)
        if converted:
            raise Refused(
                f"the source {path} is in UTF-16, and there is no room for a copy in UTF-8, neither"
                f" beside it nor in {tempfile.gettempdir()}"
            )
        return None

    def _copy_in(self, directory: str, converted: bool) -> Connection:
        handle, path = tempfile.mkstemp(prefix=".kallithea-tune-", dir=directory)
        os.close(handle)
        copy, spare = (sqlite3.connect(path, check_same_thread=False) for _ in range(2))
        copy.execute("PRAGMA journal_mode = OFF").fetchall()
        # Unlinked at once, so that nothing is left however this process ends.
        os.unlink(path)
        live: sqlite3.Connection = self._live.connection.cursor().connection
        if converted:
            utf16.convert(live, copy)
        else:
            # One snapshot for all steps of the copy, between which it can be interrupted.
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=STEP, progress=lambda *_: interruption.check())
            live.rollback()
        self._spare = self._connected(spare)
        return self._connected(copy)

    def _connected(self, opened: sqlite3.Connection) -> Connection:
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        engine = sqlalchemy.create_engine(
            self._engine.url, creator=lambda: opened, poolclass=NullPool
        )
        connection: Connection = connect.with_session(engine, writable=False).connect()
        return connection


def _lockers(path: str) -> str:
    """Return which processes have the write lock of a SQLite file."""
    writers = [f"{item.process} ({item.program})" for item in sqlite_locks.watch(path, 0).writers]
    return f"the process {', '.join(writers)}" if writers else "another process"
