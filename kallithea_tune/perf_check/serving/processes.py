"""How many cores there are for the application, and how many of its processes run."""

from __future__ import annotations

import os
from typing import Any, Optional, Sequence

from kallithea_tune.perf_check.storage import memory
from kallithea_tune.system import cgroups, files, mounts

# Programs that serve an ini file, alone or with the word "serve"; whatever else names it (an
# editor) answers nothing.
_SERVERS, _SERVING = (
    frozenset({"gunicorn", "uwsgi", "waitress-serve", "pserve"}),
    frozenset({"gearbox", "paster"}),
)


def survey(ini: str) -> dict[str, Any]:
    """Return the ``cores`` that processes of the ini file may use, how many are ``running`` and
    their memory.

    Of a master and its workers only the workers count: what has no child among them. Memory is the
    mean ``resident_mb`` of these, what they share included.
    """
    import psutil

    found = {process.pid: process for process in memory.serving(ini) if _serves(process)}
    parents, resident = set(), []
    for process in found.values():
        try:
            parents.add(process.ppid())
        except psutil.Error:
            continue
    for pid in found.keys() - parents:
        try:
            resident.append(found[pid].memory_info().rss / 1e6)
        except psutil.Error:
            continue
    return {
        "cores": cores(min(found, default=os.getpid())),
        "running": len(resident),
        "resident_mb": sum(resident) / len(resident) if resident else None,
    }


def _serves(process: Any) -> bool:
    words = {os.path.basename(word) for word in process.info["cmdline"] or ()}
    return bool(words & _SERVERS) or "serve" in words and bool(words & _SERVING)


def cores(pid: int, proc: str = "/proc", table: Optional[Sequence[mounts.Mount]] = None) -> float:
    """Return how many cores process `pid` may use: those it is bound to, or the least quota of its
    control groups.
    """
    try:
        most = float(len(os.sched_getaffinity(pid)))
    except ProcessLookupError:
        most = float(len(os.sched_getaffinity(0)))
    for version, group in cgroups.holding(pid, "cpu", proc, table):
        quota, period = _quota(group, version)
        if quota > 0 and period > 0:
            most = min(most, quota / period)
    return most


def _quota(group: str, version: int) -> tuple[float, float]:
    """Return the microseconds of CPU time in each period of microseconds; -1 without a limit."""
    if version == 2:
        words = files.text(os.path.join(group, "cpu.max")).split()
    else:
        words = [
            files.text(os.path.join(group, name)).strip()
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        ]
    quota, period = (float(word) if word.isdigit() else -1.0 for word in (*words, "", "")[:2])
    return quota, period
