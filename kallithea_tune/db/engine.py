"""SQLAlchemy engines for measuring: none creates a SQLite file or waits long for a lock.

Those for the live database only read.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Union
from urllib.parse import quote

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import ConfigError
from kallithea_tune.system import files
from kallithea_tune.text import has_control

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.engine import Engine

CONNECT_SECONDS, READ_SECONDS = 5, 10
# Under every name that SQLAlchemy has for a driver.
CONNECT_ARGS: Mapping[str, Mapping[str, int]] = {
    "psycopg2": {"connect_timeout": CONNECT_SECONDS},
    # PyMySQL's connect_timeout does not cover the server's greeting; read_timeout does, and a
    # hanging query.
    "pymysql": {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS},
    "mysqldb": {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS},
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


def open_sqlite(path: str, timeout: float = 2, writable: bool = False) -> sqlite3.Connection:
    """Open an existing SQLite file, never creating one; wait `timeout` seconds for its locks.

    Unless `writable`, nothing is written at all: where a process died in the middle of a
    transaction, the first statement fails, after a second, with "attempt to write a readonly
    database", and the rollback is left to Kallithea's next connection.
    """
    import sqlite3

    from kallithea_tune.db.sqlite_reader import LOCK_WAIT, Connection, Reader

    _require_file(path)
    mode = "rw" if writable or _leaves_files(path) else "ro"
    connection: Connection = sqlite3.connect(
        f"file:{quote(path)}?mode={mode}",
        uri=True,
        timeout=min(timeout, LOCK_WAIT),
        check_same_thread=False,
        factory=Connection if writable else Reader,
    )
    connection.lock_seconds = timeout
    if not writable:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _require_file(path: str) -> None:
    """Raise OperationalError where opening `path` would wait forever, or act on a device."""
    import sqlite3

    try:
        found = files.entry(*os.path.split(os.path.realpath(path)))
        if found:
            found.require_unblocking()
    except PermissionError:
        # SQLite cannot open it either.
        return
    except files.NotAFile as error:
        raise sqlite3.OperationalError(str(error)) from None


def _leaves_files(path: str) -> bool:
    """Whether closing a read-only connection would leave new files behind.

    It does in WAL mode when nobody else has the database open. A connection that may write removes
    them, and has nothing to write into the database, since there is no -wal yet.
    """
    try:
        # A link to the database is the admin's own.
        with files.opened(*os.path.split(os.path.realpath(path))) as file:
            header = file.read(20)
    except (OSError, files.NotAFile):
        return False
    # "File format read version", https://www.sqlite.org/fileformat2.html#the_database_header
    return header[19:20] == b"\2" and not os.path.exists(path + "-wal")


def create_engine(url: str, option: str = "sqlalchemy.url", writable: bool = True) -> Engine:
    """Make an engine without a pool for the `url` in `option`; it gives up connecting after 5 s.

    `writable` decides how a SQLite file is opened; see `read_only_engine`. Raises ConfigError for
    what `url_errors` lists.
    """
    import sqlalchemy
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.pool import NullPool

    arguments: dict[str, Any]
    with url_errors(url, option):
        path = sqlite_file(url)
        if path:
            arguments = {"creator": lambda: open_sqlite(path, writable=writable)}
        else:
            driver = make_url(url).get_driver_name()
            arguments = {"connect_args": dict(CONNECT_ARGS.get(driver, {}))}
        engine: Engine = sqlalchemy.create_engine(url, poolclass=NullPool, **arguments)
        refuse_arguments(engine, option)
    return engine


@contextlib.contextmanager
def url_errors(url: str, option: str) -> Iterator[None]:
    """Raise ConfigError for what makes SQLAlchemy refuse the `url` in `option`.

    It is empty or no URL, has an unknown dialect or driver, one that is not installed, or a port or
    argument that cannot be read.
    """
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    form = "give one such as postgresql://user@localhost/kallithea"
    if not url:
        raise ConfigError(f"{option} is empty; {form}")
    if has_control(url):
        raise ConfigError(f"{option} has a control character; write it on one line, without any")
    _check_port(url, option, form)
    path = sqlite_file(url)
    if path and os.path.isdir(path):
        raise ConfigError(f"{option}: {path} is a directory, not a SQLite file")
    try:
        yield
    except NoSuchModuleError:
        dialect = url.split(":", 1)[0]
        raise ConfigError(
            f"{option} has the unknown database dialect '{dialect}'; "
            "SQLAlchemy knows sqlite, postgresql and mysql"
        ) from None
    except ArgumentError:
        raise ConfigError(f"{option} is not a database URL; {form}") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{option} has an argument that cannot be used: {error}") from None
    except ImportError as error:
        raise ConfigError(
            f"the driver for {option} is not installed ({error}); "
            "install it in this virtual environment"
        ) from None


def _check_port(url: str, option: str, form: str) -> None:
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        port = make_url(url).port
    except ArgumentError:
        raise ConfigError(f"{option} is not a database URL; {form}") from None
    except ValueError:
        raise ConfigError(
            f"{option} is not a database URL: its port is not a number; {form}"
        ) from None
    if port is not None and not 0 < int(port) < 65536:
        raise ConfigError(f"{option} has the port {port}; a port is from 1 to 65535")


def refuse_arguments(engine: Engine, option: str) -> None:
    """Have the engine raise ArgumentError for arguments of its URL that the driver does not accept.

    It does so when it connects: only then the driver sees them.
    """
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError

    # What a dialect is called with is the driver's business, and so is what it returns.
    def connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            reason = str(error)
        except dialect.dbapi.ProgrammingError as error:
            reason = str(error).strip()
            if "invalid dsn" not in reason:
                raise
        # Their values may be secrets.
        names = " and ".join(f"?{name}=" for name in engine.url.query)
        raise ArgumentError(f"{option}: the driver refuses {names or 'it'}: {reason}")

    sqlalchemy.event.listen(engine, "do_connect", connect)


def require_accepted(url: str, option: str = "sqlalchemy.url") -> None:
    """Raise ConfigError for a `url` that no server is needed to refuse: see `url_errors`."""
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        create_engine(url, option, writable=False).connect().close()
    except ArgumentError as error:
        raise ConfigError(str(error)) from None
    except SQLAlchemyError:
        # Whether the server answers is another question.
        return


def read_only_engine(url: str) -> Engine:
    """Make an engine for `url` whose connections the database itself keeps from writing.

    It waits at most two seconds for a lock. Raises ConfigError as `create_engine` does.
    """
    engine = create_engine(url, writable=False)
    forbid_writing(engine, engine.dialect.name)
    return engine


def forbid_writing(target: Union[Engine, type[Engine]], backend: str) -> None:
    """Make every new connection read-only: those of one engine, or of the class ``Engine``."""
    import sqlalchemy

    # A connection is whatever the driver makes: PEP 249 defines no class for it.
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for statement in READ_ONLY.get(backend, ()):
            cursor.execute(statement)
        cursor.close()
        if backend == "postgresql":
            connection.commit()

    sqlalchemy.event.listen(target, "connect", prepare)
