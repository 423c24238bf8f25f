"""Whether the published static files are those of the application that is installed now."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.serving.static_export import PublishedExport, published_export
from kallithea_tune.static_export.release.freshness import SECTION, State


@check(
    "WEB009",
    "static-export-stale",
    "Published static files against the application's",
    measures=(published_export,),
    source="docs/static-export.rst, 'After an upgrade'",
    tags=("static",),
)
def static_export_stale(export: PublishedExport) -> Iterator[Finding]:
    """Any difference between the static export and the installed application is an error."""
    if not export.directory:
        yield Finding(
            Severity.ok, f"section [{SECTION}] of the ini file configures no static export"
        )
        return
    yield judge_export(export)


def judge_export(export: PublishedExport) -> Finding:
    """Pages request the files of their own version; old ones in their place break them."""
    release, directory = export.state, export.directory
    if release is None:
        return Finding(
            Severity.error,
            f"section [{SECTION}] points at {directory}, but no static files are published there",
            subject=directory,
            threshold="all published",
            remedy=export.renewal,
        )
    finding = functools.partial(
        Finding,
        subject=directory,
        evidence=_evidence(release),
        threshold="no difference",
    )
    if not release.stale:
        return finding(Severity.ok, "the published static files are those of the application")
    if release.unbuilt:
        # Only a built front-end can be published; then the renewal is next.
        return finding(
            Severity.error,
            "the front-end was not built for the installed version before it was published",
            remedy=export.build,
        )
    return finding(
        Severity.error,
        f"the static export is stale: {', '.join(release.stale)}",
        remedy=export.renewal,
    )


def _evidence(release: State) -> dict[str, object]:
    counts = {**release.differences.by_kind(), "damaged": release.damaged}
    return {
        "published": release.manifest.version,
        "installed": release.version,
        **({"front-end": release.unbuilt} if release.unbuilt else {}),
        "files": len(release.manifest.files),
        **{kind: len(paths) for kind, paths in counts.items() if paths},
    }
