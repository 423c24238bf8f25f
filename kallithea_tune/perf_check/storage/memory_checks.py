"""Whether the working set of Kallithea fits into memory, and whether the machine is short of it."""

from __future__ import annotations

from functools import partial
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.storage.directories_checks import JUDGEMENT
from kallithea_tune.perf_check.storage.memory import Limit, Memory, Pressure, memory
from kallithea_tune.text import megabytes

SWAPPED_MB, PRESSURE_PERCENT = 1.0, 10.0
MB = 1e6


def judge_working_set(measured: Memory) -> Finding:
    """Compare what is read again and again with the page cache that it could stay in."""
    total, limit = sum(measured.sizes.values()), measured.limit
    # What the processes take at their peak is not there for the page cache.
    left = max(0, limit.bytes - measured.processes * measured.peak) if limit else 0
    room = min(measured.available, left) if limit else measured.available
    evidence: dict[str, object] = {
        "available_mb": measured.available / MB,
        "memory_mb": measured.total / MB,
        "page_cache_mb": measured.page_cache / MB,
        **{f"{name}_mb": size / MB for name, size in measured.sizes.items()},
        "kallithea_mb": measured.resident / MB,
        "kallithea_processes": measured.processes,
    }
    if limit:
        evidence["limit_mb"] = limit.bytes / MB
    finding = partial(
        Finding,
        subject="working set",
        evidence=evidence,
        confidence="medium",
        threshold="fits into memory",
        source=JUDGEMENT,
    )
    more = "at least " if measured.unfinished else ""
    parts = ", ".join(measured.sizes) or "nothing"
    working_set = f"the working set of {more}{megabytes(total)} ({parts})"
    if total <= room:
        return finding(Severity.ok, f"{working_set} fits into the {megabytes(room)} available")
    group = f" for {limit.group}" if limit else ""
    return finding(
        Severity.advice,
        f"{working_set} does not fit into the {megabytes(room)} available",
        remedy=f"more memory{group}, if STO002 reads slowly",
    )


def judge_swap(measured: Memory) -> Finding:
    """Judge how much is read back from swap; swap that is only in use is harmless."""
    rate = measured.swapped_in_per_s
    finding = partial(
        Finding,
        subject="swap",
        threshold=f"{SWAPPED_MB:g} MB/s swapped in",
        source=JUDGEMENT,
        evidence={
            "used_mb": measured.swap_used / MB,
            "swap_mb": measured.swap_total / MB,
            "swapped_in_mb_per_s": rate / MB,
            "swapped_out_mb_per_s": measured.swapped_out_per_s / MB,
        },
    )
    if rate >= SWAPPED_MB * MB:
        return finding(
            Severity.warning,
            f"{megabytes(rate)} a second come back from swap",
            remedy="fewer processes, or more memory; vmstat 5 shows it as si",
        )
    if not measured.swap_total:
        return finding(Severity.ok, "there is no swap")
    used = megabytes(measured.swap_used)
    return finding(Severity.ok, f"{used} of swap in use, {megabytes(rate)} a second come back")


def judge_limit(limit: Limit) -> Finding:
    """A control group whose processes were killed is too small."""
    finding = partial(
        Finding,
        subject="cgroup",
        threshold="no process killed",
        source="Linux: admin-guide/cgroup-v2.rst",
        evidence={
            "limit_mb": limit.bytes / MB,
            "used_mb": limit.used / MB,
            "killed": limit.killed,
            "version": limit.version,
            "group": limit.group,
        },
    )
    size = megabytes(limit.bytes)
    if limit.killed:
        killed = "1 process was" if limit.killed == 1 else f"{limit.killed} processes were"
        return finding(
            Severity.error,
            f"{killed} killed at the cgroup's limit of {size}",
            remedy="raise MemoryMax= of the service, or the container's --memory",
        )
    return finding(Severity.ok, f"the cgroup's limit of {size} has killed no process")


def judge_peaks(processes: int, peak: int, limit: Limit) -> Finding:
    """All processes at the peak of the largest must fit into the limit, or some are killed."""
    needed = processes * peak
    finding = partial(
        Finding,
        subject="peaks",
        threshold="below the cgroup's limit",
        source=f"proc(5), VmHWM; {JUDGEMENT}",
        confidence="medium",
        evidence={
            "processes": processes,
            "peak_mb": peak / MB,
            "limit_mb": limit.bytes / MB,
            "group": limit.group,
        },
    )
    count = f"{processes} process{'' if processes == 1 else 'es'}"
    diagnosis = f"{count} of up to {megabytes(peak)} each"
    if needed <= limit.bytes:
        return finding(
            Severity.ok, f"{diagnosis} fit into the cgroup's limit of {megabytes(limit.bytes)}"
        )
    return finding(
        Severity.warning,
        f"{diagnosis} may take more than the cgroup's limit of {megabytes(limit.bytes)}",
        remedy=f"{max(1, limit.bytes // peak)} instead, or {megabytes(needed)} by MemoryMax= of"
        " the service or the container's --memory",
    )


def judge_pressure(name: str, pressure: Pressure, remedy: str) -> Finding:
    """Judge how much of the time processes waited for memory or for a disk."""
    finding = partial(
        Finding,
        subject=name,
        confidence="medium",
        threshold=f"{PRESSURE_PERCENT:g} % in 5 minutes",
        source=f"Linux: Documentation/accounting/psi.rst; limit: {JUDGEMENT}",
        evidence={"some_percent": pressure.some, "all_percent": pressure.full},
    )
    diagnosis = f"processes waited for {name} in {pressure.some:.2g} % of the last 5 minutes"
    if pressure.some < PRESSURE_PERCENT:
        return finding(Severity.ok, diagnosis)
    return finding(Severity.warning, diagnosis, remedy=remedy)


@check(
    "MEM001",
    "memory",
    "Memory and working set",
    measures=(memory,),
    tags=("memory", "probe"),
)
def shortage(measured: Memory) -> Iterator[Finding]:
    """Repositories, database and index fit into memory, and nothing waits for it or is killed."""
    yield judge_working_set(measured)
    yield judge_swap(measured)
    if measured.limit:
        yield judge_limit(measured.limit)
        if measured.peak:
            yield judge_peaks(measured.processes, measured.peak, measured.limit)
    if measured.memory_pressure:
        yield judge_pressure("memory", measured.memory_pressure, "fewer processes, or more memory")
    if measured.io_pressure:
        remedy = "iotop -ao shows which processes; give Kallithea's data a disk of its own"
        yield judge_pressure("disks", measured.io_pressure, remedy)
