"""Whether the static files that pages need are there, and who serves them."""

from __future__ import annotations

import functools
from typing import Iterator, Mapping, Sequence

from kallithea_tune.app.page_assets import Asset
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.remedy import Remedy
from kallithea_tune.perf_check.serving.static_files import (
    DOCUMENTED,
    SWITCH,
    OutsideFiles,
    StaticFiles,
    static_files,
)
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure, first_of

SLOW_MS = 100
GUIDE = "Kallithea manual, 'Optimizing Kallithea performance', static files"


@check(
    "WEB003",
    "serving-static",
    "Static files",
    measures=(static_files,),
    source=GUIDE,
    tags=("probe", "app", "static"),
    disturbed_by=(Part.cpu,),
)
def served_files(static: StaticFiles) -> Iterator[Finding]:
    """Judge who answers for the style sheets, scripts and images of the front page.

    A file that is missing, or that nobody serves, is an error. If the application serves them, the
    sum of their times is judged.
    """
    served = {path: file for path, file in static.files.items() if file.status == 200}
    if served:
        yield judge_built(len(static.files), missing(static.files), static.build)
        yield judge_serving(served, static.documented_off)
        return
    if all(file.exists is not None for file in static.files.values()):
        absent = [path for path, file in static.files.items() if not file.exists]
        yield judge_built(len(static.files), absent, static.build)
    if static.failure:
        raise NotMeasured(static.failure)
    if static.outside:
        yield judge_outside(static.outside, static.serve)
        return
    yield Finding(
        Severity.unknown,
        "not measured: the application serves no static files, and which server does is unknown",
        subject="server",
        remedy="set canonical_url, or: gearbox static-export --verify URL",
    )


def missing(files: Mapping[str, Asset]) -> list[str]:
    """Return the paths that were not answered with 200."""
    return [path for path, file in files.items() if file.status != 200]


def judge_built(count: int, absent: Sequence[str], remedy: Remedy) -> Finding:
    """Kallithea's package lacks the built front-end; without it pages have no style or scripts."""
    finding = functools.partial(
        Finding,
        subject="front-end",
        evidence={"files": count, "missing": len(absent)},
        threshold="0 missing",
        source="Kallithea manual, installation (front-end-build)",
    )
    if not absent:
        return finding(Severity.ok, f"the front-end is built: the front page's {count} files exist")
    return finding(
        Severity.error,
        f"the front-end is not built: pages lack {first_of(absent, 1)}",
        remedy=remedy,
    )


def judge_serving(files: Mapping[str, Asset], documented_off: bool) -> Finding:
    """The application can serve static files at some cost; the documented switch has no effect."""
    total_ms = sum(file.ms for file in files.values())
    finding = functools.partial(
        Finding,
        subject="server",
        evidence={"by": "the application", "files": len(files), "all_ms": total_ms},
        threshold=f"{SLOW_MS} ms a page",
        source=f"{GUIDE}; limit: our judgement",
    )
    if total_ms > SLOW_MS:
        return finding(
            Severity.advice,
            f"the {len(files)} static files of a page take the application {figure(total_ms)} ms",
            remedy=f"gearbox static-export --help: the web server serves them, {SWITCH} = false",
            impact_ms=total_ms,
            impact_per="first page view",
        )
    if documented_off:
        return finding(
            Severity.advice,
            f"{DOCUMENTED} = false has no effect: the application serves static files",
            remedy=f"set {SWITCH} = false when the web server serves them (gearbox static-export)",
        )
    return finding(
        Severity.ok,
        f"the application serves the {len(files)} static files of a page in {figure(total_ms)} ms",
    )


def judge_outside(outside: OutsideFiles, remedy: Remedy) -> Finding:
    """If the application serves no static files, nobody serves those that are missing outside."""
    absent = [path for path, status in outside.statuses.items() if status != 200]
    count = len(outside.statuses)
    finding = functools.partial(
        Finding,
        subject="server",
        evidence={"by": outside.place, "files": count, "missing": len(absent)},
        threshold="0 missing",
        confidence="high" if outside.requested else "low",
    )
    if absent:
        return finding(
            Severity.error,
            f"{len(absent)} static files are not served: {outside.place}{absent[0]}",
            remedy=remedy,
        )
    if outside.requested:
        return finding(Severity.ok, f"the web server serves the {count} static files of a page")
    return finding(
        Severity.ok,
        f"the {count} static files of a page are published; the web server was not tried",
    )
