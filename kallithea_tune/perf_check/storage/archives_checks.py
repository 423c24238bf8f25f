"""The archives that Kallithea keeps: the space they take, and how a new one gets there."""

from __future__ import annotations

from functools import partial
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, app_options
from kallithea_tune.perf_check.storage.archives import (
    OLD_DAYS,
    Archives,
    KeptArchives,
    Move,
    archives,
)
from kallithea_tune.perf_check.storage.directories_checks import JUDGEMENT
from kallithea_tune.text import megabytes

MANY_GB = 1
SOURCE = "kallithea/controllers/files.py, archivefile"


def judge_kept(kept: KeptArchives, directory: str) -> Finding:
    """Judge the space that archives take, of which Kallithea deletes none."""
    finding = partial(
        Finding,
        subject="kept",
        evidence={
            "archives": kept.files,
            "old": kept.old_files,
            "old_mb": kept.old_bytes / 1e6,
        },
        threshold=f"{MANY_GB} GB",
        source=f"{SOURCE}: none is ever deleted; limit: {JUDGEMENT}",
    )
    more = "" if kept.complete else "at least "
    diagnosis = f"the archives kept take {more}{megabytes(kept.bytes)}"
    if kept.bytes < MANY_GB * 1e9:
        return finding(Severity.ok, diagnosis)
    return finding(
        Severity.advice,
        f"{diagnosis}, and none is ever deleted",
        remedy=deletion(directory, OLD_DAYS),
    )


def deletion(directory: str, days: int) -> Command:
    """Return the command that deletes the archives made more than so many days ago."""
    words = ("find", directory, "-maxdepth", "1", "-type", "f", "-name", "*-????????????.*")
    old = ("-mtime", f"+{days}", "-delete")
    return Command(words + old, note="daily, by cron", effect=Effect.deletes)


def judge_move(move: Move, temporary: str, directory: str) -> Finding:
    """Judge the move of a new archive from TMPDIR, for which the user waits.

    Between file systems it is a copy.
    """
    finding = partial(
        Finding,
        subject="moved",
        threshold="renamed, not copied",
        evidence={"sample_mb": move.bytes / 1e6, "took_ms": move.ms, "tmpdir": temporary},
        source=f"{SOURCE}: tempfile.mkstemp, shutil.move",
        confidence="medium",
    )
    if not move.copied:
        return finding(Severity.ok, f"a new archive is moved from {temporary} by renaming it")
    return finding(
        Severity.advice,
        f"a new archive is moved from {temporary} by copying it",
        remedy=f"in Kallithea's service, a TMPDIR on the file system of {directory}",
        impact_ms=move.ms / move.bytes * 1e8,
        impact_per="new archive of 100 MB",
    )


@check(
    "STO005",
    "storage-archives",
    "Archives for download",
    measures=(archives,),
    tags=("disk", "probe"),
    harm=Harm.some_pages,
)
def kept_archives(measured: Archives) -> Iterator[Finding]:
    """Archives are kept, take less than 1 GB, and a new one is renamed from TMPDIR, not copied."""
    if not measured.kept:
        yield Finding(
            Severity.advice,
            "archives are not cached: each download builds its archive again",
            subject="kept",
            threshold="archive_cache_dir is set",
            source=SOURCE,
            remedy=app_options(
                measured.section, {"archive_cache_dir": "%(here)s/data/tarballcache"}
            ),
        )
        return
    yield judge_kept(measured.kept, measured.directory)
    if not measured.moved:
        raise NotMeasured(measured.not_moved)
    yield judge_move(measured.moved, measured.temporary, measured.directory)
