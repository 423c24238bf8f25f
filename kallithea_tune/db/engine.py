"""SQLAlchemy engines for measuring: none creates a SQLite file or waits for long, and the live
database's only read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Mapping, Optional
from urllib.parse import quote, unquote

from kallithea_tune.errors import ConfigError

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.engine import Engine

# By driver, for each calls it by another name.
CONNECT_ARGS: Mapping[str, Mapping[str, Any]] = {
    "psycopg2": {"connect_timeout": 5},
    # PyMySQL's connect_timeout does not cover the server's greeting; read_timeout does, and a
    # hanging query.
    "pymysql": {"connect_timeout": 5, "read_timeout": 10},
    "mysqldb": {"connect_timeout": 5, "read_timeout": 10},
}
READ_ONLY: Mapping[str, tuple[str, ...]] = {
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA busy_timeout = 2000"),
    "postgresql": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET statement_timeout = 10000",
        "SET lock_timeout = 2000",
    ),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION lock_wait_timeout = 2"),
}


def sqlite_file(url: str) -> Optional[str]:
    """Return the path of the SQLite file that `url` names, or None for another engine or a database
    in memory.
    """
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
        database = unquote(database[len("file:") :].split("?")[0])
    return os.path.abspath(database)


def open_sqlite(path: str, timeout: float = 2, writable: bool = False) -> sqlite3.Connection:
    """Open an existing file only, since SQLite would make a missing one, and wait `timeout` seconds
    for its locks.

    Unless `writable`, nothing is written at all: the first statement fails, after a second, with
    "attempt to write a readonly database" where a process died in the middle of a transaction, and
    to roll that back is left to Kallithea's next connection.
    """
    import sqlite3

    from kallithea_tune.db.sqlite_reader import Reader

    mode = "rw" if writable or _leaves_files(path) else "ro"
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode={mode}",
        uri=True,
        timeout=timeout,
        check_same_thread=False,
        factory=sqlite3.Connection if writable else Reader,
    )
    if not writable:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _leaves_files(path: str) -> bool:
    """Whether closing a read-only connection would leave new files: in WAL mode, when nobody has
    the database open.

    A connection that may write removes them; it finds nothing to write into the database, since
    there is no -wal yet.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(20)
    except OSError:
        return False
    # "File format read version", https://www.sqlite.org/fileformat2.html#the_database_header
    return header[19:20] == b"\2" and not os.path.exists(path + "-wal")


def given_url(given: str, option: str) -> str:
    """Return the URL that `option` names: itself, ``env:NAME`` (environment) or ``file:PATH``
    (first line).

    Only the latter two keep its password from the list of processes. Raises ConfigError where there
    is none.
    """
    kind, _, place = given.partition(":")
    if kind == "env":
        url = os.environ.get(place, "").strip()
        if not url:
            raise ConfigError(
                "{}: the environment variable {} is not set".format(option, place or "NAME")
            )
    elif kind == "file":
        try:
            with open(os.path.expanduser(place), encoding="utf-8") as file:
                url = file.readline().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(f"{option}: {place} cannot be read: {reason}") from None
        if not url:
            raise ConfigError(f"{option}: the first line of {place} is empty")
    else:
        url = given
    return url


def create_engine(url: str, name: str = "sqlalchemy.url", writable: bool = True) -> Engine:
    """Make an engine for `url`, given as `name`, that keeps no connections and gives up connecting
    after five seconds.

    `writable` says how a SQLite file is opened; see `read_only_engine`. Raises ConfigError for an
    empty or unreadable URL, an unknown dialect, or a missing driver.
    """
    import sqlalchemy
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    if not url:
        raise ConfigError(f"{name} is empty; it reads dialect://user:password@host/name")
    try:
        options: dict[str, Any] = {"poolclass": NullPool}
        path = sqlite_file(url)
        if path:
            options["creator"] = lambda: open_sqlite(path, writable=writable)
        else:
            options["connect_args"] = dict(CONNECT_ARGS.get(make_url(url).get_driver_name(), {}))
        engine: Engine = sqlalchemy.create_engine(url, **options)
        return engine
    except NoSuchModuleError:
        raise ConfigError(
            "{} names an unknown database dialect '{}'; SQLAlchemy knows sqlite, postgresql and mysql".format(
                name, url.split(":", 1)[0]
            )
        ) from None
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"{name} is not a database URL; it reads dialect://user:password@host/name"
        ) from None
    except ImportError as error:
        raise ConfigError(
            f"the driver for {name} is not installed ({error}); install it into this virtual environment"
        ) from None


def read_only_engine(url: str) -> Engine:
    """Make an engine for `url` whose every connection is read-only by the database's own means.

    Raises ConfigError as `create_engine` does.
    """
    engine = create_engine(url, writable=False)
    forbid_writing(engine, engine.dialect.name)
    return engine


def forbid_writing(target: Any, backend: str) -> None:
    """Make every new connection of `target`, an engine or the class `Engine`, read-only; SQLite
    waits two seconds.
    """
    import sqlalchemy

    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for statement in READ_ONLY.get(backend, ()):
            cursor.execute(statement)
        cursor.close()
        if backend == "postgresql":
            connection.commit()

    sqlalchemy.event.listen(target, "connect", prepare)
