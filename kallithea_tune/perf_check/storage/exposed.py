"""What other users of this host may change, or read, although Kallithea trusts it."""

from __future__ import annotations

import contextlib
import enum
import os
import site
import stat
import sys
import time
from dataclasses import dataclass
from typing import Iterator, Sequence

from kallithea_tune.app.package import package_directory
from kallithea_tune.config.exposure import group_of_people, name_of_user
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.secret_patterns import suspects
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.celery.request_tasks import uses_celery
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.discovery import Kind, discover
from kallithea_tune.perf_check.storage.directories import Directories, directories
from kallithea_tune.system import child, files
from kallithea_tune.system.account import ancestors

# Options that have a password, beside the URL of the database.
PASSWORDS = ("smtp_password", "session.sa.url", "session.url")
CELERY_PASSWORDS = ("celery.broker_url", "celery.result_backend")


REPOSITORIES = "repositories"


class Risk(enum.Enum):
    """What those can do who may write there."""

    code = "run code as Kallithea"
    data = "change its data"


@dataclass(frozen=True)
class Place:
    """A file or directory that only Kallithea may change; `below` if all that is in it, too."""

    name: str
    path: str
    risk: Risk
    below: bool = False

    @property
    def walked(self) -> bool:
        """Whether more than the place itself was looked at."""
        return self.below or self.name == REPOSITORIES


@dataclass(frozen=True)
class Exposed:
    """A place and what others may change of it: `count` of its `entries`.

    These are `outer`, the place itself and directories above it, and more below it. With `group`, a
    group of people may change some. `reachable` says whether others may enter the directories
    above. `owner` is whose it is. `complete` is False where there was no time for all of it.
    """

    place: Place
    owner: str = ""
    entries: int = 0
    count: int = 0
    outer: tuple[str, ...] = ()
    group: bool = False
    reachable: bool = True
    complete: bool = True


@dataclass(frozen=True)
class Exposure:
    """All places, and whether others may read the ini file: `readable` with the `passwords` that
    are in these options. The file is that of `owner`.
    """

    places: tuple[Exposed, ...]
    ini: str
    owner: str = ""
    readable: bool = False
    passwords: tuple[str, ...] = ()

    @property
    def examined(self) -> Examined:
        """The places that were looked at to the end."""
        complete = sum(found.complete for found in self.places)
        return Examined(complete, len(self.places), "places with code or data")


@measurement(seconds=1.5, uses=(directories,))
def exposure(context: Context) -> Exposure:
    """Look at the access rights of the files that Kallithea unpickles, executes or trusts."""
    instance = context.instance
    places = [
        *_own_places(context.measure(directories)),
        *_files_of(instance),
        *_environment(),
    ]
    return child.call(
        survey,
        context.deadline.left + 2,
        places=places,
        ini=instance.path,
        passwords=_passwords(instance),
        within=context.deadline.left,
    )


def _own_places(found: Directories) -> Iterator[Place]:
    """Yield the directories of the settings that exist and answer."""
    for name, directory in found.by_name.items():
        if not directory.usable:
            continue
        # The lock files are empty, and nothing but their locks matters.
        if name in ("sessions", "file cache", "index_dir"):
            yield Place(name, directory.usable, Risk.code, below=True)
        elif name in ("cache_dir", REPOSITORIES):
            yield Place(name, directory.usable, Risk.code)
        elif name in ("database", "archives"):
            yield Place(f"directory of the {name}", directory.usable, Risk.data)


def _files_of(instance: Instance) -> Iterator[Place]:
    """Yield the ini file, whose logging sections are evaluated, what lies beside it and runs, and
    the SQLite file.
    """
    yield Place("ini file", instance.path, Risk.code)
    here = os.path.dirname(instance.path)
    yield Place("directory of the ini file", here, Risk.code)
    for name in ("extensions.py", "rcextensions", "rcextensions/__init__.py", "dispatch.wsgi"):
        yield Place(name, os.path.join(here, name), Risk.code)
    database = sqlite_file(instance.database_url)
    if database:
        yield Place("database", database, Risk.data)


def _environment() -> Iterator[Place]:
    """Yield the directories that Python takes programs and modules from."""
    with contextlib.suppress(NotMeasured):
        yield Place("Kallithea's package", package_directory(), Risk.code)
    for path in (os.path.dirname(sys.executable), *site.getsitepackages()):
        yield Place("Python's environment", path, Risk.code)


def _passwords(instance: Instance) -> list[str]:
    settings = instance.settings
    found = ["sqlalchemy.url"] if suspects(instance.database_url) else []
    for name in PASSWORDS + (CELERY_PASSWORDS if uses_celery(instance) else ()):
        value = settings.get(name, "")
        if value and (name.endswith("password") or suspects(value)):
            found.append(name)
    return found


def survey(places: list[Place], ini: str, passwords: list[str], within: float) -> Exposure:
    """Look at all places within so many seconds; for a child, since a disk may hang."""
    end = time.monotonic() + within
    found = []
    # Single files take no time, and shall not wait for what is walked through.
    for number, place in enumerate(sorted(places, key=lambda place: place.walked)):
        share = (end - time.monotonic()) / (len(places) - number)
        with contextlib.suppress(OSError):
            found.append(_examine(place, time.monotonic() + share))
    status = os.stat(ini)
    readable = bool(status.st_mode & stat.S_IROTH) and _enterable(os.path.dirname(ini))
    owner = name_of_user(status.st_uid)
    return Exposure(tuple(found), ini, owner, readable, tuple(passwords))


def _examine(place: Place, end: float) -> Exposed:
    status = os.stat(place.path)
    entries = count = 0
    outer: list[str] = []
    group = False
    for path, found in _entries(place, status, end):
        entries += 1
        if writable(found):
            count += 1
            group |= not found.st_mode & stat.S_IWOTH
            if not path.startswith(place.path + os.sep):
                outer.append(path)
        if entries % 200 == 0 and time.monotonic() > end:
            break
    return Exposed(
        place,
        name_of_user(status.st_uid),
        entries,
        count,
        tuple(outer),
        group,
        _enterable(os.path.dirname(place.path)),
        # The search for repositories stops there, too.
        not place.walked or time.monotonic() <= end,
    )


def _entries(
    place: Place, status: os.stat_result, end: float
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the place, the directories above it and what is in it, as far as it matters.

    Who may write in a directory above, without the sticky bit, may put another in its place.
    """
    yield place.path, status
    for path in ancestors([place.path]):
        above = os.stat(path)
        if not above.st_mode & stat.S_ISVTX:
            yield path, above
    if place.below:
        yield from _below(place.path)
    elif place.walked:
        yield from _hooks(place.path, end)


def _below(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the directories and files below, but nothing below what others may not enter."""
    waiting = [directory]
    while waiting:
        for entry in files.entries(waiting.pop()):
            if entry.is_directory and _enters(entry.status):
                waiting.append(entry.path)
            if entry.is_directory or entry.is_file:
                yield entry.path, entry.status


def _hooks(root: str, end: float) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the directory of each repository, and the configuration and hooks that run there."""
    for name, kind in discover(root, end).kinds.items():
        inside = [".hg", ".hg/hgrc"] if kind is Kind.hg else ["config", "hooks"]
        for item in ("", *inside):
            found = files.entry(root, os.path.join(name, item).rstrip("/"))
            if found and (found.is_file or found.is_directory):
                yield found.path, found.status
        if kind is Kind.git:
            with contextlib.suppress(OSError, files.NotAFile):
                for hook in files.entries(root, os.path.join(name, "hooks")):
                    if hook.is_file:
                        yield hook.path, hook.status


def writable(status: os.stat_result) -> bool:
    """Whether everybody, or a group of people, may write there."""
    mode = status.st_mode
    return bool(mode & stat.S_IWOTH or (mode & stat.S_IWGRP and group_of_people(status.st_gid)))


def _enters(status: os.stat_result) -> bool:
    mode = status.st_mode
    return bool(mode & stat.S_IXOTH or (mode & stat.S_IXGRP and group_of_people(status.st_gid)))


def _enterable(directory: str) -> bool:
    """Whether others may enter `directory` and all above it."""
    paths: Sequence[str] = [directory, *ancestors([directory])]
    return all(_enters(os.stat(path)) for path in paths)
