"""Reads the state of Kallithea's full-text index from its files, and the pushes since from the
journal.

The index itself is not opened: Whoosh unpickles its table of contents.
"""

from __future__ import annotations

import datetime
import re
import time
from dataclasses import dataclass
from typing import Container, Optional

from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child
from kallithea_tune.system.files import NotAFile, entries, text

# kallithea/lib/indexers/__init__.py: file contents and paths, changesets.
NAMES = ("HG_INDEX", "CHGSET_INDEX")
LOCK = "make_index.lock"
ROWS = 5000


@dataclass(frozen=True)
class Index:
    """One of the two indexes of `NAMES`: when it was last written (seconds since 1970), and its
    number of segments.
    """

    name: str
    built: float
    segments: int


@dataclass(frozen=True)
class Lock:
    """The lock file of index-create as Kallithea reads it: the number of a process, and its command
    line, None when it has ended.
    """

    process: int
    command: Optional[str]


@dataclass(frozen=True)
class SearchIndex:
    """The files in the directory of the index, at the time `now` (seconds since 1970)."""

    directory: str
    now: float
    indexes: tuple[Index, ...] = ()
    bytes: int = 0
    lock: Optional[Lock] = None

    @property
    def examined(self) -> Examined:
        """The indexes that exist."""
        return Examined(len(self.indexes), len(self.indexes), "index")

    @property
    def built(self) -> float:
        """When the newest index was last written, 0 where there is none."""
        return max((index.built for index in self.indexes), default=0.0)


@measurement(seconds=0.2)
def search_index(context: Context) -> SearchIndex:
    """Read the directory ``index_dir``; raises NotMeasured where that is not set."""
    directory = context.instance.directory("index_dir")
    if not directory:
        raise NotMeasured("index_dir is not set")
    return child.call(read_index, 10, directory=directory)


def read_index(directory: str) -> SearchIndex:
    """Read the index in `directory`; for a child process."""
    files = {entry.name: entry for entry in entries(directory)}
    indexes = []
    for name in NAMES:
        tables = [
            files[file].status.st_mtime for file in files if re.match(rf"_{name}_\d+\.toc$", file)
        ]
        if tables:
            segments = sum(file.startswith(name + "_") and file.endswith(".seg") for file in files)
            indexes.append(Index(name, max(tables), segments))
    total = sum(entry.status.st_size for entry in files.values())
    return SearchIndex(directory, time.time(), tuple(indexes), total, _read_lock(directory, files))


def _read_lock(directory: str, names: Container[str]) -> Optional[Lock]:
    if LOCK not in names:
        return None
    try:
        content = text(directory, LOCK, 100).split("\n", 1)[0].strip()
    except NotAFile as error:
        raise NotMeasured(f"in {directory}, {error}") from None
    # Kallithea reads an empty file as -1 (kallithea/lib/pidlock.py).
    process = int(content) if content.isdigit() else -1
    return Lock(process, command_of(process) if process > 0 else None)


def command_of(process: int) -> Optional[str]:
    """Return the command line of a process, None when there is none of that number."""
    import psutil

    try:
        return " ".join(psutil.Process(process).cmdline())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error as error:
        raise NotMeasured(
            f"the command of process {process} cannot be read: {type(error).__name__}"
        ) from None


@dataclass(frozen=True)
class RecentPushes:
    """The pushes of changesets since the index was written, to how many repositories, and when the
    first was (seconds since 1970), None without any.
    """

    pushes: int = 0
    repositories: int = 0
    first: Optional[float] = None

    @property
    def examined(self) -> Examined:
        """The pushes that were counted."""
        return Examined(self.pushes, self.pushes, "push")


@measurement(seconds=0.3, needs=("database",), uses=(search_index,))
def recent_pushes(context: Context) -> RecentPushes:
    """Count the pushes that the journal has since the index was written, none without an index.

    Raises NotMeasured when the database cannot be used.
    """
    index = context.measure(search_index)
    if not index.indexes:
        return RecentPushes()
    try:
        read_only_engine(context.instance.database_url)
        url = context.instance.database_url
        return child.call(pushes_since, context.deadline.left + 8, url=url, since=index.built)
    except (NotMeasured, TuneError):
        raise NotMeasured(
            "the pushes since then are in the database, which cannot be used: see DB000"
        ) from None


def pushes_since(url: str, since: float) -> RecentPushes:
    """Count the pushes of changesets after the time `since`, in the newest `ROWS` rows of the
    journal; for a child process.
    """
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    statement = sqlalchemy.text(
        "SELECT substr(action, 1, 40) AS action, action_date, repository_name FROM user_logs "
        f"ORDER BY user_log_id DESC LIMIT {ROWS}"
    ).columns(
        action=sqlalchemy.String, action_date=sqlalchemy.DateTime, repository_name=sqlalchemy.String
    )
    try:
        with read_only_engine(url).connect() as connection:
            rows = connection.execute(statement).fetchall()
    except SQLAlchemyError as error:
        raise NotMeasured(failure_reason(error, url)) from None
    # Kallithea writes the local time, without a zone (kallithea/model/userlog.py).
    begin = datetime.datetime.fromtimestamp(since)
    pushed = [
        (date, name) for action, date, name in rows if date > begin and _adds_changesets(action)
    ]
    return RecentPushes(
        pushes=len(pushed),
        repositories=len({name for _, name in pushed}),
        first=min(date for date, _ in pushed).timestamp() if pushed else None,
    )


def _adds_changesets(action: str) -> bool:
    kind, _, revisions = action.partition(":")
    return kind.startswith("push") and not revisions.startswith(("tag=>", "delete_branch=>"))
