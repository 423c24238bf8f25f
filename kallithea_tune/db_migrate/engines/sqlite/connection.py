"""Opening SQLite files."""

from __future__ import annotations

import os
from typing import Mapping

from kallithea_tune.db.engine import open_sqlite
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate.engines import base

LOCK_SECONDS = 60  # how long the application itself waits for a locked SQLite file


class ConnectionSettings(base.ConnectionSettings):
    """A file that exists is opened by `open_sqlite`, which never creates one."""

    def engine_arguments(self, url: str, writable: bool) -> Mapping[str, object]:
        """Return keyword arguments for SQLAlchemy's ``create_engine``."""
        path = sqlite_file(url)
        if path is None:
            return super().engine_arguments(url, writable)
        if writable and not os.path.exists(path):
            return {}
        file = path
        return {"creator": lambda: open_sqlite(file, LOCK_SECONDS, writable)}
