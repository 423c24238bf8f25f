"""Who serves the static files that pages need, and whether they are there: asked, since settings do
not say it.
"""

from __future__ import annotations

import os
from typing import Any, Iterator, Mapping, Optional, Sequence
from urllib.parse import urlsplit

from kallithea_tune.app import page_assets
from kallithea_tune.config.instance import as_bool
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Context, Finding, Severity, check
from kallithea_tune.perf_check.serving.page_times_checks import SECONDS, SHARED, visited
from kallithea_tune.static_export.freshness import named
from kallithea_tune.system import child
from kallithea_tune.text import figure

SWITCH, DOCUMENTED = "serve_static", "static_files"
SLOW_MS = 100
GUIDE = "Kallithea manual, 'Optimizing Kallithea performance', static files"
Files = Mapping[str, Mapping[str, Any]]


def missing(files: Files) -> list[str]:
    """Return the paths that were not answered with 200."""
    return [path for path, got in files.items() if got["status"] != 200]


def judge_built(count: int, lost: Sequence[str]) -> Finding:
    """Without the built front-end, which Kallithea's package does not bring, pages have neither
    style nor scripts.
    """
    common: dict[str, Any] = {
        "subject": "front-end",
        "evidence": {"files": count, "missing": len(lost)},
        "threshold": "0 missing",
        "source": "Kallithea manual, installation (front-end-build)",
    }
    if not lost:
        return Finding(
            Severity.ok, "the front-end is built: the front page's %d files exist" % count, **common
        )
    return Finding(
        Severity.error,
        "the front-end is not built: pages lack {}{}".format(
            lost[0], " and %d more" % ((len(lost) - 1,)) if len(lost) > 1 else ""
        ),
        remedy="kallithea-cli front-end-build, which needs npm; then restart Kallithea",
        **common,
    )


def judge_serving(files: Files, documented_off: bool) -> Finding:
    """The application serves what it has at some cost, and one setting that is said to stop it does
    not.
    """
    taken = sum(got["ms"] for got in files.values())
    common: dict[str, Any] = {
        "subject": "server",
        "threshold": "%d ms a page" % SLOW_MS,
        "source": GUIDE + "; limit: our judgement",
        "evidence": {"by": "the application", "files": len(files), "all_ms": taken},
    }
    remedy = f"gearbox static-export --help: the web server serves them, then {SWITCH} = false"
    if taken > SLOW_MS:
        return Finding(
            Severity.advice,
            "the %d static files of a page take the application %s ms"
            % (len(files), figure(taken)),
            remedy=remedy,
            impact_ms=taken,
            impact_per="first page view",
            **common,
        )
    if documented_off:
        return Finding(
            Severity.advice,
            f"{DOCUMENTED} = false has no effect: the application serves static files",
            remedy=f"set {SWITCH} = false when the web server serves them (gearbox static-export)",
            **common,
        )
    return Finding(
        Severity.ok,
        "the application serves the %d static files of a page in %s ms"
        % (len(files), figure(taken)),
        **common,
    )


def judge_elsewhere(files: Files, by: str, asked: bool) -> Finding:
    """With the application's own serving off, what the web server (or the directory it serves)
    lacks is nowhere.
    """
    lost = missing(files)
    common: dict[str, Any] = {
        "subject": "server",
        "threshold": "0 missing",
        "source": GUIDE,
        "confidence": "high" if asked else "low",
        "evidence": {"by": by, "files": len(files), "missing": len(lost)},
    }
    if not lost:
        said = (
            "the web server serves the %d static files of a page"
            if asked
            else "the %d static files of a page are published for the web server, which was not asked"
        )
        return Finding(Severity.ok, said % len(files), **common)
    return Finding(
        Severity.error,
        "%d static files are served by nobody: %s%s" % (len(lost), by, lost[0]),
        remedy=f"gearbox static-export: publish them again, or remove {SWITCH} = false until then",
        **common,
    )


def addresses(canonical: str, paths: list[str]) -> tuple[str, dict[str, str]]:
    """Return the web server of ``canonical_url`` and, for each path of the application, the one to
    ask it for.
    """
    parts = urlsplit(canonical)
    prefix = parts.path.rstrip("/")
    # Behind PasteDeploy's prefix filter the application's own links begin with the prefix.
    return "{}://{}".format(parts.scheme, parts.netloc.rpartition("@")[2]), {
        path: path if path.startswith(prefix + "/") else prefix + path for path in paths
    }


@check(
    "WEB003",
    "serving-static",
    "Static files",
    "serving",
    seconds=SECONDS,
    writes="cache_dir",
    needs=("ini", "database", "app"),
    tags=("probe", "app", "static"),
    shares=SHARED,
)
def static_files(context: Context) -> Iterator[Finding]:
    """Ask the application, in-process, for every style sheet, script and image that its front page
    names.

    Answered with 200, the application serves them; that takes milliseconds, which are summed. Where
    some are missing, the front-end is not built: an error. Where all are refused, the application's
    serving is off: then they are looked for in the directory it would serve, and the web server at
    canonical_url is asked for them; without canonical_url they are looked for in the static export
    that the ini file names. What is served by nobody is an error. Kallithea's documented
    static_files = false is not believed: in 0.7.0 it has no effect.
    """
    seen = visited(context).get("files")
    files: Optional[Files] = seen[0].result_of(page_assets.ask) if seen else None
    if not files:
        raise NotMeasured("the front page could not be asked for the files it needs")
    settings = context.instance.settings
    served = {path: got for path, got in files.items() if got["status"] == 200}
    if served:
        yield judge_built(len(files), missing(files))
        yield judge_serving(served, not as_bool(settings.get(DOCUMENTED, "true")))
        return
    if all(got["exists"] is not None for got in files.values()):
        yield judge_built(len(files), [path for path, got in files.items() if not got["exists"]])
    yield _elsewhere(context, list(files))


def _elsewhere(context: Context, paths: list[str]) -> Finding:
    """Ask the web server, or else look into the static export that the ini file names."""
    instance, within = context.instance, max(1.0, context.deadline.left)
    canonical = instance.settings.get("canonical_url", "").strip()
    if canonical:
        server, places = addresses(canonical, paths)
        found = child.call(
            "kallithea_tune.perf_check.serving.web_address:ask",
            within + 5,
            url=canonical,
            paths=list(places.values()),
            within=within,
        )
        return judge_elsewhere(found, server, asked=True)
    place = named(instance)
    if place:
        inside = [
            path[len(instance.prefix) :] if path.startswith(instance.prefix + "/") else path
            for path in paths
        ]
        return judge_elsewhere(
            {path: {"status": 200 if os.path.isfile(place + path) else 404} for path in inside},
            place,
            asked=False,
        )
    return Finding(
        Severity.unknown,
        "not measured: the application serves no static files; who does cannot be asked",
        subject="server",
        remedy="set canonical_url, or: gearbox static-export --verify URL",
    )
