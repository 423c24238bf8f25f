"""Connections for long copying: no time limits, the source read-only, bulk loading allowed, names
without secrets.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Mapping

from kallithea_tune.db.engine import forbid_writing, open_sqlite
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

LOCK_SECONDS = 60  # how long the application itself waits for a locked SQLite file
# For each dialect: extra to install, driver by driver the module and how SQLAlchemy names it.
DRIVERS: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "postgresql": ("postgresql", (("psycopg2", "postgresql"),)),
    "mysql": ("mysql", (("MySQLdb", "mysql"), ("pymysql", "mysql+pymysql"))),
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "postgresql": {"connect_timeout": 10, "client_encoding": "utf8"},
    # Strict, and with no quoting but the usual: SQLAlchemy asks for the mode only once, when it
    # connects first.
    "mysql": {
        "connect_timeout": 10,
        "local_infile": True,
        "charset": "utf8mb4",
        "sql_mode": ",".join(
            (
                "STRICT_ALL_TABLES",
                "NO_ZERO_DATE",
                "NO_ZERO_IN_DATE",
                "NO_AUTO_VALUE_ON_ZERO",
                "NO_ENGINE_SUBSTITUTION",
            )
        ),
    },
}
# What a server may have as its defaults.
NO_LIMITS: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("SET statement_timeout = 0", "SET idle_in_transaction_session_timeout = 0"),
    "mysql": tuple(
        f"SET SESSION {name} = 604800"
        for name in ("wait_timeout", "net_read_timeout", "net_write_timeout")
    ),
}


def with_driver(url: str) -> str:
    """Return `url` with a driver that is installed, where it names none: ``mysql://`` may end up
    with PyMySQL.

    Raises ConfigError, with the line for pip, where there is none.
    """
    name, _, rest = url.partition("://")
    dialect, _, driver = name.partition("+")
    # SQLAlchemy before 1.4 knows no mariadb://, and later versions treat both alike.
    dialect = {"mariadb": "mysql", "postgres": "postgresql"}.get(dialect, dialect)
    if driver or dialect not in DRIVERS:
        return "{}://{}".format("+".join(filter(None, (dialect, driver))), rest) if rest else url
    extra, drivers = DRIVERS[dialect]
    for module, spelled in drivers:
        if importlib.util.find_spec(module):
            return f"{spelled}://{rest}"
    raise ConfigError(
        f"no driver for {dialect} is installed; install one: pip install 'kallithea-tune[{extra}]'"
    )


def source_engine(url: str) -> Engine:
    """Make an engine that cannot write. Raises ConfigError for a URL that cannot be used."""
    engine = _engine(url, "sqlalchemy.url", writable=False)
    if engine.dialect.name != "sqlite":
        forbid_writing(engine, engine.dialect.name)
    return _unlimited(engine)


def target_engine(url: str) -> Engine:
    """Make an engine that writes. Raises ConfigError for a URL that cannot be used."""
    return _unlimited(_engine(url, "--to", writable=True))


def _engine(url: str, name: str, writable: bool) -> Engine:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    form = f"{name} is not a database URL; it reads dialect://user:password@host/name"
    try:
        url = with_driver(url)
        options: dict[str, Any] = {"poolclass": NullPool}
        path = sqlite_file(url)
        if path and (not writable or os.path.exists(path)):
            options["creator"] = lambda: open_sqlite(path, LOCK_SECONDS, writable)
        elif not path:
            options["connect_args"] = dict(OPTIONS.get(url.partition(":")[0].partition("+")[0], {}))
        engine: Engine = sqlalchemy.create_engine(url, **options)
        return engine
    except NoSuchModuleError:
        raise ConfigError(
            f"{name} names a database dialect that SQLAlchemy does not know"
        ) from None
    except (ArgumentError, ValueError):
        raise ConfigError(form) from None
    except ImportError as error:
        raise ConfigError(f"the driver for {name} is not installed ({error})") from None


def _unlimited(engine: Engine) -> Engine:
    """Lift the time limits that a server may have as its default, so that a long copy is not cut
    off.
    """
    import sqlalchemy

    def lift(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for statement in NO_LIMITS[engine.dialect.name]:
            cursor.execute(statement)
        connection.commit()

    if engine.dialect.name in NO_LIMITS:
        sqlalchemy.event.listen(engine, "connect", lift)
    return engine


def label(url: Any) -> str:
    """Say which database a SQLAlchemy URL means, without user and password: ``postgresql
    db.example.com/kallithea``.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return f"sqlite {url.database}"
    place = "{}{}".format(url.host or "localhost", f":{url.port}" if url.port else "")
    return f"{backend} {place}/{url.database}"
