"""Whether memory holds what Kallithea works with, and whether the machine is short of it."""

from __future__ import annotations

import os
from typing import Any, Iterator, Mapping

from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.storage.directories_checks import JUDGEMENT, places
from kallithea_tune.system import child
from kallithea_tune.text import megabytes

SWAPPED_BYTES, PRESSURE_PERCENT = 1e6, 10.0
LOCAL = (None, "", "localhost", "127.0.0.1", "::1")
MB = 1e6
Facts = Mapping[str, Any]


def judge_working_set(facts: Facts) -> Finding:
    """What is read again and again should stay in the page cache: repositories, database and
    index.
    """
    sizes, limit = facts["sizes"], facts["limit"]
    whole = sum(sizes.values())
    room = min(facts["available"], limit["bytes"]) if limit else facts["available"]
    evidence = {
        "available_mb": facts["available"] / MB,
        "memory_mb": facts["total"] / MB,
        "page_cache_mb": facts["page_cache"] / MB,
        **{name + "_mb": size / MB for name, size in sizes.items()},
        "kallithea_mb": facts["resident"] / MB,
        "kallithea_processes": facts["processes"],
    }
    if limit:
        evidence["limit_mb"] = limit["bytes"] / MB
    more = "at least " if facts["unfinished"] else ""
    common: dict[str, Any] = {
        "subject": "working set",
        "evidence": evidence,
        "confidence": "medium",
        "threshold": "fits into memory",
        "source": JUDGEMENT,
    }
    said = "the working set of {}{} ({})".format(
        more, megabytes(whole), ", ".join(sizes) or "nothing"
    )
    if whole <= room:
        return Finding(Severity.ok, f"{said} fits into the {megabytes(room)} available", **common)
    return Finding(
        Severity.advice,
        f"{said} does not fit into the {megabytes(room)} available",
        remedy="more memory{}, if STO002 reads slowly".format(
            " for {}".format(limit["group"]) if limit else ""
        ),
        **common,
    )


def judge_swap(facts: Facts) -> Finding:
    """Swap in use is harmless; reading back from it is not."""
    rate = facts["swapped_in_per_s"]
    common: dict[str, Any] = {
        "subject": "swap",
        "threshold": "1 MB/s swapped in",
        "source": JUDGEMENT,
        "evidence": {
            "used_mb": facts["swap_used"] / MB,
            "swap_mb": facts["swap_total"] / MB,
            "swapped_in_mb_per_s": rate / MB,
            "swapped_out_mb_per_s": facts["swapped_out_per_s"] / MB,
        },
    }
    if rate >= SWAPPED_BYTES:
        return Finding(
            Severity.warning,
            f"{megabytes(rate)} a second come back from swap",
            remedy="fewer processes, or more memory; vmstat 5 shows it as si",
            **common,
        )
    if not facts["swap_total"]:
        return Finding(Severity.ok, "there is no swap", **common)
    said = "{} of swap in use, {} a second come back".format(
        megabytes(facts["swap_used"]), megabytes(rate)
    )
    return Finding(Severity.ok, said, **common)


def judge_limit(limit: Facts) -> Finding:
    """A control group whose processes were killed is too small."""
    common: dict[str, Any] = {
        "subject": "cgroup",
        "threshold": "no process killed",
        "source": "Linux: admin-guide/cgroup-v2.rst",
        "evidence": {
            "limit_mb": limit["bytes"] / MB,
            "used_mb": limit["used"] / MB,
            "killed": limit["killed"],
            "version": limit["version"],
            "group": limit["group"],
        },
    }
    if limit["killed"]:
        return Finding(
            Severity.error,
            "%d processes were killed at the cgroup's limit of %s"
            % (limit["killed"], megabytes(limit["bytes"])),
            remedy="raise MemoryMax= of the service, or the container's --memory",
            **common,
        )
    return Finding(
        Severity.ok,
        "the cgroup's limit of {} has killed no process".format(megabytes(limit["bytes"])),
        **common,
    )


def judge_pressure(resource: str, found: Mapping[str, float]) -> Finding:
    """The kernel counts the time in which processes wait for memory or for a disk."""
    some = found["some"]
    name = {"io": "disks", "memory": "memory"}[resource]
    common: dict[str, Any] = {
        "subject": name,
        "confidence": "medium",
        "threshold": f"{PRESSURE_PERCENT:g} % in 5 minutes",
        "source": "Linux: Documentation/accounting/psi.rst; limit: " + JUDGEMENT,
        "evidence": {"some_percent": some, "all_percent": found.get("full", 0.0)},
    }
    said = f"processes waited for {name} in {some:.2g} % of the last 5 minutes"
    if some < PRESSURE_PERCENT:
        return Finding(Severity.ok, said, **common)
    return Finding(
        Severity.warning,
        said,
        remedy={
            "io": "iotop -ao shows who; give Kallithea's data a disk of its own",
            "memory": "fewer processes, or more memory",
        }[resource],
        **common,
    )


@check(
    "MEM001", "memory", "Memory and working set", "storage", seconds=1.0, tags=("memory", "probe")
)
def memory(context: Context) -> Iterator[Finding]:
    """Compare repositories, database and index with the memory available (MemAvailable), within
    limits of cgroups.

    Sizes are counted on the disk for a second at most ("at least" where that was not enough); of a
    database on another host nothing is counted. A working set that does not fit is advice of medium
    confidence, since its hot part may be small. Swapping in 1 MB/s or more is a warning; swap that
    is only in use is not. A process killed in the control group of Kallithea (or of this shell,
    where no process runs with the ini file) is an error.

    Pressure is the kernel's own (/proc/pressure): processes waiting for memory or disks in 10 % of
    the last 5 minutes are a warning (our judgement). What this command did before counts, too: 30 s
    of it at most, a tenth.
    """
    found = {
        name: place["real"]
        for name, place in places(context).items()
        if name in ("index_dir", "repositories") and place.get("real") and place["exists"]
    }
    facts = child.call(
        "kallithea_tune.perf_check.storage.memory:survey",
        context.deadline.left + 3,
        directories=found,
        ini=os.path.realpath(context.instance.path),
        within=max(0.2, context.deadline.left - 0.5),
    )
    yield judge_working_set(dict(facts, sizes={**facts["sizes"], **_database(context)}))
    yield judge_swap(facts)
    if facts["limit"]:
        yield judge_limit(facts["limit"])
    for resource, pressure in facts["pressure"].items():
        if pressure:
            yield judge_pressure(resource, pressure)


def _database(context: Context) -> dict[str, int]:
    """Return the size of the database where it is on this host and can be asked."""
    from sqlalchemy.engine.url import make_url

    try:
        if make_url(context.instance.database_url).host in LOCAL:
            return {"database": context.measure(database_facts).size_bytes}
    except (NotMeasured, TuneError, ValueError):
        pass  # DB000 says so.
    return {}
