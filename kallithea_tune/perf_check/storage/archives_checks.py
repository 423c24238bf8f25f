"""The archives that Kallithea keeps: what they take, and how a new one gets there."""

from __future__ import annotations

import shlex
import tempfile
from typing import Any, Iterator, Mapping

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.storage import disk
from kallithea_tune.perf_check.storage.directories_checks import JUDGEMENT, places
from kallithea_tune.system import child
from kallithea_tune.system.scratch import scratch
from kallithea_tune.text import megabytes

MANY_BYTES, OLD_DAYS = 1e9, 30
SOURCE = "kallithea/controllers/files.py, archivefile"


def judge_archives(found: Mapping[str, Any], directory: str) -> Finding:
    """Kallithea keeps every archive for ever: say what those that nobody asked for lately take."""
    size, old = found["bytes"], found["old_bytes"]
    common: dict[str, Any] = {
        "subject": "kept",
        "evidence": {"archives": found["files"], "old": found["old_files"], "old_mb": old / 1e6},
        "threshold": "1 GB",
        "source": f"{SOURCE}: none is ever deleted; limit: {JUDGEMENT}",
    }
    said = "the archives kept take {}{}".format(
        "" if found["complete"] else "at least ", megabytes(size)
    )
    if size < MANY_BYTES:
        return Finding(Severity.ok, said, **common)
    return Finding(
        Severity.advice,
        f"{said}, and none is ever deleted",
        remedy="cron: 0 4 * * * find %s -maxdepth 1 -type f -name '*-????????????.*' -mtime +%d -delete"
        % (shlex.quote(directory), OLD_DAYS),
        **common,
    )


def judge_moving(found: Mapping[str, Any], temporary: str, directory: str) -> Finding:
    """An archive is made in TMPDIR and moved; between file systems that is a copy, which the user
    waits for.
    """
    each = found["ms"] / found["bytes"] * 1e8
    common: dict[str, Any] = {
        "subject": "moved",
        "threshold": "renamed, not copied",
        "evidence": {
            "sample_mb": found["bytes"] / 1e6,
            "took_ms": found["ms"],
            "tmpdir": temporary,
        },
        "source": f"{SOURCE}: tempfile.mkstemp, shutil.move",
        "confidence": "medium",
    }
    if not found["copied"]:
        return Finding(
            Severity.ok, f"a new archive is moved from {temporary} by renaming it", **common
        )
    return Finding(
        Severity.advice,
        f"a new archive is moved from {temporary} by copying it",
        remedy=f"in Kallithea's service, a TMPDIR on the file system of {directory}",
        impact_ms=each,
        impact_per="new archive of 100 MB",
        **common,
    )


@check(
    "STO005",
    "storage-archives",
    "Archives for download",
    "storage",
    seconds=0.7,
    tags=("disk", "probe"),
    writes="8 MB in TMPDIR and in archive_cache_dir",
)
def archives(context: Context) -> Iterator[Finding]:
    """Count the archives in archive_cache_dir, and move a file of 8 MB from TMPDIR there as
    Kallithea moves a new one.

    Kallithea makes an archive in TMPDIR, moves it with shutil.move, and never deletes it: from 1 GB
    on that is advice (our judgement), with the line for cron; old means 30 days. Where rename(2)
    does not reach from TMPDIR to the directory, the move copies every byte while the user waits:
    advice, with the time measured. TMPDIR is that of this command; Kallithea's own service may have
    another, by systemd's PrivateTmp for one.
    """
    directory = context.instance.directory("archive_cache_dir")
    if not directory:
        yield Finding(
            Severity.advice,
            "archives are not kept: each download makes its archive anew",
            subject="kept",
            threshold="archive_cache_dir is set",
            source=SOURCE,
            remedy="archive_cache_dir = %(here)s/data/tarballcache",
        )
        return
    place = places(context)["archives"]
    if place.get("silent") or place["error"]:
        raise NotMeasured(f"{directory} cannot be used; see STO003")
    yield judge_archives(
        child.call(
            "kallithea_tune.perf_check.storage.archives:count",
            context.deadline.left + 2,
            directory=directory,
            old_days=OLD_DAYS,
            within=context.deadline.left / 2,
        ),
        directory,
    )
    temporary = tempfile.gettempdir()
    with scratch(temporary) as inside:
        yield judge_moving(
            disk.measure("moving", place["real"], context.deadline.left, temporary=inside),
            temporary,
            directory,
        )
