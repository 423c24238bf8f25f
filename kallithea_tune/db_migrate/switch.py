"""The last step: writing the new URL into the ini file, in the place where the old one is set."""

from __future__ import annotations

import contextlib
import enum
import os
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional

from kallithea_tune.app.owner import owner_of
from kallithea_tune.config import inifile, locate
from kallithea_tune.config.instance import load
from kallithea_tune.db.interruptible import transaction
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate import connect, journal
from kallithea_tune.db_migrate.driver_errors import IfStopped, translated
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.db_migrate.target import Target
from kallithea_tune.errors import ConfigError, Refused, TuneError
from kallithea_tune.system import atomic
from kallithea_tune.system.account import acting_as

if TYPE_CHECKING:
    from kallithea_tune.config.instance import Instance

OPTION = "sqlalchemy.url"
SQLITE_TIMEOUT = "timeout=60"  # as in Kallithea's own template of the ini file
CHARSET = "charset=utf8mb4"
_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306}
_LOCAL = ("localhost", "::1", None)


def application_url(url: str) -> str:
    """Return `url` as the application needs it: with driver, absolute path, all of Unicode.

    Raises Refused for an encoded character, with which Kallithea 0.7.0 does not start.
    """
    if "%" in url:
        raise Refused(
            "the URL of the target contains an encoded character (%), with which Kallithea 0.7.0 "
            "does not start, because Alembic interpolates it; write the character as it is (unless "
            "it is @, : or /), choose another password, or leave the password out of the URL and "
            "keep it in ~/.pgpass (PostgreSQL) or in an option file given by ?read_default_file= "
            "(MariaDB)"
        )
    url = connect.with_driver(url)
    path = sqlite_file(url)
    if path:
        _, separator, parameters = url.partition("?")
        absolute = f"sqlite:///{os.path.abspath(path)}{separator if parameters else ''}{parameters}"
        return _with_parameter(absolute, SQLITE_TIMEOUT)
    return _with_parameter(url, CHARSET) if url.startswith("mysql") else url


def _with_parameter(url: str, parameter: str) -> str:
    if parameter.partition("=")[0] + "=" in url.partition("?")[2]:
        return url
    return url + ("&" if "?" in url else "?") + parameter


def on_target(instance: Instance, url: str) -> Instance:
    """Return the same application on another database, in memory only."""
    return instance.with_settings({OPTION: application_url(url)})


def same_database(first: str, second: str) -> bool:
    """Tell whether two URLs refer to the same database, whatever their users and options."""
    return _identity(first) == _identity(second)


class _Identity(NamedTuple):
    """What distinguishes a database from others; of a URL that cannot be parsed, all of it."""

    backend: str
    host: str
    port: Optional[int]
    name: Optional[str]


def _identity(url: str) -> _Identity:
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError

    path = sqlite_file(url)
    if path:
        return _Identity("sqlite", "", None, os.path.realpath(path))
    try:
        parsed = make_url(connect.with_driver(url))
    except (ArgumentError, ValueError):
        # The error is reported on connecting.
        return _Identity("", url, None, None)
    backend = parsed.get_backend_name()
    host = "127.0.0.1" if parsed.host in _LOCAL else parsed.host
    return _Identity(backend, host, parsed.port or _DEFAULT_PORTS.get(backend), parsed.database)


def plan(instance: Instance, url: str) -> inifile.Edit:
    """Return the edit after which the application uses `url`. Raises Refused or ConfigError."""
    location = locate.find(instance, OPTION)
    if location is None:
        raise ConfigError(
            f"{instance.path} sets no {OPTION}, nor do the files it includes; give the file that "
            "defines the application with -c"
        )
    path, section = location
    return inifile.plan(path, section, {OPTION: application_url(url)})


def apply(edit: inifile.Edit, instance: Instance, url: str) -> str:
    """Write the edit, check by loading the file that it has its effect, return the backup's path.

    Raises TuneError, with the old file restored, when it has not.
    """

    def has_effect() -> bool:
        return load(f"{instance.path}#{instance.name}").database_url == application_url(url)

    backups = locate.apply([edit], has_effect)
    if not backups:
        raise TuneError(
            f"the new {OPTION} in {edit.path} had no effect, so the old file was restored; change "
            "it by hand"
        )
    return backups[0]


class Finish(enum.Enum):
    """What remained of a switch that was killed after it had changed the ini file."""

    NOTHING = "nothing"
    JOURNAL_LEFT = "the journal is still in the target"
    JOURNAL_DROPPED = "the journal was dropped"


class _Finishing(NamedTuple):
    """The work of `finish`, for messages about errors and Ctrl-C."""

    cancel: Callable[[], None]
    lock_holders: Callable[[], str]
    current_step: str = "completing the switch"
    if_stopped: IfStopped = IfStopped.SWITCHED


def finish(instance: Instance, url: str, change: bool) -> Finish:
    """Complete a switch to `url`, to which the ini file points: drop the journal if `change`.

    Raises Refused where db-migrate did not fill the target completely.
    """
    with contextlib.ExitStack() as opened:
        opened.enter_context(acting_as(owner_of(instance, url).account))
        target = Target(url)
        opened.callback(target.close)
        opened.enter_context(
            translated(_Finishing(target.endpoint.cancel, target.endpoint.lock_holders))
        )
        if target.entries is None:
            return Finish.NOTHING
        if target.state is not TargetState.COMPLETE:
            raise Refused(
                f"the ini file points at {connect.label(target.endpoint.connection.engine.url)}, "
                "which db-migrate has not filled completely; restore the old ini file, and run the "
                "command again"
            )
        if not change:
            return Finish.JOURNAL_LEFT
        target.reserve()
        with transaction(target.endpoint.connection):
            journal.drop(target.endpoint.connection)
    return Finish.JOURNAL_DROPPED


def remove_leftovers(instance: Instance) -> None:
    """Remove what a killed run left beside the ini file: a file with the new password, perhaps."""
    location = locate.find(instance, OPTION)
    directory = os.path.dirname(os.path.realpath(location.path if location else instance.path))
    with contextlib.suppress(OSError):
        atomic.remove_leftovers(directory)
