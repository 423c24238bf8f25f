"""SQLAlchemy engines for measuring: none creates a SQLite file or waits for long, and the live database's only read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Mapping, Optional
from urllib.parse import quote, unquote

from kallithea_tune.errors import ConfigError

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.engine import Engine

CONNECT_ARGS: Mapping[str, Mapping[str, Any]] = {
    "postgresql": {"connect_timeout": 5},
    # PyMySQL's connect_timeout does not cover the server's greeting; read_timeout does, and a hanging query.
    "mysql": {"connect_timeout": 5, "read_timeout": 10},
}
READ_ONLY: Mapping[str, tuple[str, ...]] = {
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA busy_timeout = 2000"),
    "postgresql": ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET statement_timeout = 10000"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY",),
}


def sqlite_file(url: str) -> Optional[str]:
    """Return the path of the SQLite file that `url` names, or None for another engine or a database in memory."""
    if not url.startswith("sqlite"):
        return None
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        database: Optional[str] = make_url(url).database
    except ArgumentError:
        return None
    if not database or database == ":memory:":
        return None
    if database.startswith("file:"):
        database = unquote(database[len("file:"):].split("?")[0])
    return os.path.abspath(database)


def open_sqlite(path: str) -> sqlite3.Connection:
    """Open an existing file only, since SQLite would make a missing one; two seconds for a lock, not the app's 60."""
    import sqlite3

    # Not mode=ro: on a database in WAL mode that leaves files behind. PRAGMA query_only forbids the writing.
    return sqlite3.connect("file:%s?mode=rw" % quote(path), uri=True, timeout=2, check_same_thread=False)


def create_engine(url: str, name: str = "sqlalchemy.url") -> Engine:
    """Make an engine for `url`, given as `name`, that keeps no connections and gives up connecting after five seconds.

    Raises ConfigError for an empty or unreadable URL, an unknown dialect, or a missing driver.
    """
    import sqlalchemy
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    if not url:
        raise ConfigError("%s is empty; it reads dialect://user:password@host/name" % name)
    try:
        options: dict[str, Any] = {"poolclass": NullPool}
        path = sqlite_file(url)
        if path:
            options["creator"] = lambda: open_sqlite(path)
        else:
            options["connect_args"] = CONNECT_ARGS.get(make_url(url).get_backend_name(), {})
        engine: Engine = sqlalchemy.create_engine(url, **options)
        return engine
    except NoSuchModuleError:
        raise ConfigError(
            "%s names an unknown database dialect '%s'; SQLAlchemy knows sqlite, postgresql and mysql"
            % (name, url.split(":", 1)[0])
        ) from None
    except (ArgumentError, ValueError):
        raise ConfigError("%s is not a database URL; it reads dialect://user:password@host/name" % name) from None
    except ImportError as error:
        raise ConfigError(
            "the driver for %s is not installed (%s); install it into this virtual environment" % (name, error)
        ) from None


def read_only_engine(url: str) -> Engine:
    """Make an engine for `url` whose every connection is read-only by the database's own means.

    Raises ConfigError as `create_engine` does.
    """
    engine = create_engine(url)
    forbid_writing(engine, engine.dialect.name)
    return engine


def forbid_writing(target: Any, backend: str) -> None:
    """Make every new connection of `target`, an engine or the class `Engine`, read-only; SQLite waits two seconds."""
    import sqlalchemy

    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for statement in READ_ONLY.get(backend, ()):
            cursor.execute(statement)
        cursor.close()
        if backend == "postgresql":
            connection.commit()

    sqlalchemy.event.listen(target, "connect", prepare)
