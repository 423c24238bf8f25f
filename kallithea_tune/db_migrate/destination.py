"""The target's connection; a new SQLite file is made under another name, and gets its own when it
is whole.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING, Any, Optional

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate import connect, journal, target
from kallithea_tune.db_migrate.copy import End
from kallithea_tune.db_migrate.engines import dialect_of
from kallithea_tune.errors import ConfigError, Refused

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

PART = ".kallithea-tune-part"
LOCK = "kallithea_tune"


class Destination:
    """The database that is filled: `end` is where to write, `tables` what was there before."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = sqlite_file(url)
        self._locked: Optional[int] = None
        if self._path and not os.path.isdir(os.path.dirname(os.path.abspath(self._path))):
            raise ConfigError(
                f"--to: there is no directory {os.path.dirname(os.path.abspath(self._path))}"
            )
        # Nothing is created before it is asked for, not even an empty file.
        there = not self._path or os.path.exists(self._path)
        self.end = self._opened(None if there else ":memory:")
        self.tables = target.existing_tables(self.end.connection)
        self.entries = journal.read(self.end.connection) if self.tables else None
        self.state = journal.state(self.entries, len(self.tables))

    @property
    def is_file(self) -> bool:
        """Whether it is a SQLite file, so that a new one is filled and the one there, if any, only
        replaced.
        """
        return bool(self._path)

    def _opened(self, path: Optional[str]) -> End:
        """Connect to the database, or to another SQLite file in its place."""
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        engine = connect.target_engine(self._url)
        if path:
            engine = sqlalchemy.create_engine(
                engine.url,
                poolclass=NullPool,
                creator=lambda: sqlite3.connect(path, check_same_thread=False),
            )
        connection: Connection = target.reach(engine, "--to")
        return End(connection, dialect_of(engine))

    def reserve(self) -> None:
        """Raise Refused where another migration writes into the target."""
        if not self.end.dialect.lock(self.end.connection, LOCK):
            raise Refused(
                "another db-migrate is at work on the target {}".format(
                    connect.label(self.end.connection.engine.url)
                )
            )

    def stage(self) -> None:
        """Have a SQLite file made in place of the one there is or is not; nothing for a server.

        Raises Refused when another migration is making it, and ConfigError when it cannot be made.
        """
        self.reserve()
        if not self._path:
            return
        try:
            handle = os.open(self._path + PART, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"--to: {self._path + PART} cannot be made: {error.strerror}"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise Refused(f"another db-migrate is making {self._path}") from None
        # What a run that was killed left.
        os.ftruncate(handle, 0)
        self._locked = handle
        self.end.connection.close()
        self.end = self._opened(self._path + PART)

    def publish(self) -> None:
        """Give a staged file its name, once it is on the disk."""
        if self._locked is None or not self._path:
            return
        self.end.connection.close()
        self._like_its_place(self._locked, self._path)
        os.fsync(self._locked)
        os.replace(self._path + PART, self._path)
        parent = os.open(os.path.dirname(os.path.abspath(self._path)), os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)
        self._release()
        self.end = self._opened(None)

    def _like_its_place(self, handle: int, path: str) -> None:
        """Give root's file to whom the one before or the directory belongs to, since Kallithea has
        to write to it.
        """
        like: Any = os.stat(path) if os.path.exists(path) else None
        owner = like or os.stat(os.path.dirname(os.path.abspath(path)))
        if os.geteuid() == 0:
            os.fchown(handle, owner.st_uid, owner.st_gid)
        if like:
            os.fchmod(handle, like.st_mode & 0o777)

    def _release(self) -> None:
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None

    def close(self) -> None:
        """Close the connection, and remove a file that was not finished."""
        self.end.connection.close()
        if self._locked is not None and self._path:
            os.unlink(self._path + PART)
        self._release()
