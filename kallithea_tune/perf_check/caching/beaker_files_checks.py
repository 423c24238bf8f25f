"""The cost of the file cache, and the growth of its files and those of sessions."""

from __future__ import annotations

import os
from functools import partial
from typing import Iterator, Sequence

from kallithea_tune.perf_check.caching.beaker_cost import Cost, NamespaceCosts, namespace_costs
from kallithea_tune.perf_check.caching.beaker_files import (
    CacheGrowth,
    Growth,
    Namespace,
    cache_growth,
)
from kallithea_tune.perf_check.caching.regions import label
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, Steps, app_options, steps_of
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure

MB = 1024 * 1024
DAILY, DELETES = "daily, by cron", Effect.deletes
SLOW_MISS_MS, VERY_SLOW_MISS_MS = 10.0, 100.0
ISSUE_196 = (
    "Beaker issue 196; limits: our judgement, and Nielsen's 0.1 s for what feels instantaneous"
)


def judge_namespace(kept: Namespace, cost: Cost, name: str) -> Finding:
    """Judge a namespace file by the measured cost of one miss at its size."""
    size, measured = kept.bytes / MB, cost.bytes / MB
    # A very large one is measured at a part of its size, and costs more.
    more = "over " if measured < 0.9 * size else ""
    finding = partial(
        Finding,
        subject=name,
        threshold=f"{SLOW_MISS_MS:g} ms per miss",
        source=ISSUE_196,
        evidence={
            "hit_ms": cost.hit_ms,
            "miss_ms": cost.miss_ms,
            "expired": kept.expired,
            "entries": kept.entries,
            "size_mb": size,
            "rounds": cost.rounds,
            **({"measured_at_mb": measured} if more else {}),
            **({} if kept.complete else {"counts": "estimated"}),
        },
    )
    if cost.miss_ms < SLOW_MISS_MS:
        return finding(
            Severity.ok,
            f"the {name} cache has {size:.3g} MB; a miss rewrites it in {cost.miss_ms:.2g} ms",
        )
    # A miss takes time in proportion to the size: this is the size that reaches the limit here.
    limit = max(1, int(measured * SLOW_MISS_MS / cost.miss_ms))
    words = ("find", os.path.join(kept.data_dir, "container_file"), "-name", "*.cache")
    return finding(
        Severity.error if cost.miss_ms >= VERY_SLOW_MISS_MS else Severity.warning,
        f"each {name} miss rewrites all {kept.entries} entries, {size:.3g} MB: "
        f"{more}{cost.miss_ms:.3g} ms",
        remedy=Command((*words, "-size", f"+{limit}M", "-delete"), note=DAILY, effect=DELETES),
        impact_ms=cost.miss_ms,
        excess=cost.miss_ms / SLOW_MISS_MS,
        impact_per=f"{name} miss",
    )


def judge_other(path: str, kind: str) -> Finding:
    """Beaker follows a link, which is not done here, and waits forever on anything else."""
    if kind == "link":
        return Finding(Severity.unknown, f"not measured: the cache file {path} is a link", path)
    return Finding(
        Severity.error,
        f"the cache file {path} is a {kind}: whatever reads this cache waits forever",
        path,
        remedy=Command(("rm", path), effect=DELETES),
    )


@check(
    "CAC001",
    "cache-namespace-size",
    "Size and cost of Beaker's cache files",
    measures=(namespace_costs,),
    tags=("cache", "probe"),
    disturbed_by=(Part.cpu, Part.disk),
)
def namespace_size(measured: NamespaceCosts) -> Iterator[Finding]:
    """Judge each namespace file of the cache by the cost of a miss at its size."""
    for item in measured.costs:
        yield judge_namespace(item.namespace, item.cost, label(item.function))
    for path, kind in measured.others.items():
        yield judge_other(path, kind)
    if not (measured.costs or measured.others) and measured.functions:
        yield Finding(Severity.ok, "the file cache is empty")


MANY_FILES, TOO_MANY_FILES = 10000, 100000
NEVER_REMOVED = "our judgement; Beaker manual, 'Removing Expired/Old Sessions'"
SESSIONS, CACHES = "session files", "cache files"


def judge_growth(counted: Growth, name: str, days: int, section: str = "") -> Finding:
    """Judge the number of files by what deleting those older than `days` would free."""
    files, old, freed = counted.files, counted.old_files, counted.old_bytes / MB
    per_day = counted.week_files // 7
    finding = partial(
        Finding,
        subject=name,
        source=NEVER_REMOVED,
        threshold=f"{MANY_FILES} old or {TOO_MANY_FILES}",
        evidence={
            "size_mb": counted.bytes / MB,
            "new_per_day": per_day,
            "oldest_days": counted.oldest_days,
            "files": files,
            "old": old,
            "old_size_mb": freed,
        },
    )
    number = f"{files}{'' if counted.complete else '+'}"
    diagnosis = f"of {number} {name}, {old} are over {days} days old: {figure(freed)} MB to free"
    if files >= TOO_MANY_FILES and old * 10 < files:
        # Deleting month-old files would not help: new ones are made faster than that.
        weekly = deletion(counted.places, 7)
        shorter = app_options(section, {"session.timeout": str(7 * 86400)})
        return finding(
            Severity.warning,
            f"{number} {name}, {per_day} new a day; only {old} are over {days} days old",
            remedy=Steps((*steps_of(shorter), weekly)) if name == SESSIONS else weekly,
        )
    if files >= TOO_MANY_FILES or old >= MANY_FILES:
        severity = Severity.warning if files >= TOO_MANY_FILES else Severity.advice
        return finding(severity, diagnosis, remedy=deletion(counted.places, days))
    return finding(Severity.ok, diagnosis, remedy=deletion(counted.places, days) if old else "")


def deletion(places: Sequence[str], days: int) -> Command:
    """Return the command that deletes what nothing wrote to for more than so many days."""
    words = ("find", *places, "-type", "f", "-mtime", f"+{days}", "-delete")
    return Command(words, note=DAILY, effect=DELETES)


@check(
    "CAC003",
    "cache-growth",
    "Growth of session and cache files",
    measures=(cache_growth,),
    tags=("cache", "probe"),
    harm=Harm.housekeeping,
)
def growth(measured: CacheGrowth) -> Iterator[Finding]:
    """Judge the files of sessions and of the file cache by number and age."""
    if measured.sessions.places:
        yield judge_growth(measured.sessions, SESSIONS, measured.session_days, measured.section)
    if measured.caches.places:
        yield judge_growth(measured.caches, CACHES, measured.cache_days)
