"""Surveys all repositories by reading their files: nothing is written or locked, no command run,
and the time is bounded.
"""

from __future__ import annotations

import datetime
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.failures import failure_reason
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories import git, mercurial
from kallithea_tune.perf_check.repositories.discovery import (
    Kind,
    Removed,
    Walk,
    discover,
    kind_of,
    removed,
)
from kallithea_tune.perf_check.repositories.git import GitRepository, Setting
from kallithea_tune.perf_check.repositories.mercurial import HgRepository
from kallithea_tune.perf_check.repositories.root import root_in_database
from kallithea_tune.system import child
from kallithea_tune.system.files import Broken, NotAFile
from kallithea_tune.text import shell_word

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

SURVEY_SECONDS = 2.0
# How many entries of the journal are looked at.
JOURNAL_ROWS = 5000
_NAMES = {Kind.git: "Git", Kind.hg: "Mercurial"}


@dataclass(frozen=True)
class FailedRepository:
    """A repository that could not be examined, and why.

    It `blocks` who reads it where something else than a file takes the place of one.
    """

    name: str
    kind: Kind
    reason: str
    blocks: bool = False


@dataclass(frozen=True)
class Ahead:
    """How many of the newest entries of the journal are dated ahead, and the most by which."""

    entries: int = 0
    days: float = 0.0


@dataclass(frozen=True)
class Survey:
    """The repositories below `root`, and those that the database has.

    `git`, `hg`, `broken`, `unreadable` and `linked` (with a link in place of a file, which is not
    followed) are those that were examined, the largest first if `largest_first`, out of `git_total`
    and `hg_total`; `missing` those that only the database has, `unregistered` those that only the
    disk has. `hooks` and `storage` are the active rows of these sections of the table ``ui``.
    `all_found` tells whether there was time to enter every directory, `rust` whether Mercurial has
    its Rust extensions. `git_settings` are those for all repositories that say when gc starts.
    `ahead` are entries of the journal.
    """

    root: str
    git_total: int
    hg_total: int
    registered: int
    git: tuple[GitRepository, ...] = ()
    hg: tuple[HgRepository, ...] = ()
    broken: tuple[FailedRepository, ...] = ()
    unreadable: tuple[FailedRepository, ...] = ()
    linked: tuple[FailedRepository, ...] = ()
    missing: tuple[str, ...] = ()
    unregistered: tuple[str, ...] = ()
    work_trees: tuple[str, ...] = ()
    removed: Removed = Removed()
    hooks: Mapping[str, str] = field(default_factory=dict)
    storage: Mapping[str, str] = field(default_factory=dict)
    all_found: bool = True
    largest_first: bool = True
    rust: bool = False
    git_settings: tuple[Setting, ...] = ()
    ahead: Ahead = Ahead()

    @property
    def examined(self) -> Examined:
        """How many of all repositories were examined."""
        count = sum(self.examined_of(kind).count for kind in (Kind.git, Kind.hg))
        least = 0 if self.all_found else self.registered
        return Examined(count, max(self.git_total + self.hg_total, least), "repository")

    @property
    def sizes(self) -> Mapping[str, int]:
        """The bytes of each repository that could be examined."""
        return {
            **{repository.name: repository.bytes for repository in self.git},
            **{repository.name: repository.bytes for repository in self.hg},
        }

    def examined_of(self, kind: Kind) -> Examined:
        """How many of the repositories of one kind were examined.

        Those that only the database has may be of this kind where there was no time to find all.
        """
        readable = len(self.git if kind is Kind.git else self.hg)
        failed = sum(item.kind is kind for item in (*self.broken, *self.unreadable, *self.linked))
        total, other = self.git_total, self.hg_total
        if kind is Kind.hg:
            total, other = other, total
        least = 0 if self.all_found else self.registered - other
        return Examined(readable + failed, max(total, least), f"{_NAMES[kind]} repository")

    def sample(self, kind: Optional[Kind] = None) -> Mapping[str, object]:
        """The entry of the evidence: ``{"repositories": "12 of 10000, largest first"}``."""
        examined = self.examined_of(kind) if kind else self.examined
        if examined.complete:
            return {"repositories": examined.total}
        order = ", largest first" if self.largest_first else ""
        return {"repositories": f"{examined.count} of {examined.total}{order}"}

    def path(self, name: str) -> str:
        """Return the path of a repository."""
        return os.path.join(self.root, name)

    def quoted_path(self, name: str) -> str:
        """Return the path of a repository as the shell takes it."""
        return shell_word(self.path(name))


class GitSurvey(Survey):
    """The survey for checks that judge Git repositories alone."""

    @property
    def examined(self) -> Examined:
        """How many of the Git repositories were examined."""
        return self.examined_of(Kind.git)


class HgSurvey(Survey):
    """The survey for checks that judge Mercurial repositories alone."""

    @property
    def examined(self) -> Examined:
        """How many of the Mercurial repositories were examined."""
        return self.examined_of(Kind.hg)


@measurement(seconds=SURVEY_SECONDS, needs=("database",), decided_by=("sqlalchemy.*",))
def survey(context: Context) -> Survey:
    """Find and examine the repositories, for `SURVEY_SECONDS` at most."""
    seconds = max(0.3, min(SURVEY_SECONDS, context.deadline.left - 0.3))
    return survey_within(context.instance, seconds)


@measurement(uses=(survey,))
def git_survey(context: Context) -> GitSurvey:
    """Return the survey, of which the Git repositories count."""
    return GitSurvey(**vars(context.measure(survey)))


@measurement(uses=(survey,))
def hg_survey(context: Context) -> HgSurvey:
    """Return the survey, of which the Mercurial repositories count."""
    return HgSurvey(**vars(context.measure(survey)))


def survey_within(instance: Instance, seconds: float) -> Survey:
    """Survey the repositories of `instance` in a child process within about `seconds`.

    Raises NotMeasured when the database does not contain their root, or a file system hangs.
    """
    read_only_engine(instance.database_url)
    return child.call(survey_here, seconds + 8, url=instance.database_url, within=seconds)


def survey_here(url: str, within: float) -> Survey:
    """Survey the repositories that the database at `url` has, in this process; for a child.

    At most a third of the time goes into finding them, at most half until they are ordered. Imports
    and the query do not count.
    """
    known = read_database(url)
    started = time.monotonic()
    end = started + within
    if not os.path.isdir(known.root):
        raise NotMeasured(f"the repositories' directory {known.root} does not exist")
    walk = discover(known.root, started + within / 3)
    kinds = {**walk.kinds, **_not_found(known, walk)}
    has_hg = Kind.hg in kinds.values()
    names, ordered = _largest_first(known.root, kinds, started + within / 2)
    loading = time.monotonic()
    requirements = mercurial.supported() if has_hg else None
    # A busy machine may need all the time for importing Mercurial.
    end += time.monotonic() - loading
    results = Results(known.root, end, requirements)
    for name in names:
        if time.monotonic() > end:
            break
        results.examine(name, kinds[name])
    return Survey(
        root=known.root,
        git_total=list(kinds.values()).count(Kind.git),
        hg_total=list(kinds.values()).count(Kind.hg),
        registered=len(known.repositories),
        git=tuple(results.git),
        hg=tuple(results.hg),
        broken=tuple(results.broken),
        unreadable=tuple(results.unreadable),
        linked=tuple(results.linked),
        missing=tuple(sorted(set(known.repositories) - set(kinds))),
        unregistered=tuple(sorted(set(walk.kinds) - set(known.repositories))),
        work_trees=tuple(sorted(walk.work_trees)),
        removed=removed(walk.removed, end + 0.2),
        hooks=known.hooks,
        storage=known.storage,
        ahead=known.ahead,
        all_found=walk.complete,
        largest_first=ordered,
        rust=has_hg and mercurial.has_rust(),
        git_settings=git.shared_settings(os.path.expanduser("~")),
    )


@dataclass
class Results:
    """Examines repositories and sorts them by the outcome: one that fails does not keep the others
    from being examined.
    """

    root: str
    end: float
    requirements: Optional[Sequence[str]]
    git: list[GitRepository] = field(default_factory=list)
    hg: list[HgRepository] = field(default_factory=list)
    broken: list[FailedRepository] = field(default_factory=list)
    unreadable: list[FailedRepository] = field(default_factory=list)
    linked: list[FailedRepository] = field(default_factory=list)

    def examine(self, name: str, kind: Kind) -> None:
        """Read the files of a repository, and add it to where it belongs."""
        path = os.path.join(self.root, name)
        try:
            if kind_of(path) is not kind:
                raise Broken(f"there is no {kind.name} repository in its directory")
            if kind is Kind.git:
                self.git.append(git.examine(name, path, self.end))
            else:
                self.hg.append(mercurial.examine(name, path, self.end, self.requirements))
        except Broken as error:
            special = error.kind if isinstance(error, NotAFile) else ""
            link = special == "link"
            failed = FailedRepository(name, kind, str(error), blocks=bool(special) and not link)
            (self.linked if link else self.broken).append(failed)
        except OSError as error:
            failed = FailedRepository(name, kind, f"{error.filename}: {error.strerror}")
            denied = isinstance(error, PermissionError)
            (self.unreadable if denied else self.broken).append(failed)


@dataclass(frozen=True)
class DatabaseContent:
    """The repositories according to the database: root, names with their kinds, and the active
    settings of Mercurial in the sections ``hooks`` and ``storage``.
    """

    root: str
    repositories: Mapping[str, Kind]
    hooks: Mapping[str, str]
    storage: Mapping[str, str]
    ahead: Ahead = Ahead()


def read_database(url: str) -> DatabaseContent:
    """Read the rows about repositories from the database at `url`; raises NotMeasured where it
    cannot be read.
    """
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    root = root_in_database(url)
    settings = sqlalchemy.text(
        "SELECT ui_section, ui_key, ui_value, ui_active FROM ui "
        "WHERE ui_section IN ('hooks', 'storage')"
    )
    repositories = sqlalchemy.text(
        "SELECT repo_name, repo_type FROM repositories "
        "WHERE repo_state = 'repo_state_created' AND repo_type IN ('git', 'hg')"
    )
    try:
        with read_only_engine(url).connect() as connection:
            kinds = {name: Kind[kind] for name, kind in connection.execute(repositories)}
            sections: dict[str, dict[str, str]] = {"hooks": {}, "storage": {}}
            for section, key, value, active in connection.execute(settings):
                if active:
                    sections[section][key] = value or ""
            ahead = _ahead(connection)
    except SQLAlchemyError as error:
        raise NotMeasured(f"the repositories are unknown: {failure_reason(error, url)}") from None
    return DatabaseContent(root, kinds, sections["hooks"], sections["storage"], ahead)


def _ahead(connection: Connection) -> Ahead:
    """Look for dates ahead in the newest rows of the journal."""
    import sqlalchemy

    statement = sqlalchemy.text(
        "SELECT count(*) AS entries, max(action_date) AS latest FROM (SELECT action_date FROM "
        f"user_logs ORDER BY user_log_id DESC LIMIT {JOURNAL_ROWS}) AS newest "
        "WHERE action_date > :tomorrow"
    ).columns(entries=sqlalchemy.Integer, latest=sqlalchemy.DateTime)
    # Kallithea writes the local time, without a zone; a day covers all zones.
    now = datetime.datetime.now()
    tomorrow = sqlalchemy.bindparam(
        "tomorrow", now + datetime.timedelta(days=1), sqlalchemy.DateTime
    )
    entries, latest = connection.execute(statement.bindparams(tomorrow)).fetchone()
    return Ahead(entries, (latest - now).total_seconds() / 86400) if entries else Ahead()


def _not_found(known: DatabaseContent, walk: Walk) -> dict[str, Kind]:
    """Return the repositories of the database that exist although the walk did not find them."""
    return {
        name: kind
        for name, kind in known.repositories.items()
        if name not in walk.kinds and os.path.lexists(os.path.join(known.root, name))
    }


def _largest_first(root: str, kinds: Mapping[str, Kind], end: float) -> tuple[list[str], bool]:
    """Return the names ordered by a hint at their size, and whether there was time for all
    hints.
    """
    hints = {}
    for name, kind in kinds.items():
        if time.monotonic() > end:
            break
        try:
            size_hint = git.size_hint if kind is Kind.git else mercurial.size_hint
            hints[name] = size_hint(os.path.join(root, name))
        except (OSError, NotAFile):
            hints[name] = 0
    return sorted(kinds, key=lambda name: (-hints.get(name, -1), name)), len(hints) == len(kinds)
