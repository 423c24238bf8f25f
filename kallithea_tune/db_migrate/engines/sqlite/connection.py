"""Opening SQLite files."""

from __future__ import annotations

import os
from typing import Mapping

from kallithea_tune.db.engine import open_sqlite
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.base.connection import Setting

# Seconds to wait for a lock. A source is read from one moment, before which nothing is copied that
# waiting could lose; a target is written to as the application itself does.
SOURCE_LOCK_SECONDS, TARGET_LOCK_SECONDS = 10, 60


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
        seconds = TARGET_LOCK_SECONDS if writable else SOURCE_LOCK_SECONDS
        return {"creator": lambda: open_sqlite(file, seconds, writable)}


SETTINGS = ConnectionSettings(
    session=(
        Setting(
            "PRAGMA trusted_schema = OFF",
            "what a stranger put into the schema of the file cannot call our functions",
        ),
        Setting("PRAGMA cell_size_check = ON", "a damaged page is an error at once"),
    ),
    source_session=(Setting("PRAGMA query_only = ON", "the source is never written to"),),
    target_session=(
        Setting(
            "PRAGMA foreign_keys = OFF",
            "rows come in any order, whatever SQLite was built with; references are checked at the"
            " end",
        ),
    ),
)
