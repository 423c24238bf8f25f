"""As whom the data of an instance is opened, and its application loaded, when root runs a command.

That is the owner of the data, as whom Kallithea runs, too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from concurrent import futures
from dataclasses import dataclass
from typing import Optional, Sequence

from kallithea_tune.app.directories import configured, repositories_root
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import ConfigError, NotMeasured, Refused, TuneError
from kallithea_tune.system import child
from kallithea_tune.system.account import (
    ROOT,
    Account,
    account_of,
    acting_as,
    ancestors,
    owners,
)

# For looking at everything, with the one query, and for one path where that was too short.
LOOK_SECONDS, QUERY_SECONDS, ALONE_SECONDS = 5.0, 2.0, 1.0


@dataclass(frozen=True)
class Found:
    """Who owns `path`."""

    uid: int
    gid: int
    path: str


@dataclass(frozen=True)
class Owner:
    """The account that owns `path`, or None for root and for a command that another user runs."""

    account: Optional[Account] = None
    path: str = ""

    def notes(self, done: str) -> list[str]:
        """Say as whom it was `done`, in no sentence where that is the user who runs the command."""
        if self.account is None:
            return []
        return [f"{done} as {self.account.name} (owner of {self.path}), not as root."]


def owner_of(instance: Instance, target: str = "") -> Owner:
    """Return the owner of the data of `instance`, decided once.

    The SQLite file at the URL `target`, and the directory it is to be made in, are data, too.

    What belongs to root does not count, as long as something belongs to another user. Raises
    Refused where several users own the data, ConfigError where the one cannot read the ini file or
    run this Python.
    """
    if os.geteuid() != ROOT:
        return Owner()
    paths = {**configured(instance), "database": sqlite_file(instance.database_url) or ""}
    new = sqlite_file(target) or ""
    found = tuple(filter(None, (*paths.values(), new, os.path.dirname(new))))
    return _decided(instance.path, instance.database_url, found)


@functools.lru_cache(maxsize=None)
def _decided(ini: str, url: str, paths: tuple[str, ...]) -> Owner:
    try:
        found = child.call(foreign_owners, LOOK_SECONDS, ini=ini, url=url, paths=paths)
    except NotMeasured:
        found = _those_that_answer(ini, paths)
    by_uid: dict[int, Found] = {}
    for owner_found in found:
        by_uid.setdefault(owner_found.uid, owner_found)
    if len(by_uid) > 1:
        _refuse_several(list(by_uid.values()))
    if not by_uid:
        return Owner()
    ((uid, only),) = by_uid.items()
    owner = Owner(account_of(uid, only.gid), only.path)
    _require_usable(owner, ini)
    return owner


def _those_that_answer(ini: str, paths: Sequence[str]) -> list[Found]:
    """Look at each path alone: one of the disks does not answer, and nothing is read there."""
    found: list[Found] = []
    for path in paths:
        with contextlib.suppress(NotMeasured):
            found += child.call(foreign_owners, ALONE_SECONDS, ini=ini, url="", paths=(path,))
    return found


def foreign_owners(ini: str, url: str, paths: tuple[str, ...]) -> list[Found]:
    """Return who besides root owns `paths`, and the repositories of the database at `url`.

    Where all of these belong to root, who owns what is above them and above the ini file. For a
    child process, as a disk or a database may hang.
    """
    found = _foreign(ini, paths)
    root = _root(url, found)
    return _foreign(ini, (*paths, root)) if root else found


def _foreign(ini: str, paths: Sequence[str]) -> list[Found]:
    for candidates in (paths, [ini, *ancestors([ini, *paths])]):
        found = [
            Found(uid, gid, path)
            for path in candidates
            for uid, gid in owners(path).items()
            if uid != ROOT
        ]
        if found:
            return found
    return []


def _root(url: str, found: Sequence[Found]) -> str:
    """Return the directory of the repositories, nothing where the database cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError

    if not url or len({owner.uid for owner in found}) > 1:
        return ""
    account = account_of(found[0].uid, found[0].gid) if found else None
    # Nothing can be imported where the owner cannot read this environment, which is said later.
    failures = (TuneError, SQLAlchemyError, OSError, ImportError, futures.TimeoutError)
    with acting_as(account), contextlib.suppress(*failures):
        return futures.ThreadPoolExecutor(1).submit(repositories_root, url).result(QUERY_SECONDS)
    return ""


def _refuse_several(found: Sequence[Found]) -> None:
    lists = ", ".join(f"{owner.path} to {account_of(owner.uid, owner.gid).name}" for owner in found)
    raise Refused(
        f"the data belongs to several users ({lists}) and must not be opened as root; run the "
        "command as the user that Kallithea runs as"
    )


def _require_usable(owner: Owner, ini: str) -> None:
    """Raise ConfigError where the owner cannot read what it takes."""
    assert owner.account
    name = owner.account.name
    with acting_as(owner.account):
        for path, remedy in (
            (ini, "let it read the file"),
            (os.path.realpath(sys.executable), "use an environment that it can read"),
            (os.__file__, "use an environment that it can read"),
            (__file__, "use an environment that it can read"),
        ):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ConfigError(
                    f"{path} cannot be read by {name}, the owner of {owner.path}, as whom root "
                    f"runs this command: {error.strerror}; {remedy}"
                ) from None
