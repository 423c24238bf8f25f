"""How fast the disks below the directories are at what Kallithea does with them."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial
from typing import Iterator, Sequence

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.statistics import p99, p99_interval
from kallithea_tune.perf_check.storage.directories_checks import JUDGEMENT
from kallithea_tune.perf_check.storage.disk import (
    AllFileRates,
    Reading,
    SmallFiles,
    SyncLatency,
    file_rates,
    sync_latency,
)
from kallithea_tune.system.busyness import Part
from kallithea_tune.system.mounts import MEMORY, NETWORK, Mount
from kallithea_tune.text import figure

SLOW_SYNC_MS, VOLATILE_MS = 10.0, 0.02
ETCD = "etcd's FAQ: p99 of fdatasync below 10 ms; how it is measured: fio --fdatasync=1 --bs=2300"
SLOW_FILES_S, TOO_SLOW_FILES_S = 2.0, 10.0
GITLAB = (
    "GitLab's file system benchmark: 1000 small files in less than 10 s; "
    "2 s without a shell: our judgement"
)
SLOW_READ_MB = 20.0
# Counted with strace: a commit of one INSERT, by journal mode.
DELETE_SYNCS, WAL_SYNCS = 4, 1
SYNCS_PER_COMMIT = {"delete": DELETE_SYNCS, "wal": WAL_SYNCS}


def judge_syncs(
    taken: Sequence[float], names: Sequence[str], mount: Mount, journal_mode: str = "delete"
) -> Finding:
    """Judge the milliseconds of each fdatasync by who waits for it.

    SQLite waits at each commit, Git for each pack pushed.
    """
    typical, worst = statistics.median(taken), p99(taken)
    figures = {"p50_ms": typical, "p99_ms": worst, "max_ms": max(taken), "writes": len(taken)}
    waits = [name for name in ("database", "repositories") if name in names]
    if waits and typical < VOLATILE_MS and mount.type not in MEMORY | NETWORK:
        return Finding(
            Severity.advice,
            f"an fdatasync on {mount.point} takes {typical:.2g} ms: no disk is that fast",
            subject=mount.point,
            evidence=figures,
            confidence="low",
            threshold=f"{VOLATILE_MS:g} ms",
            source=JUDGEMENT,
            remedy="make sure that the disk's cache has a battery; "
            "see gearbox perf-check --explain STO001",
        )
    finding = Finding(
        Severity.ok,
        f"an fdatasync on {mount.point} takes {figure(worst)} ms (p99)",
        subject=mount.point,
        evidence=figures,
        threshold=f"p99 {SLOW_SYNC_MS:g} ms",
        source=ETCD,
    )
    if worst > SLOW_SYNC_MS and waits:
        if not _certain(taken):
            return replace(finding, confidence="medium")
        return _slow(finding, taken, SYNCS_PER_COMMIT[journal_mode] if "database" in waits else 0)
    return finding


def _certain(taken: Sequence[float]) -> bool:
    """Whether the percentile is above the limit, rather than one write of a few by chance."""
    least = p99_interval(taken).low if len(taken) >= 5 else min(taken)
    return least > SLOW_SYNC_MS


def _slow(finding: Finding, taken: Sequence[float], per_commit: int) -> Finding:
    """Turn the finding into what it means for SQLite, or without commits there, for Git."""
    slow = partial(
        replace,
        finding,
        confidence="high" if len(taken) >= 5 else "medium",
        excess=p99(taken) / SLOW_SYNC_MS,
    )
    if per_commit:
        return slow(
            severity=Severity.warning,
            evidence={**finding.evidence, "fdatasyncs_per_commit": per_commit},
            remedy="move the SQLite file to a faster disk, or measure --compare-db URL",
            impact_ms=statistics.fmean(taken) * per_commit,
            impact_per="SQLite commit",
        )
    return slow(
        severity=Severity.advice,
        remedy="a faster disk; Git waits for one in each larger push",
        impact_ms=statistics.fmean(taken),
        impact_per="pack that Git receives",
    )


@check(
    "STO001",
    "storage-fsync",
    "Latency of fdatasync",
    measures=(sync_latency,),
    tags=("disk", "probe"),
    disturbed_by=(Part.cpu, Part.disk),
)
def latency(measured: SyncLatency) -> Iterator[Finding]:
    """An fdatasync takes less than 10 ms where SQLite or Git waits for it."""
    for result in measured.results:
        system = result.file_system
        if result.value is None:
            yield _unknown(system.mount.point, result.reason)
        else:
            names = list(system.directories)
            yield judge_syncs(result.value.ms, names, system.mount, measured.journal_mode)


def _unknown(subject: str, reason: str) -> Finding:
    return Finding(Severity.unknown, f"not measured: {reason}", subject=subject)


def judge_files(files: SmallFiles, point: str) -> Finding:
    """Judge the time of 1000 small files, scaled up where fewer were made in time."""
    steps = {
        "create": files.create,
        "stat": files.stat,
        "read": files.read,
        "unlink": files.unlink,
    }
    slowest_first = sorted(steps, key=lambda name: -steps[name].each)
    rates = {f"{name}_per_s": round(1 / max(steps[name].each, 1e-9)) for name in slowest_first}
    finding = partial(
        Finding,
        subject=point,
        evidence={**rates, "files": files.create.count},
        threshold=f"{SLOW_FILES_S:g} s",
        source=GITLAB,
    )
    seconds = 1000 * sum(step.each for step in steps.values())
    diagnosis = f"1000 small files on {point} take {figure(seconds)} s"
    if seconds <= SLOW_FILES_S:
        return finding(Severity.ok, diagnosis)
    return finding(
        Severity.error if seconds > TOO_SLOW_FILES_S else Severity.warning,
        diagnosis,
        remedy="a local disk; on NFS: noatime, and a server nearby",
        impact_ms=1000 * files.create.each,
        impact_per="new file",
        excess=seconds / SLOW_FILES_S,
    )


def judge_reading(reading: Reading, point: str) -> Finding:
    """Judge how fast a large file is read from the disk.

    A clone of a repository that is not in memory waits for it.
    """
    rate = reading.bytes / max(reading.seconds, 1e-9) / 1e6
    finding = partial(
        Finding,
        subject=f"reading {point}",
        evidence={
            "read_mb": reading.bytes / 1e6,
            "file": "a new one" if reading.own else "one in use",
        },
        threshold=f"{SLOW_READ_MB:g} MB/s",
        source=JUDGEMENT,
    )
    diagnosis = f"reading {point}: a large file at {figure(rate)} MB/s"
    if rate >= SLOW_READ_MB:
        return finding(Severity.ok, diagnosis)
    return finding(
        Severity.warning,
        diagnosis,
        remedy="look at the disk's or server's load: iostat -x 5, nfsiostat 5",
        impact_ms=1e5 / rate,
        impact_per="100 MB cloned",
        excess=SLOW_READ_MB / rate,
    )


@check(
    "STO002",
    "storage-files",
    "Small files and reading",
    measures=(file_rates,),
    tags=("disk", "probe"),
    harm=Harm.some_pages,
    disturbed_by=(Part.cpu, Part.disk),
)
def rates(measured: AllFileRates) -> Iterator[Finding]:
    """1000 small files take less than 2 s, and a large one is read at 20 MB/s or more."""
    for result in measured.results:
        point = result.file_system.mount.point
        if result.value is None:
            yield _unknown(point, result.reason)
            continue
        yield judge_files(result.value.small_files, point)
        if result.value.reading:
            yield judge_reading(result.value.reading, point)
        else:
            yield _unknown(f"reading {point}", result.value.not_read)
