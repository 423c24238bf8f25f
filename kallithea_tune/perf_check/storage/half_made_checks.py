"""Archives that were not finished, which users get all the same or which take space for nothing."""

from __future__ import annotations

from functools import partial
from typing import Iterator, Sequence

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect
from kallithea_tune.perf_check.storage.half_made import HalfMade, half_made
from kallithea_tune.text import first_of, megabytes

SOURCE = "kallithea/controllers/files.py, archivefile: tempfile.mkstemp, shutil.move"
MANY_MB = 100
# Of the files that one command removes; measuring again shows the rest.
MOST = 200


def judge_cut(measured: HalfMade) -> Finding:
    """Judge archives that are cut short: Kallithea serves what is there, and makes none anew."""
    count = len(measured.cut)
    finding = partial(
        Finding,
        subject="kept",
        threshold="none is cut short",
        source=SOURCE,
        evidence={"archives": measured.kept, "read": measured.checked, "cut_short": count},
    )
    if not count:
        return finding(Severity.ok, "no cached archive is cut short")
    names = first_of([path.rpartition("/")[2] for path in measured.cut], 1)
    verb = "archive is" if count == 1 else "archives are"
    return finding(
        Severity.warning,
        f"{count} {verb} cut short, and so is each download: {names}",
        remedy=_removal(measured.cut),
    )


def judge_left(measured: HalfMade) -> Finding:
    """Judge archives that were left in the directory for temporary files."""
    count, size = len(measured.left), megabytes(measured.left_bytes)
    finding = partial(
        Finding,
        subject="left",
        threshold=f"{MANY_MB} MB",
        source=f"{SOURCE}; limit: our judgement",
        evidence={"files": count, "size_mb": measured.left_bytes / 1e6, "in": measured.temporary},
    )
    if measured.left_bytes < MANY_MB * 1e6:
        return finding(Severity.ok, f"unfinished archives in {measured.temporary} take {size}")
    return finding(
        Severity.advice,
        f"{count} unfinished {'archive' if count == 1 else 'archives'} in {measured.temporary}"
        f" {'takes' if count == 1 else 'take'} {size}",
        remedy=_removal(measured.left),
    )


def _removal(paths: Sequence[str]) -> Command:
    return Command(("rm", "--", *paths[:MOST]), effect=Effect.deletes)


@check(
    "STO007",
    "storage-half-made",
    "Archives that were not finished",
    measures=(half_made,),
    tags=("disk", "probe"),
    harm=Harm.housekeeping,
)
def unfinished(measured: HalfMade) -> Iterator[Finding]:
    """No archive is cut short, and none is left among the temporary files."""
    yield judge_cut(measured)
    yield judge_left(measured)
