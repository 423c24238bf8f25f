"""The last step: the new URL written into the ini file, where the old one really stands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kallithea_tune.config import inifile, locate
from kallithea_tune.config.instance import load
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.db_migrate import connect
from kallithea_tune.errors import ConfigError, Refused, TuneError

if TYPE_CHECKING:
    from kallithea_tune.config.instance import Instance

OPTION = "sqlalchemy.url"
SQLITE_TIMEOUT = "timeout=60"  # as Kallithea's own ini file has it
CHARSET = "charset=utf8mb4"


def application_url(url: str) -> str:
    """Return `url` as the application needs it: a driver that is here, a whole path, all of
    Unicode.

    Raises Refused for an encoded character, with which Kallithea 0.7.0 ends when it starts.
    """
    if "%" in url:
        raise Refused(
            "the URL of the target has an encoded character (%), with which Kallithea 0.7.0 does not start: Alembic "
            "takes it for a reference; write it as it is (@ : and / excepted), choose another password, or leave the "
            "password out of the URL and keep it in ~/.pgpass (PostgreSQL) or an option file named by "
            "?read_default_file= (MariaDB)"
        )
    url = connect.with_driver(url)
    path = sqlite_file(url)
    if path:
        _, _, parameters = url.partition("?")
        return _with(
            "sqlite:///" + os.path.abspath(path) + ("?" + parameters if parameters else ""),
            SQLITE_TIMEOUT,
        )
    return _with(url, CHARSET) if url.startswith("mysql") else url


def _with(url: str, parameter: str) -> str:
    if parameter.partition("=")[0] + "=" in url.partition("?")[2]:
        return url
    return url + ("&" if "?" in url else "?") + parameter


def moved(instance: Instance, url: str) -> Instance:
    """Return the same application on another database, in memory only."""
    return instance.with_settings({OPTION: application_url(url)})


def same_database(one: str, other: str) -> bool:
    """Tell whether two URLs name the same database; users, passwords and options do not count."""
    return _identity(one) == _identity(other)


def _identity(url: str) -> tuple[object, ...]:
    from sqlalchemy.engine.url import make_url
    from sqlalchemy.exc import ArgumentError

    path = sqlite_file(url)
    if path:
        return ("sqlite", os.path.realpath(path))
    try:
        made = make_url(connect.with_driver(url))
    except (ArgumentError, ValueError):
        # Whoever connects says what is wrong with it.
        return (url,)
    host = {"localhost": "127.0.0.1", "::1": "127.0.0.1", None: "127.0.0.1"}.get(
        made.host, made.host
    )
    backend = made.get_backend_name()
    return (
        backend,
        host,
        made.port or {"postgresql": 5432, "mysql": 3306}.get(backend),
        made.database,
    )


def plan(instance: Instance, url: str) -> inifile.Edit:
    """Return the edit after which the application uses `url`. Raises Refused and ConfigError where
    there is none.
    """
    found = locate.find(instance, OPTION)
    if found is None:
        raise ConfigError(
            f"where {OPTION} is set was not found in {instance.path}; name the file that holds the application with -c"
        )
    path, section = found
    return inifile.plan(path, section, {OPTION: application_url(url)})


def carry_out(edit: inifile.Edit, instance: Instance, url: str) -> str:
    """Write the edit, see by loading the file that it means what it should, and return the path of
    the backup.

    Raises TuneError, with the old file back in place, when it does not.
    """

    def works() -> bool:
        return load(f"{instance.path}#{instance.name}").database_url == application_url(url)

    backups = locate.apply([edit], works)
    if not backups:
        raise TuneError(
            f"the new {OPTION} in {edit.path} had no effect, so that the old file was put back; change it by hand"
        )
    return backups[0]
