"""How fast the disks below the directories are at what Kallithea asks of them: one measurement for
each mount.
"""

from __future__ import annotations

import contextlib
import statistics
from typing import Any, Callable, Iterator, Mapping, Sequence

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.statistics import p99, p99_interval
from kallithea_tune.perf_check.storage import disk
from kallithea_tune.perf_check.storage.directories_checks import JUDGEMENT, Group, groups
from kallithea_tune.system.mounts import MEMORY, NETWORK, Mount
from kallithea_tune.text import figure

SLOW_SYNC_MS, VOLATILE_MS = 10.0, 0.02
ETCD = "etcd's FAQ: p99 of fdatasync below 10 ms; how it is measured: fio --fdatasync=1 --bs=2300"
SLOW_FILES_S, TOO_SLOW_FILES_S = 2.0, 10.0
GITLAB = "GitLab's file system benchmark: 1000 small files in less than 10 s; 2 s without a shell: our judgement"
SLOW_READ_MB = 20.0
# Counted with strace: a commit of one INSERT, by journal mode.
SYNCS_PER_COMMIT = {"delete": 4, "wal": 1}


def judge_syncs(
    taken: Sequence[float], names: Sequence[str], mount: Mount, journal_mode: str = "delete"
) -> Finding:
    """Judge the milliseconds of each fdatasync by who waits for it: SQLite at each commit, Git for
    each pack pushed.
    """
    typical, worst = statistics.median(taken), p99(taken)
    common: dict[str, Any] = {
        "evidence": {
            "p50_ms": typical,
            "p99_ms": worst,
            "max_ms": max(taken),
            "writes": len(taken),
        },
        "threshold": f"p99 {SLOW_SYNC_MS:g} ms",
        "source": ETCD,
    }
    said = f"an fdatasync on {mount.point} takes {figure(worst)} ms (p99)"
    waits = [name for name in ("database", "repositories") if name in names]
    if waits and typical < VOLATILE_MS and mount.type not in MEMORY | NETWORK:
        return Finding(
            Severity.advice,
            f"an fdatasync on {mount.point} takes {typical:.2g} ms: no disk is that fast",
            confidence="low",
            remedy="make sure that the disk's cache has a battery; see the page",
            **dict(common, threshold=f"{VOLATILE_MS:g} ms", source=JUDGEMENT),
        )
    if worst <= SLOW_SYNC_MS or not waits:
        return Finding(Severity.ok, said, **common)
    sure = len(taken) >= 5 and p99_interval(taken).low > SLOW_SYNC_MS
    common["confidence"] = "high" if sure else "medium"
    if "database" in waits:
        count = SYNCS_PER_COMMIT[journal_mode]
        common["evidence"]["fdatasyncs_per_commit"] = count
        return Finding(
            Severity.warning,
            said,
            remedy="move the SQLite file to a faster disk, or measure --compare-db URL",
            impact_ms=statistics.fmean(taken) * count,
            impact_per="SQLite commit",
            **common,
        )
    return Finding(
        Severity.advice,
        said,
        remedy="a faster disk; Git waits for one in each larger push",
        impact_ms=statistics.fmean(taken),
        impact_per="pack that Git receives",
        **common,
    )


@check(
    "STO001",
    "storage-fsync",
    "Latency of fdatasync",
    "storage",
    seconds=1.5,
    tags=("disk", "probe"),
    writes="1.2 MB in each mount",
)
def sync_latency(context: Context) -> Iterator[Finding]:
    """Append 2300 bytes and wait for the disk to keep them, by write(2) and fdatasync(2), up to 500
    times in a second.

    Once for each mount that holds a directory (STO003 says which share one), in a scratch directory
    inside the most important of them. A 99th percentile above 10 ms is a warning where the SQLite
    file is, which waits four times at each commit (once in WAL mode), and advice where the
    repositories are: Git waits for each pack it receives, Mercurial never. The limit is etcd's for
    its own log, and so is the size of the writes. Less than 0.02 ms is advice: no flash is that
    fast, so something says "kept" before it is.
    """
    for group, found in measured(
        context,
        lambda directory, deadline: disk.measure(
            "syncs", directory, max(0.1, min(1.0, deadline.left - 0.2))
        ),
    ):
        if isinstance(found, Finding):
            yield found
        else:
            yield group.named(
                judge_syncs(
                    found["ms"], list(group.places), group.mount, _journal_mode(context, group)
                )
            )


Measure = Callable[[str, Deadline], Any]


def measured(context: Context, measure: Measure) -> Iterator[tuple[Group, Any]]:
    """Yield each mount with what `measure` returns for a directory on it, or with the finding that
    it could not.

    The time left is shared among the mounts still to come.
    """
    waiting = groups(context)
    if not waiting:
        raise NotMeasured("none of the directories can be used; see STO003")
    for number, group in enumerate(waiting):
        deadline = Deadline(context.deadline.left / (len(waiting) - number))
        try:
            yield group, measure(group.writable, deadline)
        except NotMeasured as error:
            yield group, group.named(Finding(Severity.unknown, f"not measured: {error}"))


def _journal_mode(context: Context, group: Group) -> str:
    """Return ``wal`` or ``delete`` from the header of the SQLite file, which says no more (its file
    format, 1.3.3).
    """
    path = sqlite_file(context.instance.database_url)
    if path and "database" in group.places:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            return "wal" if file.read(20)[18:19] == b"\2" else "delete"
    return "delete"


def judge_files(found: Mapping[str, Any], point: str) -> Finding:
    """Judge the time of 1000 small files, scaled up where fewer were made in time."""
    each = {step: found[step + "_s"] / found[step] for step in ("create", "stat", "read", "unlink")}
    whole = 1000 * sum(each.values())
    slowest_first = sorted(each, key=lambda step: -each[step])
    rates = {step + "_per_s": round(1 / max(each[step], 1e-9)) for step in slowest_first}
    common: dict[str, Any] = {
        "evidence": {**rates, "files": found["create"]},
        "threshold": f"{SLOW_FILES_S:g} s",
        "source": GITLAB,
    }
    said = f"1000 small files on {point} take {figure(whole)} s"
    if whole <= SLOW_FILES_S:
        return Finding(Severity.ok, said, **common)
    return Finding(
        Severity.error if whole > TOO_SLOW_FILES_S else Severity.warning,
        said,
        remedy="a local disk; on NFS: noatime, and a server nearby",
        impact_ms=1000 * each["create"],
        impact_per="new file",
        **common,
    )


def judge_reading(found: Mapping[str, Any], point: str) -> Finding:
    """Judge how fast a large file comes from the disk, which a clone of a repository not in memory
    waits for.
    """
    rate = found["bytes"] / max(found["seconds"], 1e-9) / 1e6
    common: dict[str, Any] = {
        "evidence": {
            "read_mb": found["bytes"] / 1e6,
            "file": "a new one" if found["own"] else "one in use",
        },
        "threshold": f"{SLOW_READ_MB:g} MB/s",
        "source": JUDGEMENT,
    }
    said = f"reading {point}: a large file at {figure(rate)} MB/s"
    if rate >= SLOW_READ_MB:
        return Finding(Severity.ok, said, **common)
    return Finding(
        Severity.warning,
        said,
        remedy="look at the disk's or server's load: iostat -x 5, nfsiostat 5",
        impact_ms=1e5 / rate,
        impact_per="100 MB cloned",
        **common,
    )


@check(
    "STO002",
    "storage-files",
    "Small files and reading",
    "storage",
    seconds=2.0,
    tags=("disk", "probe"),
    writes="up to 1000 files, 17 MB in each mount",
)
def file_rates(context: Context) -> Iterator[Finding]:
    """Make, stat, read and remove up to 1000 files of 1 KB, then read a large file past the page
    cache.

    Once for each mount (STO003), in a scratch directory; the system calls are open, write, close,
    stat, open, read, close, unlink. More than 2 s for 1000 files is a warning (our judgement), more
    than 10 s an error: that is what GitLab allows a shell loop. Sessions, cache locks, Git's loose
    objects and Mercurial's files are all small files.

    Read are up to 32 MB of the largest file found in the directories, of 4 MB at least, with
    O_DIRECT and O_NOATIME; where there is none, a new file of 16 MB. Less than 20 MB/s is a warning
    (our judgement; one rotating disk reads some 100 MB/s).
    """

    def measure(directory: str, deadline: Deadline) -> Any:
        return disk.measure("small_files", directory, max(0.1, min(1.0, deadline.left * 0.5)))

    for group, found in measured(context, measure):
        if isinstance(found, Finding):
            yield found
            continue
        yield group.named(judge_files(found, group.mount.point))
        try:
            read = disk.measure(
                "reading",
                group.writable,
                max(0.1, min(0.6, context.deadline.left - 0.1)),
                directories=[
                    place["real"]
                    for name, place in group.places.items()
                    if name in ("repositories", "archives", "index_dir") and place["exists"]
                ],
            )
            yield group.named(judge_reading(read, group.mount.point), "reading ")
        except NotMeasured as error:
            yield group.named(Finding(Severity.unknown, f"not measured: {error}"), "reading ")
