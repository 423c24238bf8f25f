"""As whom the data of an instance is opened, and its application loaded, when root runs a command.

That is the owner of the data, as whom Kallithea runs, too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
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

# For the one query.
QUERY_SECONDS = 5.0


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
    first = _only_owner(ini, paths)
    if first.account:
        _require_usable(first, ini)
    root = _root(url, first)
    owner = _only_owner(ini, (*paths, root)) if root else first
    if owner.account and owner != first:
        _require_usable(owner, ini)
    return owner


def _only_owner(ini: str, paths: Sequence[str]) -> Owner:
    """Return the owner of `paths`, or of what is above them where all that exists is root's."""
    for candidates in (paths, [ini, *ancestors([ini, *paths])]):
        found: dict[int, Owner] = {}
        for path in candidates:
            for uid, gid in owners(path).items():
                if uid != ROOT:
                    found.setdefault(uid, Owner(account_of(uid, gid), path))
        if len(found) > 1:
            _refuse_several(list(found.values()))
        if found:
            return next(iter(found.values()))
    return Owner()


def _refuse_several(found: Sequence[Owner]) -> None:
    lists = ", ".join(f"{owner.path} to {owner.account.name}" for owner in found if owner.account)
    raise Refused(
        f"the data belongs to several users ({lists}), and root must not open it as root; run the "
        "command as the user that Kallithea runs as"
    )


def _root(url: str, owner: Owner) -> str:
    """Return the directory of the repositories, nothing where the database cannot be used."""
    from sqlalchemy.exc import SQLAlchemyError

    with acting_as(owner.account), contextlib.suppress(NotMeasured, TuneError, SQLAlchemyError):
        if url:
            return child.call(repositories_root, QUERY_SECONDS, url=url)
    return ""


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
                    f"{path} cannot be read by {name}, who owns {owner.path} and as whom root runs "
                    f"this: {error.strerror}; {remedy}"
                ) from None
