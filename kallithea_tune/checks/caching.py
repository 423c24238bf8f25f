"""What the file cache and the sessions keep on disk, and what that costs."""

from __future__ import annotations

import math
import os
from typing import Any, Iterator, Mapping

from kallithea_tune.checks.model import Context, Deadline, Finding, Severity, check
from kallithea_tune.probes import beaker_config, child
from kallithea_tune.probes.scratch import scratch

MB = 1024 * 1024
SLOW_MISS_MS, VERY_SLOW_MISS_MS = 10.0, 100.0
ISSUE_196 = "Beaker issue 196; limits: our judgement, and Nielsen's 0.1 s for what feels instantaneous"


def label(function: str) -> str:
    """Return what a caching function of Kallithea holds, as in ``README``."""
    name = function.replace("_get_", "").replace("_from_cache", "").strip("_")
    return {"readme": "README", "feed": "feed"}.get(name, name)


def judge_namespace(kept: Mapping[str, Any], cost: Mapping[str, Any], name: str) -> Finding:
    """Judge a namespace file by what one miss was measured to cost at its size."""
    miss, size = cost["miss_ms"], kept["bytes"] / MB
    common: dict[str, Any] = {
        "subject": name, "threshold": "%g ms per miss" % SLOW_MISS_MS, "source": ISSUE_196,
        "evidence": {
            "size_mb": size, "entries": kept["entries"], "expired": kept["expired"], "hit_ms": cost["hit_ms"],
            "miss_ms": miss, "rounds": cost["rounds"], **({} if kept["complete"] else {"sampled": True})},
    }
    if miss < SLOW_MISS_MS:
        return Finding(Severity.ok, "the %s cache has %.3g MB; a miss rewrites it in %.2g ms" % (name, size, miss),
                       **common)
    # The size at which a miss of this machine would be at the limit, miss time being in proportion to size.
    limit = max(1, int(size * SLOW_MISS_MS / miss))
    return Finding(
        Severity.error if miss >= VERY_SLOW_MISS_MS else Severity.warning,
        "each %s miss rewrites all %d entries, %.3g MB: %.3g ms" % (name, kept["entries"], size, miss),
        remedy="daily: find %s/container_file -name '*.cache' -size +%dM -delete" % (kept["data_dir"], limit),
        impact_ms=miss, impact_per="%s miss" % name, **common)


def judge_leftover(path: str, size: int) -> Finding:
    """Judge a namespace file that none of the installed application's functions uses any more."""
    common: dict[str, Any] = {"subject": os.path.basename(path), "evidence": {"size_mb": size / MB},
                              "threshold": "1 MB", "source": "our judgement"}
    if size < MB:
        return Finding(Severity.ok, "a cache file that no code uses any more, but a small one", **common)
    return Finding(
        Severity.advice, "a cache file of %.3g MB that no installed code uses any more" % (size / MB),
        remedy="rm %s" % path, **common)


@check("CAC001", "cache-namespace-size", "Size and cost of Beaker's cache files", "caching", seconds=2.0,
       writes="the cache's data directory", tags=("cache", "probe"))
def namespace_size(context: Context) -> Iterator[Finding]:
    """Read the size of every namespace file of the file cache, and time a hit and a miss at that size.

    Beaker's file backend keeps one pickle per namespace: every hit reads and unpickles all entries, every miss does so
    three times and writes them all again; expired entries are never removed. The entries are counted from the pickle's
    opcodes (it is never unpickled). A scratch namespace of as many entries and bytes, in the same data directory, is
    filled by Beaker itself, then Cache.get of a stored and of a new key are timed in turn.

    A miss of 10 ms is worth a warning (our judgement), one of 100 ms an error: it is felt (Nielsen's 0.1 s). A file no
    installed code uses any more, as after a move of the virtual environment, is worth removing from 1 MB on.
    """
    in_use = {use.file(region["data_dir"]): label(use.function) for use, region in file_uses(context)}
    kept = live_namespaces(context)
    mine = [found for found in kept if found["path"] in in_use]
    for number, found in enumerate(mine):
        share = Deadline(context.deadline.left / (len(mine) - number))
        cost = namespace_cost(found, share)
        yield judge_namespace(found, cost, in_use[found["path"]])
    if in_use:
        yield from (judge_leftover(found["path"], found["bytes"]) for found in kept if found["path"] not in in_use)
        if not kept:
            yield Finding(Severity.ok, "the file cache is empty")


def namespace_cost(kept: Mapping[str, Any], deadline: Deadline) -> Mapping[str, Any]:
    """Time a scratch namespace beside, and as large as, the one `kept` describes."""
    with scratch(kept["data_dir"]) as place:
        cost: Mapping[str, Any] = child.call(
            "kallithea_tune.probes.beaker_cost:hit_and_miss", deadline.left + 5, directory=place,
            entries=kept["entries"], size=kept["bytes"], budget=deadline.left * 0.6)
    return cost


def live_namespaces(context: Context) -> list[Mapping[str, Any]]:
    """Describe every namespace file in the directories of the file regions, read once per run."""
    directories = sorted({
        region["data_dir"] for region in cache_regions(context).values()
        if region["type"] == "file" and os.path.isdir(region.get("data_dir") or "")})

    def read() -> list[Mapping[str, Any]]:
        return [
            found for directory in directories
            for found in child.call("kallithea_tune.probes.beaker_files:namespaces", context.deadline.left + 2,
                                    directory=directory, budget=context.deadline.left / 4)]

    found: list[Mapping[str, Any]] = context.once("cache namespaces", read)
    return found


def file_uses(context: Context) -> Iterator[tuple[beaker_config.Use, Mapping[str, Any]]]:
    """Yield each function that caches in a file region that is on, with its region."""
    for use in cache_uses(context):
        region = cache_regions(context).get(use.region, {})
        if region.get("type") == "file" and region.get("enabled") and region.get("data_dir"):
            yield use, region


def cache_regions(context: Context) -> Mapping[str, Mapping[str, Any]]:
    """Return the regions as the application gets them. Raises ValueError for settings that Beaker refuses."""
    found: Mapping[str, Mapping[str, Any]] = context.once(
        "cache regions", lambda: beaker_config.regions(context.instance.settings))
    return found


def cache_uses(context: Context) -> list[beaker_config.Use]:
    """Return the functions of the application that cache, found once per run."""
    found: list[beaker_config.Use] = context.once(
        "cache uses", lambda: beaker_config.uses(beaker_config.package_directory(context.instance.use)))
    return found


MANY_FILES, TOO_MANY_FILES = 10000, 100000


def judge_growth(counted: Mapping[str, Any], name: str, days: int) -> Finding:
    """Judge the number of files below a directory, and what deleting the old ones would free."""
    files, old = counted["files"], counted["old_files"]
    evidence = {
        "files": files, "size_mb": counted["bytes"] / MB, "old": old, "old_size_mb": counted["old_bytes"] / MB,
        "new_per_day": counted["week_files"] // 7, "oldest_days": counted["oldest_days"],
        **({} if counted["complete"] else {"sampled": True})}
    common: dict[str, Any] = {
        "subject": name, "evidence": evidence, "source": "our judgement; Beaker manual: it never removes sessions",
        "threshold": "%d files, some old; %d files" % (MANY_FILES, TOO_MANY_FILES)}
    at_least = "" if counted["complete"] else "at least "
    if files < MANY_FILES or (files < TOO_MANY_FILES and not old):
        return Finding(
            Severity.ok, "%s%d files, %d of them older than %d days" % (at_least, files, old, days), **common)
    severity = Severity.warning if files >= TOO_MANY_FILES else Severity.advice
    # Where most are young, deleting those of a month ago would not help.
    freed, kept = (old, days) if old >= files // 10 else (files - counted["week_files"], 7)
    return Finding(
        severity, "%s%d files; %d are older than %d days" % (at_least, files, freed, kept),
        remedy="cron: 0 4 * * * find %s -type f -mtime +%d -delete" % (counted["directory"], kept), **common)


@check("CAC003", "cache-growth", "Growth of session and cache files", "caching", seconds=1.0, tags=("cache", "probe"))
def growth(context: Context) -> Iterator[Finding]:
    """Count the files of sessions and of the file cache, with scandir(3) and one lstat(2) each, bounded in time.

    Beaker never removes a session: each request without a cookie, as robots and monitoring make them, leaves a session
    file and a lock file below cache_dir/sessions, which a cleaning job for data/cache never reaches. Each key of the
    file cache leaves a lock file as well. Files older than 30 days (or than session.timeout, if that is longer) hold
    nothing a user would miss. Advice from 10,000 files on when some are old, a warning from 100,000 on (our judgement).
    """
    settings = context.instance.settings
    wanted = {}
    sessions = beaker_config.session_directory(settings)
    if sessions:
        wanted["session files"] = sessions
    for region in cache_regions(context).values():
        for key, name in (("data_dir", "file cache"), ("lock_dir", "cache locks")):
            if region["type"] in ("file", "dbm") and region.get(key):
                wanted[name] = region[key]
    days = 30
    if settings.get("session.timeout", "").strip().isdigit():
        days = max(days, math.ceil(int(settings["session.timeout"]) / 86400))
    # The locks are usually inside the cache's own directory, and counted there.
    if wanted.get("cache locks", "").startswith(wanted.get("file cache", "\0") + os.sep):
        del wanted["cache locks"]
    counted = child.call("kallithea_tune.probes.beaker_files:growth", context.deadline.left + 2,
                         directories=list(wanted.values()), old_days=days, budget=context.deadline.left)
    for name, found in zip(wanted, counted):
        if found["exists"]:
            yield judge_growth(found, name, days)
