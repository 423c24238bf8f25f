"""Whether locks on the storage exclude, and what is changed there is seen at once."""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, TypeVar

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.scaling.contention import LEAST_SECTIONS, Contest, Mechanism
from kallithea_tune.perf_check.scaling.hosts import Runnings, running
from kallithea_tune.perf_check.scaling.storage_locks import (
    Delays,
    Locks,
    Storage,
    Tried,
    locks,
    visibility,
)
from kallithea_tune.perf_check.scaling.visibility import Delay

T = TypeVar("T")

USERS = {
    Mechanism.flock: "Beaker's sessions and caches, and Whoosh's index",
    Mechanism.create: "git and dulwich",
    Mechanism.link: "Mercurial",
}
# What open(2), flock(2) and symlink(2) say where a file system does not have them.
MISSING = frozenset({"ENOLCK", "ENOSYS", "EOPNOTSUPP", "EPERM", "EINVAL"})
REMEDY = (
    "mount the storage so that locks reach its server: NFS without local_lock and nolock, FUSE "
    "with its program's option for locks; or let all instances use one mount"
)
# A page that shows a push a second late is not taken for a fault: our judgement.
LATE_S = 1.0


@check(
    "SCA008",
    "storage-locks",
    "Locks that exclude one another",
    measures=(locks,),
    threshold="no two processes inside at once",
    source="flock(2), open(2); Mercurial's lock.py, git's lockfile.h, Beaker, Whoosh",
    tags=("scaling", "locks"),
    harm=Harm.loss,
)
def exclusion(found: Locks) -> Iterator[Finding]:
    """Of processes that take the same lock on the storage, one has it at a time."""
    yield from _each(found.tried, _judged)


def _each(tried: Iterable[Tried[T]], judged: Callable[[Storage, T], Finding]) -> Iterator[Finding]:
    """Judge what came of each storage; of one where nothing could be tried, say why."""
    for one in tried:
        if one.failure:
            reason = f"not measured: {one.failure}"
            yield Finding(Severity.unknown, reason, subject=one.storage.name)
        for result in one.results:
            yield judged(one.storage, result)


def _judged(storage: Storage, contest: Contest) -> Finding:
    name = contest.mechanism.value
    evidence: dict[str, object] = {
        "paths": list(storage.paths),
        "sections": list(contest.sections),
        "overlaps": contest.overlaps,
    }
    if contest.mechanism is Mechanism.create:
        evidence["lost"] = contest.lost
    severity, diagnosis, remedy = Severity.ok, f"{name} excludes", ""
    if contest.overlaps or contest.lost > 0:
        inside = sum(contest.sections)
        what = (
            f"{contest.overlaps} of {inside} times two processes were inside"
            if contest.overlaps
            else f"{contest.lost} of {inside} changes were overwritten"
        )
        severity, remedy = Severity.error, REMEDY
        diagnosis = f"{name} does not exclude: {what}; {USERS[contest.mechanism]} rely on it"
    elif contest.error in MISSING:
        # Mercurial does with a file what it would do with a link.
        link = contest.mechanism is Mechanism.link
        severity = Severity.advice if link else Severity.error
        diagnosis = f"{name} fails with {contest.error}; {USERS[contest.mechanism]} use it"
        remedy = REMEDY
    elif contest.error:
        severity, diagnosis = Severity.unknown, f"not measured: {name}: {contest.error}"
    elif min(contest.sections) < LEAST_SECTIONS:
        severity = Severity.unknown
        diagnosis = f"not measured: a process got {name} only {min(contest.sections)} times"
    return Finding(
        severity, diagnosis, subject=f"{storage.name}: {name}", evidence=evidence, remedy=remedy
    )


@check(
    "SCA009",
    "storage-visibility",
    "Changes that are seen at once",
    measures=(visibility,),
    threshold=f"within {LATE_S:g} s",
    source="our judgement; nfs(5), attribute caching",
    tags=("scaling", "locks"),
    harm=Harm.some_pages,
)
def seen(found: Delays) -> Iterator[Finding]:
    """A new file, a size and a time that one instance changes are soon seen by the others."""
    yield from _each(found.tried, _late)


def _late(storage: Storage, delay: Delay) -> Finding:
    longest = delay.longest
    words = "is not seen in {} within" if longest is None else "is seen in {} after"
    seconds = delay.limit if longest is None else longest
    fine = longest is not None and longest <= LATE_S
    return Finding(
        Severity.ok if fine else Severity.warning,
        f"what is changed in {delay.written} {words.format(delay.read)} {seconds:.2g} s",
        subject=storage.name,
        evidence={
            "new_file_s": delay.new_file,
            "size_s": delay.size,
            "time_s": delay.time,
            "waited_s": delay.limit,
        },
        remedy=""
        if fine
        else "shorten the caching of attributes where it is mounted: NFS's actimeo, FUSE's "
        "attr_timeout, entry_timeout and negative_timeout; until then a push, a session and a "
        "search index are seen late at the other instances",
    )


@check(
    "SCA010",
    "pid-file-locks",
    "Tasks that lock by process id in one place",
    measures=(running,),
    threshold="one namespace of process ids",
    source="kallithea/lib/pidlock.py (0.7.0), held twice in two namespaces",
    tags=("scaling", "locks", "celery"),
    harm=Harm.some_pages,
)
def pid_files(found: Runnings) -> Iterator[Finding]:
    """Processes that use Kallithea's DaemonLock see one another's process ids."""
    places: dict[tuple[str, int], list[str]] = {}
    for item in found.found:
        places.setdefault(item.host.processes, []).append(f"{item.program} ({item.ini})")
    evidence: dict[str, object] = {
        f"namespace {inode}": sorted(set(names)) for (_, inode), names in places.items()
    }
    if len(places) > 1:
        yield Finding(
            Severity.warning,
            "Kallithea's lock of index-create, whoosh_index and get_commits_stats excludes no "
            f"other process: processes are in {len(places)} namespaces of process ids",
            evidence=evidence,
            remedy="run index-create and celery-run in one container, on one machine; sharing "
            "the directory of the lock files does not help",
        )
    elif places:
        yield Finding(
            Severity.ok,
            f"all {len(found.found)} processes see one another's process ids",
            evidence=evidence,
        )
