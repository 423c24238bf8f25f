"""The repositories whose pages can be requested: those in which there are files in their places.

git, Mercurial and dulwich open what they find: a FIFO blocks them, a link leads them anywhere.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Iterator, Mapping

from kallithea_tune.app.directories import repositories_root
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.system import child
from kallithea_tune.system.files import Entry, NotAFile, below, entries

# For looking at the files of a few repositories; a disk that hangs takes longer.
CHECK_SECONDS = 8.0
# How many repositories of a kind are looked at until one is usable, each for so many seconds.
CANDIDATES, EACH_SECONDS = 20, 0.3
# What is a link where all is well: locks of Mercurial, and Git's hooks if the admin shares them.
LINKS = frozenset({"lock", "wlock", "hooks"})
_LATEST = (
    "SELECT repo_type, repo_name FROM repositories WHERE repo_state = 'repo_state_created' "
    "ORDER BY private, updated_on DESC"
)


def latest(instance: Instance) -> dict[str, str]:
    """Return the latest changed repository of each type (``hg``, ``git``), public ones first.

    One with a link or something worse in place of a file is passed over. Raises SQLAlchemyError,
    and NotMeasured where the disk does not answer.
    """
    import sqlalchemy

    candidates: dict[str, list[str]] = {}
    with read_only_engine(instance.database_url).connect() as connection:
        for kind, name in connection.execute(sqlalchemy.text(_LATEST)):
            candidates.setdefault(kind, []).append(name)
    if not candidates:
        return {}
    return child.call(
        first_usable,
        CHECK_SECONDS,
        root=repositories_root(instance.database_url),
        candidates={kind: names[:CANDIDATES] for kind, names in candidates.items()},
    )


def outside_groups(instance: Instance) -> int:
    """Return how many repositories are in no group: the front page shows all of them.

    Raises SQLAlchemyError.
    """
    import sqlalchemy

    statement = sqlalchemy.text("SELECT COUNT(*) FROM repositories WHERE group_id IS NULL")
    with read_only_engine(instance.database_url).connect() as connection:
        return int(connection.execute(statement).scalar())


def first_usable(root: str, candidates: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the first of the `candidates` of each kind that consists of files; for a child."""
    found = {}
    for kind, names in candidates.items():
        for name in names:
            end = time.monotonic() + EACH_SECONDS
            if _is_ordinary(kind, os.path.join(root, name), end):
                found[kind] = name
                break
    return found


def _is_ordinary(kind: str, path: str, end: float) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            for item in _files(kind, path, end):
                item.require_unblocking()
                if item.kind == "link" and item.name not in LINKS:
                    return False
        except NotAFile:
            return False
    return True


def require_unblocking(kind: str, path: str, end: float) -> None:
    """Raise NotAFile where a program would wait forever on what should be a file of a repository.

    Of a ``git`` or ``hg`` repository all files but loose objects are looked at, until `end` of the
    monotonic clock. Files that cannot be read are passed over.
    """
    with contextlib.suppress(PermissionError):
        for item in _files(kind, path, end):
            item.require_unblocking(os.path.relpath(item.path, path))


def _files(kind: str, path: str, end: float) -> Iterator[Entry]:
    return _files_of_git(path, end) if kind == "git" else _files_of_hg(path, end)


def _files_of_git(path: str, end: float) -> Iterator[Entry]:
    for directory in ("", "info", "objects/info", "objects/pack"):
        yield from entries(path, directory)
    for directory in ("refs", "logs"):
        yield from below(path, end, directory)


def _files_of_hg(path: str, end: float) -> Iterator[Entry]:
    for directory in ("", "/cache", "/store"):
        yield from entries(path, ".hg" + directory)
    yield from below(path, end, ".hg/store")
