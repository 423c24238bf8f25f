"""The full-text index: whether it exists, is kept up to date, and is not blocked by its lock."""

from __future__ import annotations

import functools
import os
from typing import Iterator

from kallithea_tune.perf_check import commands
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.remedy import Command
from kallithea_tune.perf_check.repositories.search_index import (
    LOCK,
    NAMES,
    RecentPushes,
    SearchIndex,
    recent_pushes,
    search_index,
)
from kallithea_tune.text import counted

DAY = 86400
LATE_DAYS = 1.0
SEGMENTS = 50
SEARCHES = dict(zip(NAMES, ("contents and paths", "changesets")))


@check(
    "IDX001",
    "index-age",
    "Age of the full-text index",
    measures=(search_index, recent_pushes, configuration),
    threshold=f"{LATE_DAYS:g} day after a push",
    source="Kallithea manual, full-text search: run it regularly; the day: our judgement",
    tags=("probe", "index"),
)
def age(index: SearchIndex, pushes: RecentPushes, settings: Configuration) -> Iterator[Finding]:
    """Judge the age of the full-text index by the pushes that it lacks."""
    yield judge_age(index, pushes, settings.instance.path)


def judge_age(index: SearchIndex, pushes: RecentPushes, ini: str) -> Finding:
    """A missing index finds nothing; one that nobody updates lacks the pushes since."""
    names = [item.name for item in index.indexes]
    missing = [name for name in NAMES if name not in names]
    remedy = commands.cli(ini, "index-create", note="now, and by cron every hour (0 * * * *)")
    if missing:
        lack = f"the full-text index lacks {SEARCHES[missing[0]]}"
        none = "there is no full-text index: searching finds nothing"
        return Finding(
            Severity.advice,
            lack if names else none,
            evidence={"indexes": sorted(names) or "none"},
            remedy=remedy,
        )
    evidence = {
        "size_mb": index.bytes / 1e6,
        "age_days": max(0.0, index.now - index.built) / DAY,
        "pushes_since": pushes.pushes,
        "repositories": pushes.repositories,
    }
    days = 0.0 if pushes.first is None else (index.now - pushes.first) / DAY
    if days < LATE_DAYS:
        return Finding(Severity.ok, "the full-text index is up to date", evidence=evidence)
    return Finding(
        Severity.advice,
        f"the full-text index misses {counted(pushes.pushes, 'push')} of the last {days:.3g} days",
        evidence=evidence,
        remedy=remedy,
    )


@check(
    "IDX002",
    "index-state",
    "Segments and lock of the full-text index",
    measures=(search_index, configuration),
    tags=("probe", "index"),
)
def state(index: SearchIndex, settings: Configuration) -> Iterator[Finding]:
    """Judge the number of segments of the full-text index, and its lock file."""
    if index.indexes or index.lock:
        yield judge_segments(index, settings.instance.path)
        yield judge_lock(index)


def judge_segments(index: SearchIndex, ini: str) -> Finding:
    """Each search opens every segment, more with each run, as Whoosh merges only small ones."""
    counts = {SEARCHES[item.name]: item.segments for item in index.indexes}
    most = max(counts, key=lambda search: counts[search], default="")
    finding = functools.partial(
        Finding,
        subject="segments",
        evidence=counts,
        threshold=f"{SEGMENTS} segments",
        source="our benchmark: 0.7 ms for each segment and search",
    )
    if not most or counts[most] <= SEGMENTS:
        return finding(Severity.ok, "the full-text index has few segments")
    return finding(
        Severity.advice,
        f"each search of {most} opens {counts[most]} segments",
        remedy=commands.cli(ini, "index-create", "--full", note="once, at night"),
    )


def judge_lock(index: SearchIndex) -> Finding:
    """index-create takes any running process of that number for another index-create, and gives
    up.
    """
    lock = index.lock
    finding = functools.partial(
        Finding,
        subject="lock",
        evidence={"process": lock.process, "command": lock.command or "none"}
        if lock
        else {"lock": False},
        threshold="none, or of a running index-create",
        source="kallithea/lib/pidlock.py",
    )
    # It holds a number only.
    remove = Command(("rm", "-f", "--", os.path.join(index.directory, LOCK)))
    if lock is None:
        return finding(Severity.ok, "no index-create holds the lock")
    if lock.process < 0:
        return finding(
            Severity.error,
            f"an empty {LOCK} keeps index-create from ever running",
            remedy=remove,
        )
    if lock.command is None:
        return finding(
            Severity.ok, "the lock belongs to an index-create that died; the next one removes it"
        )
    if "index-create" in lock.command:
        return finding(Severity.ok, "index-create is running")
    return finding(
        Severity.error,
        f"index-create waits for process {lock.process}, which is another program",
        remedy=remove,
    )
