"""Database URLs: where an option finds one, and the SQLite file that one points at."""

from __future__ import annotations

import os
from typing import Optional
from urllib.parse import unquote

from kallithea_tune.errors import ConfigError
from kallithea_tune.system import given_file


def given_url(argument: str, option: str) -> str:
    """Return the URL that `option` was given: itself, ``env:NAME`` or ``file:PATH`` (first line).

    Only the latter two keep its password out of the list of processes. Raises ConfigError where
    the variable is not set or the file cannot be read.
    """
    kind, _, place = argument.partition(":")
    if kind == "env":
        return _from_environment(place, option)
    if kind == "file":
        return _from_file(place, option)
    return argument


def _from_environment(name: str, option: str) -> str:
    url = os.environ.get(name, "").strip()
    if not url:
        raise ConfigError(f"{option}: the environment variable {name or 'NAME'} is not set")
    return url


def _from_file(path: str, option: str) -> str:
    try:
        url = given_file.text(os.path.expanduser(path)).partition("\n")[0].strip()
    except OSError as error:
        raise ConfigError(f"{option}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{option}: {path} cannot be read: it is not text") from None
    if not url:
        raise ConfigError(f"{option}: the first line of {path} is empty")
    return url


def sqlite_file(url: str) -> Optional[str]:
    """Return the path of the SQLite file behind `url`.

    None for any other engine and for a database in memory.
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
