"""The full-text index: is it there, is it kept up to date, is it in one piece."""

from __future__ import annotations

import os
import time
from typing import Any, Iterator, Mapping

from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.repositories import search_index as probe
from kallithea_tune.system import child

DAY = 86400
LATE_DAYS = 1.0
SEGMENTS = 50
SEARCHES = {"HG_INDEX": "contents and paths", "CHGSET_INDEX": "changesets"}


def described(context: Context) -> Mapping[str, Any]:
    """Return what the files of the index say, read once in a run. Raises NotMeasured without
    ``index_dir``.
    """
    directory = context.instance.directory("index_dir")
    if not directory:
        raise NotMeasured("index_dir is not set")
    found: Mapping[str, Any] = context.once(
        "search index",
        lambda: dict(
            child.call(
                "kallithea_tune.perf_check.repositories.search_index:describe",
                10,
                directory=directory,
            ),
            directory=directory,
        ),
    )
    return found


def judge_age(
    found: Mapping[str, Any], since: Mapping[str, Any], now: float, command: str
) -> Finding:
    """An index that is missing finds nothing; one that nobody renews (by `command`) lacks what was
    pushed since.
    """
    common: dict[str, Any] = {
        "threshold": f"{LATE_DAYS:g} day after a push",
        "source": "Kallithea manual, full-text search: run it regularly; the day: our judgement",
    }
    indexes = found["indexes"]
    missing = [name for name in SEARCHES if name not in indexes]
    remedy = "cron: 0 * * * * " + command
    if missing:
        what = (
            "there is no full-text index: searching finds nothing"
            if len(missing) == len(SEARCHES)
            else (f"the full-text index lacks {SEARCHES[missing[0]]}")
        )
        return Finding(
            Severity.advice,
            what,
            evidence={"indexes": sorted(indexes) or "none"},
            remedy=remedy,
            **common,
        )
    built = max(index["built"] for index in indexes.values())
    evidence = {
        "size_mb": found["bytes"] / 1e6,
        "age_days": max(0.0, now - built) / DAY,
        "pushes_since": since.get("pushes", "unknown"),
        "repositories": since.get("repositories", "unknown"),
    }
    first = since.get("first")
    if first is None or now - first < LATE_DAYS * DAY:
        return Finding(
            Severity.ok, "the full-text index is up to date", evidence=evidence, **common
        )
    return Finding(
        Severity.advice,
        "the full-text index misses %d pushes of the last %.3g days"
        % (since["pushes"], (now - first) / DAY),
        evidence=evidence,
        remedy=remedy,
        **common,
    )


@check(
    "IDX001",
    "index-age",
    "Age of the full-text index",
    "repositories",
    seconds=0.5,
    needs=("database",),
    tags=("probe", "index"),
)
def age(context: Context) -> Iterator[Finding]:
    """Compare when the full-text index was last written with what was pushed since, as the journal
    has it.

    Kallithea never writes the index by itself: kallithea-cli index-create does, and is meant for
    cron. Advice when there is none, or when a push of changesets is not in it after a day (our
    judgement). The newest 5,000 rows of user_logs are read.
    """
    found = described(context)
    since: Mapping[str, Any] = {}
    if found["indexes"]:
        built = max(index["built"] for index in found["indexes"].values())
        try:
            read_only_engine(context.instance.database_url)
            since = child.call(
                "kallithea_tune.perf_check.repositories.search_index:pushes_since",
                context.deadline.left + 8,
                url=context.instance.database_url,
                since=built,
            )
        except (NotMeasured, TuneError):
            raise NotMeasured(
                "the pushes since are in the database, which cannot be used: see DB000"
            ) from None
    yield judge_age(found, since, time.time(), context.instance.cli("index-create"))


def judge_segments(found: Mapping[str, Any], command: str) -> Finding:
    """Each search opens every segment, more with each run, as Whoosh merges small ones only;
    `command` makes one.
    """
    counts = {name: index["segments"] for name, index in found["indexes"].items()}
    most = max(counts, key=lambda name: counts[name], default="")
    common: dict[str, Any] = {
        "subject": "segments",
        "evidence": {SEARCHES[name]: count for name, count in counts.items()},
        "threshold": "%d segments" % SEGMENTS,
        "source": "our benchmark: 0.7 ms for each segment and search",
    }
    if not most or counts[most] <= SEGMENTS:
        return Finding(Severity.ok, "the full-text index has few segments", **common)
    return Finding(
        Severity.advice,
        "each search of %s opens %d segments" % (SEARCHES[most], counts[most]),
        remedy="once, at night: " + command,
        **common,
    )


def judge_lock(found: Mapping[str, Any]) -> Finding:
    """index-create believes any living process of that number to be another index-create, and gives
    up.
    """
    lock = found["lock"]
    common: dict[str, Any] = {
        "subject": "lock",
        "threshold": "none, or of a running index-create",
        "source": "kallithea/lib/pidlock.py",
    }
    if lock is None:
        return Finding(
            Severity.ok, "no index-create holds the lock", evidence={"lock": False}, **common
        )
    evidence = {"process": lock["process"], "command": lock["command"] or "none"}
    remedy = "rm {}".format(os.path.join(found["directory"], probe.LOCK))
    if lock["process"] < 0:
        return Finding(
            Severity.error,
            "an empty make_index.lock keeps index-create from ever running",
            evidence=evidence,
            remedy=remedy,
            **common,
        )
    if lock["command"] is None:
        return Finding(
            Severity.ok,
            "the lock of an index-create that died; the next one removes it",
            evidence=evidence,
            **common,
        )
    if "index-create" in lock["command"]:
        return Finding(Severity.ok, "index-create is running", evidence=evidence, **common)
    return Finding(
        Severity.error,
        "index-create waits for process %d, which is another program" % lock["process"],
        evidence=evidence,
        remedy=remedy,
        **common,
    )


@check(
    "IDX002",
    "index-state",
    "Segments and lock of the full-text index",
    "repositories",
    seconds=0.2,
    tags=("probe", "index"),
)
def state(context: Context) -> Iterator[Finding]:
    """Count the segments of the full-text index and read its lock file, make_index.lock.

    Each search opens every segment: more than 50 are advice to build the index anew (our
    benchmark). The lock holds a process number. index-create removes it when that process is gone;
    where another program has the number by now, or the file is empty, no index-create will ever run
    again: an error.
    """
    found = described(context)
    if found["indexes"] or found["lock"]:
        yield judge_segments(found, context.instance.cli("index-create --full"))
        yield judge_lock(found)
