"""What processes that were killed left in repositories: locks that refuse pushes, and files that
take space.
"""

from __future__ import annotations

import enum
import os
import socket
import time
from dataclasses import dataclass
from typing import Iterator, NamedTuple, Optional, Sequence

from kallithea_tune.perf_check import commands
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, Remedy, Steps
from kallithea_tune.perf_check.repositories.discovery import Kind
from kallithea_tune.perf_check.repositories.leftovers import (
    ABORTED_S,
    BACKUP,
    TEMPORARY,
    LockFile,
)
from kallithea_tune.perf_check.repositories.survey import Survey, survey
from kallithea_tune.system.occupied import occupants, running
from kallithea_tune.text import first_of, megabytes

# hg help config.ui, timeout: after so many seconds Mercurial refuses a push that waits for a lock.
# git refuses at once, but removes its locks within seconds.
LOCK_S = 600
MB = 1e6
ABORTED_MB, MANY_MB = 100, 1000
# How many repositories a remedy covers at most.
COVERED = 50
# Without these of git's locks pushes fail. An index is not used in a bare repository.
_REFS = ("HEAD.lock", "refs/")
_UNUSED = "index.lock"
# A process that started later than this after a lock was made did not make it.
_SLACK_S = 60


class Holder(enum.Enum):
    """Who has a lock: a running process, nobody, or a process of another machine or container, of
    which nothing is known.
    """

    process = "process"
    nobody = "nobody"
    elsewhere = "elsewhere"


class Owner(NamedTuple):
    """The holder of a lock; `text` is its command, or the name of the other machine."""

    holder: Holder
    process: int = 0
    text: str = ""


@dataclass(frozen=True)
class Lock:
    """A lock older than `LOCK_S`: its path, complete and inside the repository, and its age.

    With a `journal` a transaction of Mercurial was interrupted.
    """

    repository: str
    kind: Kind
    path: str
    name: str
    age_s: float
    owner: Owner
    journal: bool = False

    @property
    def refuses_pushes(self) -> bool:
        """Whether pushes fail as long as it exists: each of Mercurial's, and git's of refs."""
        return self.kind is Kind.hg or self.name.startswith(_REFS)


@dataclass(frozen=True)
class Locks:
    """The old locks of the repositories `examined`, which are below the directory `root`."""

    locks: tuple[Lock, ...]
    root: str
    examined: Examined


@measurement(seconds=0.2, needs=("database",), uses=(survey,))
def locks(context: Context) -> Locks:
    """Find out who has the locks of repositories that are older than `LOCK_S`."""
    surveyed, now = context.measure(survey), time.time()
    old = [
        (repository.name, kind, file)
        for kind, repositories in ((Kind.git, surveyed.git), (Kind.hg, surveyed.hg))
        for repository in repositories
        for file in repository.leftovers.locks
        # One that is ahead was made while the clock was wrong.
        if abs(now - file.made) > LOCK_S and os.path.basename(file.path) != _UNUSED
    ]
    working = occupants({surveyed.path(name) for name, kind, _ in old if kind is Kind.git}, "git")
    found = []
    for name, kind, file in old:
        path = surveyed.path(name)
        owner = _owner_of(file) if kind is Kind.hg else _user_of(working.get(path))
        if owner:
            inside = os.path.relpath(file.path, path)
            age = abs(now - file.made)
            found.append(Lock(name, kind, file.path, inside, age, owner, file.journal))
    return Locks(tuple(found), surveyed.root, surveyed.examined)


def _user_of(number: Optional[int]) -> Owner:
    process = running(number) if number else None
    if process is None:
        return Owner(Holder.nobody)
    return Owner(Holder.process, process.number, process.command)


def _owner_of(lock: LockFile) -> Optional[Owner]:
    """Return who has a lock of Mercurial, None where it will remove it itself: when its process ran
    on this machine and has ended (mercurial/lock.py).
    """
    made_by = lock.owner
    if made_by is None:
        return Owner(Holder.nobody)
    if made_by.host != socket.gethostname() or made_by.namespace != _namespace():
        return Owner(Holder.elsewhere, made_by.process, made_by.host)
    process = running(made_by.process)
    if process is None:
        return None
    # Mercurial goes by the number alone, which another process may have by now.
    later = process.started > lock.made + _SLACK_S
    return Owner(Holder.nobody if later else Holder.process, process.number, process.command)


def _namespace() -> str:
    return f"{os.stat('/proc/self/ns/pid').st_ino:x}"


@check(
    "REPO005",
    "repositories-locks",
    "Locks of repositories",
    measures=(locks,),
    threshold=f"{LOCK_S // 60} minutes",
    source="hg help config.ui, timeout: a push waits that long",
    tags=("probe", "git", "hg"),
    harm=Harm.access,
)
def left_locks(measured: Locks) -> Iterator[Finding]:
    """Judge locks that are older than a push waits for them, by who has them and what they keep
    from working.
    """
    by_process = [lock for lock in measured.locks if lock.owner.holder is Holder.process]
    left = [lock for lock in measured.locks if lock.owner.holder is not Holder.process]
    for kind, subject in ((Kind.git, "refs"), (Kind.hg, "pushes")):
        refusing = [lock for lock in left if lock.kind is kind and lock.refuses_pushes]
        if refusing:
            yield _refused(refusing, subject)
    others = [lock for lock in left if not lock.refuses_pushes]
    if others:
        yield Finding(
            Severity.warning,
            f"git gc fails in {_repositories(others)}: {_left(others)}",
            "git gc",
            _evidence(others),
            remedy=_removal(others),
        )
    if by_process:
        oldest = max(by_process, key=lambda lock: lock.age_s)
        yield Finding(
            Severity.warning,
            f"process {oldest.owner.process} has locked {oldest.repository} for "
            f"{duration(oldest.age_s)}",
            "at work",
            {**_evidence(by_process), "command": oldest.owner.text},
            remedy=f"see what it does: ps -fp {oldest.owner.process}; if it hangs, end it",
        )
    if not measured.locks:
        yield Finding(Severity.ok, f"no lock is older than {LOCK_S // 60} minutes")


def _refused(refusing: Sequence[Lock], subject: str) -> Finding:
    elsewhere = [lock for lock in refusing if lock.owner.holder is Holder.elsewhere]
    return Finding(
        Severity.error,
        f"{_repositories(refusing)} refuses pushes: {_left(refusing)}",
        subject,
        _evidence(refusing),
        remedy=_removal(refusing),
        # Its process cannot be looked for from here.
        confidence="medium" if elsewhere else "high",
    )


def _repositories(found: Sequence[Lock]) -> str:
    return first_of(list(dict.fromkeys(lock.repository for lock in found)), 1)


def _left(found: Sequence[Lock]) -> str:
    """Say what locks there are, the oldest first."""
    oldest = max(found, key=lambda lock: lock.age_s)
    more = f" (of {len(found)} locks)" if len(found) > 1 else ""
    if oldest.owner.holder is Holder.elsewhere:
        return f"locked for {duration(oldest.age_s)} by {oldest.owner.text}{more}"
    return f"{oldest.name} is {duration(oldest.age_s)} old{more}"


def _evidence(found: Sequence[Lock]) -> dict[str, object]:
    oldest = max(found, key=lambda lock: lock.age_s)
    evidence: dict[str, object] = {
        "locks": [f"{lock.repository}/{lock.name}" for lock in found[:COVERED]],
        "age_days": oldest.age_s / 86400,
    }
    if oldest.owner.process:
        evidence["process"] = oldest.owner.process
    return evidence


def _removal(found: Sequence[Lock]) -> Remedy:
    """Remove the locks: they hold no data, but protect what their owner was doing."""
    covered = found[:COVERED]
    hosts = {lock.owner.text for lock in covered if lock.owner.holder is Holder.elsewhere}
    note = f"if no hg runs on {first_of(sorted(hosts))} any more" if hosts else ""
    remove = Command(("rm", "-f", "--", *(lock.path for lock in covered)), note=note)
    interrupted = dict.fromkeys(lock.repository for lock in covered if lock.journal)
    if not interrupted:
        return remove
    paths = {
        lock.repository: lock.path[: -len(lock.name)].rstrip("/")
        for lock in covered
        if lock.name.startswith(".hg/")
    }
    recoveries = [commands.hg(paths[name], "recover") for name in interrupted if name in paths]
    return Steps((remove, *recoveries))


def duration(seconds: float) -> str:
    """Write a time as an admin says it: ``5 days``, ``1 hour``, ``12 minutes``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "a minute"


@check(
    "REPO006",
    "repositories-leftovers",
    "Leftovers of aborted pushes and upgrades",
    measures=(survey,),
    threshold=f"{ABORTED_MB} MB older than a day",
    source="our judgement",
    tags=("probe", "git", "hg"),
    harm=Harm.housekeeping,
)
def left_files(surveyed: Survey) -> Iterator[Finding]:
    """Judge the space that packs of aborted pushes and old stores take."""
    packs = {item.name: item.leftovers.aborted for item in surveyed.git}
    stores = {item.name: item.leftovers.aborted for item in surveyed.hg}
    small = True
    for kind, found, what in (
        (Kind.git, packs, "files of pushes that were aborted"),
        (Kind.hg, stores, "files of stores from before an upgrade"),
    ):
        largest = sorted(found, key=lambda name: (-found[name].bytes, name))
        names = [name for name in largest if found[name].count]
        total = sum(found[name].bytes for name in names)
        if total < ABORTED_MB * MB:
            continue
        small = False
        count = sum(found[name].count for name in names)
        yield Finding(
            Severity.warning if total >= MANY_MB * MB else Severity.advice,
            f"{megabytes(total)} in {count:,} {what}: {first_of(names, 1)}",
            kind.value,
            {
                **surveyed.sample(kind),
                "leftover_mb": total / MB,
                "files": count,
                "oldest_days": max(found[name].age_s for name in names) / 86400,
            },
            remedy=_deletion(surveyed, kind, names),
        )
    if small:
        yield Finding(
            Severity.ok,
            "aborted pushes and upgrades left little behind",
            evidence={
                **surveyed.sample(),
                "leftover_mb": sum(item.bytes for item in (*packs.values(), *stores.values())) / MB,
            },
        )


def _deletion(surveyed: Survey, kind: Kind, names: Sequence[str]) -> Command:
    """Delete by name and age: git prune would delete the objects of no ref as well, and leaves the
    files that begin with a dot and the directories of older versions of git.
    """
    inside = "objects" if kind is Kind.git else ".hg"
    depth = "2" if kind is Kind.git else "1"
    patterns = TEMPORARY if kind is Kind.git else (BACKUP,)
    places = [os.path.join(surveyed.path(name), inside) for name in names[:COVERED]]
    by_name = [word for pattern in patterns for word in ("-o", "-name", pattern)][1:]
    minutes = str(ABORTED_S // 60)
    words = ("find", *places, "-mindepth", "1", "-maxdepth", depth, "(", *by_name, ")")
    action = ("-mmin", f"+{minutes}", "-prune", "-exec", "rm", "-rf", "--", "{}", "+")
    return Command((*words, *action), effect=Effect.deletes)
