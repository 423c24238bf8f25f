"""How many processes serve the application, and how many cores they may use."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Sequence

from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.storage import memory
from kallithea_tune.system import cgroups, child, files, mounts

if TYPE_CHECKING:
    import psutil

# Programs that serve an ini file, by themselves or with the argument "serve". Other programs that
# have it in their command line, such as an editor, serve nothing.
_SERVERS = frozenset({"gunicorn", "uwsgi", "waitress-serve", "pserve"})
_LAUNCHERS = frozenset({"gearbox", "paster"})


@dataclass(frozen=True)
class Processes:
    """The running processes that serve an ini file, and the `cores` that they may use.

    `resident_mb` is the mean memory of a process, shared memory included; None where none runs.
    """

    cores: float
    running: int
    resident_mb: Optional[float] = None

    @property
    def examined(self) -> Examined:
        """The processes that run."""
        return Examined(self.running, self.running, "process")

    def count_for(self, server: Server) -> Optional[int]:
        """Return the number that run or are configured, whichever is more; None if unknown."""
        return max(server.processes or 0, self.running) or None


@measurement(seconds=0.5)
def processes(context: Context) -> Processes:
    """Count the processes that serve the ini file."""
    return child.call(count, 5 + context.deadline.left, ini=context.instance.path)


def count(ini: str) -> Processes:
    """Count the processes that serve `ini`; of a master and its workers only the workers count."""
    import psutil

    serving = {process.pid: process for process in memory.serving(ini) if _serves(process)}
    parents, resident = set(), []
    for process in serving.values():
        with contextlib.suppress(psutil.Error):
            parents.add(process.ppid())
    for pid in serving.keys() - parents:
        with contextlib.suppress(psutil.Error):
            resident.append(serving[pid].memory_info().rss / 1e6)
    return Processes(
        cores=cores(min(serving, default=os.getpid())),
        running=len(resident),
        resident_mb=sum(resident) / len(resident) if resident else None,
    )


def _serves(process: psutil.Process) -> bool:
    names = {os.path.basename(argument) for argument in process.info["cmdline"] or ()}
    return bool(names & _SERVERS) or "serve" in names and bool(names & _LAUNCHERS)


def cores(pid: int, proc: str = "/proc", table: Optional[Sequence[mounts.Mount]] = None) -> float:
    """Return how many cores process `pid` may use.

    That is its CPU affinity, or the lowest quota of its control groups if that is less.
    """
    try:
        lowest = float(len(os.sched_getaffinity(pid)))
    except ProcessLookupError:
        lowest = float(len(os.sched_getaffinity(0)))
    for version, group in cgroups.holding(pid, "cpu", proc, table):
        quota, period = _quota(group, version)
        if quota > 0 and period > 0:
            lowest = min(lowest, quota / period)
    return lowest


def _quota(group: str, version: int) -> tuple[float, float]:
    """Return the microseconds of CPU time in each period of microseconds; -1 without a limit."""
    if version == 2:
        fields = files.text(group, "cpu.max").split()
    else:
        fields = [
            files.text(group, name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        ]
    quota, period = (float(field) if field.isdigit() else -1.0 for field in (*fields, "", "")[:2])
    return quota, period
