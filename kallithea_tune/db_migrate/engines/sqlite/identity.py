"""The proof that nobody has written to a SQLite file: the counter in its header, and the file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Optional

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.identity import Parts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# https://www.sqlite.org/fileformat.html, section 1.3
HEADER = 100
VERSIONS = slice(18, 20)  # of the format for writing and reading
ROLLBACK = b"\1\1"  # both of them, unless the file is in WAL mode


class Identity(base.Identity):
    """The header counts every transaction, except in WAL mode, where nothing is proven.

    Two copies of a file can have counted as far as each other, so the file has to be the same, too,
    and so has the time at which the system saw the last change to it (ctime, which programs cannot
    set, unlike mtime).
    """

    def __init__(self, url: str) -> None:
        """Open the file, until no connection is left.

        When a process closes a file, the locks of its connections to that file are gone.
        """
        self._path = sqlite_file(url)
        self._file: Optional[int] = None
        with contextlib.suppress(OSError):
            # Where it cannot be opened, SQLite itself says so in a moment.
            self._file = os.open(self._path or "", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, connection: Connection) -> Parts:
        """Read the header and what the file system knows."""
        if self._file is None or not self._path:
            return {}
        try:
            status, named = os.fstat(self._file), os.stat(self._path)
        except OSError:
            return {}
        header = os.pread(self._file, HEADER, 0)
        if not os.path.samestat(status, named) or header[VERSIONS] != ROLLBACK:
            return {}
        return {
            "path": os.path.realpath(self._path),
            "file": f"{status.st_dev} {status.st_ino}",
            "size": str(status.st_size),
            "change": str(status.st_ctime_ns),
            "header": header.hex(),
            "SQLite": sqlite3.sqlite_version,
        }

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
