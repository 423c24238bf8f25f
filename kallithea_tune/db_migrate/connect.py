"""Connections for long copying: no time limits, the source read-only, labels without secrets."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Mapping

from kallithea_tune.db.engine import refuse_arguments, url_errors
from kallithea_tune.db.interruptible import notice_loss
from kallithea_tune.db_migrate.engines import engine_class
from kallithea_tune.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

# SQLAlchemy before 1.4 knows no mariadb://, and later versions treat both alike.
ALIASES: Mapping[str, str] = {"mariadb": "mysql", "postgres": "postgresql"}


def with_driver(url: str) -> str:
    """Return `url` with a driver that is installed, where it names none.

    ``mysql://`` may become ``mysql+pymysql://``. Raises ConfigError, with the command for pip,
    where no driver is installed.
    """
    scheme, _, rest = url.partition("://")
    dialect, _, driver = scheme.partition("+")
    dialect = ALIASES.get(dialect, dialect)
    settings = engine_class(dialect).settings
    if driver or not settings.drivers:
        scheme = f"{dialect}+{driver}" if driver else dialect
        return f"{scheme}://{rest}" if rest else url
    for candidate in settings.drivers:
        if importlib.util.find_spec(candidate.module):
            return f"{candidate.scheme}://{rest}"
    raise ConfigError(
        f"no driver for {dialect} is installed; install one:"
        f" pip install 'kallithea-tune[{settings.extra}]'"
    )


def source_engine(url: str) -> Engine:
    """Make an engine that cannot write. Raises ConfigError for a URL that cannot be used."""
    return with_session(_engine(url, "sqlalchemy.url", writable=False), writable=False)


def target_engine(url: str) -> Engine:
    """Make an engine that writes. Raises ConfigError for a URL that cannot be used."""
    return with_session(_engine(url, "--to", writable=True), writable=True)


def _engine(url: str, option: str, writable: bool) -> Engine:
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    with url_errors(url, option):
        url = with_driver(url)
        dialect = url.partition(":")[0].partition("+")[0]
        arguments = engine_class(dialect).settings.engine_arguments(url, writable)
        # Closing ends a transaction as well, and does not log that a server is gone.
        engine: Engine = sqlalchemy.create_engine(
            url, poolclass=NullPool, pool_reset_on_return=None, **arguments
        )
        refuse_arguments(engine, option)
    return engine


def with_session(engine: Engine, writable: bool) -> Engine:
    """Have the session of each new connection set up as the engine's settings say."""
    import sqlalchemy

    statements = engine_class(engine.dialect.name).settings.session_statements(writable)

    def prepare(connection: DBAPIConnection, _record: object) -> None:
        notice_loss(connection)
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        connection.commit()

    if statements:
        # Before SQLAlchemy 1.4, its own questions to a server come between the two events.
        for event in ("first_connect", "connect"):
            sqlalchemy.event.listen(engine, event, prepare, insert=True)
    return engine


def label(url: URL) -> str:
    """Return which database a URL is, without user and password.

    An example: ``postgresql db.example.com/kallithea``.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return f"sqlite {url.database}"
    port = f":{url.port}" if url.port else ""
    return f"{backend} {url.host or 'localhost'}{port}/{url.database}"
