"""Where the settings and the database put Kallithea's data."""

from __future__ import annotations

import contextlib
import os

from kallithea_tune.app import beaker_config
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.db.url import sqlite_file

_ROOT = "SELECT ui_value FROM ui WHERE ui_section = 'paths' AND ui_key = '/'"


def configured(instance: Instance) -> dict[str, str]:
    """Return the directories in the settings by name, the most important first.

    The directory of the repositories is not among them.
    """
    settings = instance.settings
    paths = {
        "database": os.path.dirname(sqlite_file(instance.database_url) or ""),
        "cache_dir": instance.directory("cache_dir") or "",
        "index_dir": instance.directory("index_dir") or "",
        "sessions": beaker_config.session_directory(settings) or "",
        "archives": instance.directory("archive_cache_dir") or "",
    }
    with contextlib.suppress(ValueError):
        for region in beaker_config.regions(settings).values():
            if region.get("type") in ("file", "dbm"):
                paths["file cache"] = region.get("data_dir") or ""
                paths["cache locks"] = region.get("lock_dir") or ""
    return {name: os.path.abspath(path) for name, path in paths.items() if path}


def repositories_root(url: str) -> str:
    """Return the directory of the repositories that the database at `url` has, "" for none.

    Kallithea keeps it in the database, not in the ini file. Raises SQLAlchemyError, and ConfigError
    for a URL that cannot be used; for a child process, as a database may hang.
    """
    import sqlalchemy

    with read_only_engine(url).connect() as connection:
        return str(connection.execute(sqlalchemy.text(_ROOT)).scalar() or "")
