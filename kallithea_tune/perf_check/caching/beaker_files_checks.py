"""What the file cache and the sessions keep on disk, and what that costs."""

from __future__ import annotations

import math
import shlex
from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.app import beaker_config
from kallithea_tune.app.package import package_directory
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.system import child
from kallithea_tune.system.scratch import scratch
from kallithea_tune.text import figure

MB = 1024 * 1024
SLOW_MISS_MS, VERY_SLOW_MISS_MS = 10.0, 100.0
ISSUE_196 = (
    "Beaker issue 196; limits: our judgement, and Nielsen's 0.1 s for what feels instantaneous"
)


def label(function: str) -> str:
    """Return what a caching function of Kallithea holds, as in ``README``."""
    name = function.replace("_get_", "").replace("_from_cache", "").strip("_")
    return {"readme": "README", "feed": "feed"}.get(name, name) or "unknown"


def judge_namespace(kept: Mapping[str, Any], cost: Mapping[str, Any], name: str) -> Finding:
    """Judge a namespace file by what one miss was measured to cost at its size."""
    miss, size = cost["miss_ms"], kept["bytes"] / MB
    measured = cost["bytes"] / MB
    # A very large one is measured at a part of its size, and costs more.
    more = "over " if measured < 0.9 * size else ""
    common: dict[str, Any] = {
        "subject": name,
        "threshold": f"{SLOW_MISS_MS:g} ms per miss",
        "source": ISSUE_196,
        "evidence": {
            "hit_ms": cost["hit_ms"],
            "miss_ms": miss,
            "expired": kept["expired"],
            "entries": kept["entries"],
            "size_mb": size,
            "rounds": cost["rounds"],
            **({"measured_at_mb": measured} if more else {}),
            **({} if kept["complete"] else {"counts": "estimated"}),
        },
    }
    if miss < SLOW_MISS_MS:
        return Finding(
            Severity.ok,
            f"the {name} cache has {size:.3g} MB; a miss rewrites it in {miss:.2g} ms",
            **common,
        )
    # The size at which a miss of this machine would be at the limit, miss time being in proportion
    # to size.
    limit = max(1, int(measured * SLOW_MISS_MS / miss))
    return Finding(
        Severity.error if miss >= VERY_SLOW_MISS_MS else Severity.warning,
        "each %s miss rewrites all %d entries, %.3g MB: %s%.3g ms"
        % (name, kept["entries"], size, more, miss),
        remedy="cron: 0 4 * * * find %s/container_file -name '*.cache' -size +%dM -delete"
        % (shlex.quote(kept["data_dir"]), limit),
        impact_ms=miss,
        impact_per=f"{name} miss",
        **common,
    )


@check(
    "CAC001",
    "cache-namespace-size",
    "Size and cost of Beaker's cache files",
    "caching",
    seconds=1.5,
    writes="the cache's data directory",
    tags=("cache", "probe"),
    shares="cache files",
)
def namespace_size(context: Context) -> Iterator[Finding]:
    """Read the size of the file cache's namespace files, and time a hit and a miss at that size.

    Beaker's file backend keeps one pickle per namespace: every hit reads and unpickles all entries,
    every miss does so three times and writes them all again; expired entries are never removed. The
    entries are counted from the pickle's opcodes (it is never unpickled). A scratch namespace of as
    many entries and bytes, in the same data directory, is filled by Beaker itself, then Cache.get
    of a stored and of a new key are timed in turn.

    A miss of 10 ms is worth a warning (our judgement), one of 100 ms an error: it is felt
    (Nielsen's 0.1 s).
    """
    kept = live_namespaces(context)
    names = {found["path"]: label(found["function"]) for found in kept}
    for use, region in file_uses(context):
        mine = namespace_of(context, use, region)
        if mine:
            names[mine["path"]] = label(use.function)
    for number, found in enumerate(kept):
        cost = namespace_cost(found, Deadline(context.deadline.left / (len(kept) - number)))
        yield judge_namespace(found, cost, names[found["path"]])
    if not kept and any(file_uses(context)):
        yield Finding(Severity.ok, "the file cache is empty")


def namespace_cost(kept: Mapping[str, Any], deadline: Deadline) -> Mapping[str, Any]:
    """Time a scratch namespace beside, and as large as, the one `kept` describes."""
    with scratch(kept["data_dir"]) as place:
        cost: Mapping[str, Any] = child.call(
            "kallithea_tune.perf_check.caching.beaker_cost:hit_and_miss",
            deadline.left + 5,
            directory=place,
            entries=kept["entries"],
            size=kept["bytes"],
            budget=deadline.left * 0.6,
        )
    return cost


def live_namespaces(context: Context) -> list[Mapping[str, Any]]:
    """Describe the namespace files of the file regions that are used or large, read once per
    run.
    """
    known = {use.file(region["data_dir"]): region["data_dir"] for use, region in file_uses(context)}
    found: list[Mapping[str, Any]] = context.once(
        "cache namespaces",
        lambda: (
            child.call(
                "kallithea_tune.perf_check.caching.beaker_files:namespaces",
                context.deadline.left + 2,
                known=known,
                budget=context.deadline.left / 4,
            )
            if known
            else []
        ),
    )
    return found


def namespace_of(
    context: Context, use: beaker_config.Use, region: Mapping[str, Any]
) -> Optional[Mapping[str, Any]]:
    """Return the namespace file of a function, or None where it has none.

    An application that runs from another path than this one has it under another name; the keys
    tell.
    """
    kept = live_namespaces(context)
    path = use.file(region.get("data_dir") or "")
    by_path = [found for found in kept if found["path"] == path]
    return next(
        iter(by_path or [found for found in kept if found["function"] == use.function]), None
    )


def file_uses(context: Context) -> Iterator[tuple[beaker_config.Use, Mapping[str, Any]]]:
    """Yield each function that caches in a file region that is on, with its region."""
    for use in cache_uses(context):
        region = cache_regions(context).get(use.region, {})
        if region.get("type") == "file" and region.get("enabled") and region.get("data_dir"):
            yield use, region


def cache_regions(context: Context) -> Mapping[str, Mapping[str, Any]]:
    """Return the regions as the application gets them. Raises NotMeasured for settings that Beaker
    refuses.
    """

    def read() -> Mapping[str, Mapping[str, Any]]:
        try:
            return beaker_config.regions(context.instance.settings)
        except ValueError:
            raise NotMeasured("Beaker refuses the cache settings: see CAC008") from None

    found: Mapping[str, Mapping[str, Any]] = context.once("cache regions", read)
    return found


def cache_uses(context: Context) -> list[beaker_config.Use]:
    """Return the functions of the application that cache, found once per run."""
    found: list[beaker_config.Use] = context.once(
        "cache uses",
        lambda: beaker_config.uses(package_directory(context.instance.use)),
    )
    return found


MANY_FILES, TOO_MANY_FILES = 10000, 100000
DAYS = 30
NEVER_REMOVED = "our judgement; Beaker manual, 'Removing Expired/Old Sessions'"
SESSIONS, CACHES = "session files", "cache files"


def judge_growth(counted: Mapping[str, Any], name: str, days: int) -> Finding:
    """Judge the number of files by what deleting those older than `days` would free."""
    files, old, freed = counted["files"], counted["old_files"], counted["old_bytes"] / MB
    per_day = counted["week_files"] // 7
    common: dict[str, Any] = {
        "subject": name,
        "source": NEVER_REMOVED,
        "threshold": "%d old or %d" % (MANY_FILES, TOO_MANY_FILES),
        "evidence": {
            "size_mb": counted["bytes"] / MB,
            "new_per_day": per_day,
            "oldest_days": counted["oldest_days"],
            "files": files,
            "old": old,
            "old_size_mb": freed,
        },
    }
    number = "%d%s" % (files, "" if counted["complete"] else "+")
    told = "of %s %s, %d are over %d days old: %s MB to free" % (
        number,
        name,
        old,
        days,
        figure(freed),
    )
    places = counted["places"]
    if files >= TOO_MANY_FILES and old * 10 < files:
        # Deleting what is a month old would not help: they are made faster than that.
        shorter = "set session.timeout = 604800; " if name == SESSIONS else ""
        return Finding(
            Severity.warning,
            "%s %s, %d new a day; only %d are over %d days old"
            % (number, name, per_day, old, days),
            remedy=shorter + deletion(places, 7),
            **common,
        )
    if files >= TOO_MANY_FILES or old >= MANY_FILES:
        severity = Severity.warning if files >= TOO_MANY_FILES else Severity.advice
        return Finding(severity, told, remedy=deletion(places, days), **common)
    return Finding(Severity.ok, told, remedy=deletion(places, days) if old else "", **common)


def deletion(places: str, days: int) -> str:
    """Return the line for cron; what follows its five fields is the command to run once."""
    return "cron: 0 4 * * * find %s -type f -mtime +%d -delete" % (places, days)


@check(
    "CAC003",
    "cache-growth",
    "Growth of session and cache files",
    "caching",
    seconds=3.0,
    tags=("cache", "probe"),
)
def growth(context: Context) -> Iterator[Finding]:
    """Count the files of sessions and of the file cache, with scandir(3) and one lstat(2) each,
    bounded in time.

    Beaker never removes a session: each page asked for without a cookie, as robots and monitoring
    do, leaves a session file and a lock file below cache_dir/sessions, which the guide's cleaning
    of data/cache never reaches. Each key of the file cache leaves a lock file as well. What nothing
    wrote to for 30 days (or session.timeout, if longer) nobody will miss: a session is written to
    at each request. Advice from 10,000 such files on; a warning from 100,000 files on, young or old
    (our judgement).
    """
    settings = context.instance.settings
    sessions = beaker_config.session_directory(settings)
    seconds = settings.get("session.timeout", "").strip()
    days = max(DAYS, math.ceil(int(seconds) / 86400)) if seconds.isdigit() else DAYS
    caches = {
        region.get(key): None
        for region in cache_regions(context).values()
        if region["type"] in ("file", "dbm")
        for key in ("data_dir", "lock_dir")
    }
    groups = [[sessions] if sessions else [], [directory for directory in caches if directory]]
    counted = child.call(
        "kallithea_tune.perf_check.caching.beaker_files:growth",
        context.deadline.left + 2,
        groups=groups,
        old_days=[days, DAYS],
        budget=context.deadline.left,
    )
    for name, found, old_days in zip((SESSIONS, CACHES), counted, (days, DAYS)):
        if found["places"]:
            yield judge_growth(found, name, old_days)
