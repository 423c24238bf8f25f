"""Acts as the owner of data: root follows and reads everything, also what a stranger planted."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

ROOT = 0


@dataclass(frozen=True)
class Account:
    """A user to act as: the groups include `gid`; without an entry in passwd, `name` is `uid`."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str = os.devnull

    @property
    def shown(self) -> str:
        """The name as ``sudo -u`` takes it, as in ``kallithea`` and ``#1003``."""
        return f"#{self.uid}" if self.name == str(self.uid) else self.name


def account_of(uid: int, gid: int) -> Account:
    """Return the account of `uid`; `gid` is that of its data, for a user without a passwd entry.

    Such a user never gets root's group, by which files of root could be read.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        own = gid if gid != ROOT else uid
        return Account(str(uid), uid, own, (own,))
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Account(entry.pw_name, uid, entry.pw_gid, tuple(sorted(groups)), entry.pw_dir)


def owners(path: str) -> dict[int, int]:
    """Return the owners of `path` with their groups: of a link, and of what it leads to."""
    found = {}
    for look in (os.lstat, os.stat):
        with contextlib.suppress(OSError):
            status = look(path)
            found[status.st_uid] = status.st_gid
    return found


def owner_name(path: str) -> str:
    """Return as whom a command runs that writes to `path`; nothing where that is who we are.

    That is the name of its owner, or ``#`` and the number of one without a name; of what is not
    there yet, who owns the directory that is to hold it.
    """
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.stat(path)
    if os.getuid() == os.geteuid() == status.st_uid:
        return ""
    return account_of(status.st_uid, status.st_gid).shown


def ancestors(paths: Sequence[str]) -> list[str]:
    """Return the directories above `paths` and above what they lead to: who owns one of them can
    put something else in place of what is below.
    """
    found: dict[str, None] = {}
    for path in [*paths, *map(os.path.realpath, paths)]:
        while path != os.path.dirname(path):
            path = os.path.dirname(path)
            found[path] = None
    return list(found)


@contextlib.contextmanager
def acting_as(account: Optional[Account]) -> Iterator[None]:
    """Inside, be `account`: this process, all of its threads, and the children it starts.

    Only the effective ids and the groups change, so that root can be restored at the end; a child
    gives root up for good. Does nothing with None, and for any other user than root.
    """
    if account is None or os.geteuid() != ROOT:
        yield
        return
    groups, gid, home = os.getgroups(), os.getegid(), os.environ.get("HOME")
    try:
        os.setgroups(account.groups)
        os.setegid(account.gid)
        os.seteuid(account.uid)
        _set_home(account.home)
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(gid)
        os.setgroups(groups)
        _set_home(home)


@contextlib.contextmanager
def as_invoker() -> Iterator[None]:
    """Inside `acting_as`, be root again: to write what the user who runs the command asked for.

    Nothing else may run in another thread meanwhile, as that would be root, too.
    """
    if os.getuid() != ROOT or os.geteuid() == ROOT:
        yield
        return
    uid, gid = os.geteuid(), os.getegid()
    try:
        os.seteuid(ROOT)
        os.setegid(os.getgid())
        yield
    finally:
        os.setegid(gid)
        os.seteuid(uid)


def _set_home(path: Optional[str]) -> None:
    """Let libraries look for the files of a user where this one has them, and choose another
    directory for temporary files where that is not theirs.
    """
    if path is None:
        os.environ.pop("HOME", None)
    else:
        os.environ["HOME"] = path
    tempfile.tempdir = None
