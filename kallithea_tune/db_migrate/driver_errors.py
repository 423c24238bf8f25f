"""Turns what drivers raise, and Ctrl-C, into one sentence: during which step, why, what is left."""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, Iterator, Protocol

from kallithea_tune.db_migrate import connect
from kallithea_tune.db_migrate.engines.base.messages import without_values
from kallithea_tune.errors import ConfigError, TuneError
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

LOCK_WAIT_TIMEOUT = 1205  # ER_LOCK_WAIT_TIMEOUT of MariaDB
LOCK_NOT_AVAILABLE = "55P03"  # of PostgreSQL


class IfStopped(enum.Enum):
    """What is left when a migration stops now: the end of the message about an error or Ctrl-C."""

    UNTOUCHED = "nothing was changed"
    AS_BEFORE = "the target is as it was before"
    AS_BEFORE_CATCHING_UP = "the target is as it was before catching up"
    PARTLY_FILLED = "the target is partly filled; run the same command to resume"
    VERIFIED = "the target is complete and verified"
    SWITCHED = "the target is complete and verified, and the ini file points at it"


class Work(Protocol):
    """What is being done, as `Migration` knows it, and how to stop it."""

    @property
    def current_step(self) -> str:
        """The step, as in "copying users"."""

    @property
    def if_stopped(self) -> IfStopped:
        """What is left when it stops now."""

    def cancel(self) -> None:
        """Make the statements that the databases are executing fail; for another thread."""

    def lock_holders(self) -> str:
        """Return which sessions have locked tables for themselves; empty where that is unknown."""


@contextlib.contextmanager
def translated(work: Work) -> Iterator[None]:
    """Raise TuneError for what SQLAlchemy and drivers raise inside, without values of rows.

    KeyboardInterrupt gets a message that says what is left.
    """
    try:
        with interruption.waking(work.cancel):
            yield
    except KeyboardInterrupt:
        left = work.if_stopped.value
        raise KeyboardInterrupt(f"while {work.current_step}; {left}") from None
    except Exception as error:
        if not of_driver(error):
            raise
        cause = _first_cause(error)
        message = message_of(cause)
        if _is_lock_timeout(cause):
            holders = work.lock_holders() or "another session"
            message = f"a table stays locked by {holders}, which has to end first ({message})"
        left = work.if_stopped.value
        sentence = f"the migration stopped while {work.current_step}: {message}; {left}"
        # The text of the error and of its causes may contain entire rows; the traceback is enough
        # for --debug.
        raise TuneError(sentence).with_traceback(error.__traceback__) from None


def _first_cause(error: BaseException) -> BaseException:
    """Return the driver's first exception: after a lost connection the rollback fails as well."""
    while error.__context__ is not None and of_driver(error.__context__):
        error = error.__context__
    return error


def _is_lock_timeout(error: BaseException) -> bool:
    origin: BaseException = getattr(error, "orig", None) or error
    if type(origin).__module__.partition(".")[0] in ("pymysql", "MySQLdb"):
        return origin.args[:1] == (LOCK_WAIT_TIMEOUT,)
    return getattr(origin, "pgcode", None) == LOCK_NOT_AVAILABLE


def of_driver(error: BaseException) -> bool:
    """Tell whether SQLAlchemy or a driver raised the exception."""
    from sqlalchemy.exc import SQLAlchemyError

    # PEP 249 gives the base class of every driver's exceptions this name.
    return isinstance(error, SQLAlchemyError) or any(
        base.__name__ == "Error"
        and base.__module__.split(".")[0] in ("psycopg2", "pymysql", "MySQLdb", "sqlite3")
        for base in type(error).__mro__
    )


def message_of(error: BaseException) -> str:
    """Return the first line of the message of a server or driver, without values of rows."""
    origin: BaseException = getattr(error, "orig", None) or error
    texts = [argument for argument in origin.args if isinstance(argument, str)]
    message = without_values(str(texts[-1] if texts else origin))
    lines = message.strip().splitlines()
    if lines:
        return lines[0].rstrip(".")
    # PyMySQL has no words for a connection that was closed in between.
    name = type(origin).__name__
    return "Lost connection to the server" if name == "InterfaceError" else name


def open_connection(engine: Engine, option: str) -> Connection:
    """Connect to the database given by `option`. Raises ConfigError, without the password."""
    from sqlalchemy.exc import ArgumentError, DBAPIError

    try:
        # A connection to SQLite may belong to the thread that made it, and waits for nobody.
        if engine.dialect.name == "sqlite":
            return engine.connect()
        return interruption.abandonable(engine.connect)
    except ArgumentError as error:
        raise ConfigError(str(error)) from None
    except DBAPIError as error:
        lines = str(error.orig).strip().splitlines()
        reason = lines[0] if lines else type(error.orig).__name__
        label = connect.label(engine.url)
        raise ConfigError(f"{option} ({label}) cannot be reached: {reason}") from None
