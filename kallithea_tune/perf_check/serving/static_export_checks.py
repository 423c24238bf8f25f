"""Whether the published static files are those of the application that is installed now."""

from __future__ import annotations

from typing import Iterator, Optional

from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.static_export.freshness import (
    SECTION,
    State,
    configured_export,
    renewal_command,
    state,
)

SOURCE = "docs/static-export.rst, 'After an upgrade'"


def judge_export(found: Optional[State], place: str, remedy: str) -> Finding:
    """Pages ask for the files of their own version; old ones in their place break them."""
    if found is None:
        return Finding(
            Severity.error,
            f"no static files are published where [{SECTION}] says: {place}",
            subject=place,
            threshold="all published",
            source=SOURCE,
            remedy=remedy,
        )
    evidence = {
        "published": found.manifest.version,
        "installed": found.version,
        "files": len(found.manifest.files),
        **{kind: len(paths) for kind, paths in found.differences.by_kind().items() if paths},
    }
    if found.damaged:
        evidence["damaged"] = len(found.damaged)
    if not found.stale:
        return Finding(
            Severity.ok,
            "the published static files are those of the application",
            subject=place,
            evidence=evidence,
            threshold="no difference",
            source=SOURCE,
        )
    return Finding(
        Severity.error,
        "the static export is stale: {}".format(", ".join(found.stale)),
        subject=place,
        evidence=evidence,
        threshold="no difference",
        source=SOURCE,
        remedy=remedy,
    )


@check(
    "WEB009",
    "static-export-stale",
    "Published static files against the application's",
    "serving",
    seconds=1.0,
    tags=("static",),
)
def static_export_stale(context: Context) -> Iterator[Finding]:
    """Compare what static-export published with what is installed now, file by file, without
    loading the application.

    The place is option static_export of section [kallithea_tune], which static-export --switch
    writes. After an upgrade, the web server hands out the old version's files until static-export
    runs again.
    """
    place = configured_export(context.instance)
    if not place:
        yield Finding(Severity.ok, f"no static export is named in [{SECTION}] of the ini file")
        return
    try:
        found = state(context.instance.use, place)
    except TuneError as error:
        raise NotMeasured(str(error)) from None
    recipe = found.recipe if found else None
    yield judge_export(found, place, renewal_command(context.instance, place, recipe))
