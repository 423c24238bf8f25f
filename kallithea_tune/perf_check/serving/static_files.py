"""Who serves the static files of the front page: the application, the web server, or nobody."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Mapping, Optional, Sequence
from urllib.parse import urlsplit

from kallithea_tune.app.package import package_directory
from kallithea_tune.app.page_assets import Asset
from kallithea_tune.config.instance import Instance, as_bool
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.remedy import Command, Remedy, app_options
from kallithea_tune.perf_check.serving import web_address
from kallithea_tune.perf_check.serving.page_times import visits
from kallithea_tune.static_export.release.freshness import configured_export
from kallithea_tune.system import child
from kallithea_tune.system.account import owner_name

# TurboGears2's option, and the one that Kallithea documents.
SWITCH, DOCUMENTED = "serve_static", "static_files"


@dataclass(frozen=True)
class OutsideFiles:
    """Which files there are at `place`: a web server, or the directory of a static export.

    `statuses` are the HTTP statuses by path; those of a directory are 200 and 404.
    """

    place: str
    requested: bool
    statuses: Mapping[str, int]


@dataclass(frozen=True)
class StaticFiles:
    """What the application answers for each static file of its front page.

    Where it serves none, `outside` says who does. It is None where the ini file has neither a
    canonical_url nor an export, and where the web server does not answer: `failure` is the reason.
    `documented_off` is Kallithea's documented switch, ``static_files = false``. `build` builds the
    front-end, and with `serve` the application serves it.
    """

    files: Mapping[str, Asset]
    documented_off: bool
    build: Remedy = ""
    serve: Remedy = ""
    outside: Optional[OutsideFiles] = None
    failure: str = ""

    @property
    def examined(self) -> Examined:
        """The files of the front page."""
        return Examined(len(self.files), len(self.files), "static file")


# Without time of its own: it gets what the visits leave of theirs.
@measurement(uses=(visits,))
def static_files(context: Context) -> StaticFiles:
    """Look for the front page's static files outside, if the application serves none.

    They are requested from the web server at canonical_url. Without that, they are looked up in the
    static export that the ini file sets. Raises NotMeasured where no files are known.
    """
    files = context.measure(visits).application.files
    if not files:
        raise NotMeasured("the front page was not read, so its static files are unknown")
    documented_off = not as_bool(context.instance.settings.get(DOCUMENTED, "true"))
    remedies = (
        front_end_build(context.instance),
        app_options(context.instance.section, {SWITCH: "true"}),
    )
    static = StaticFiles(files, documented_off, *remedies)
    if any(file.status == 200 for file in files.values()):
        return static
    try:
        return replace(static, outside=_outside(context, list(files)))
    except NotMeasured as error:
        return replace(static, failure=str(error))


def front_end_build(instance: Instance) -> Command:
    """Return the command that builds Kallithea's front-end."""
    program, *_ = instance.program("kallithea-cli")
    note = "needs npm; then restart Kallithea"
    return Command((program, "front-end-build"), user=owner_name(package_directory()), note=note)


def _outside(context: Context, paths: Sequence[str]) -> Optional[OutsideFiles]:
    canonical = context.instance.settings.get("canonical_url", "").strip()
    if not canonical:
        return _exported(context.instance, paths)
    server, addresses = addresses_of(canonical, paths)
    within = max(1.0, context.deadline.left)
    statuses = child.call(
        web_address.statuses,
        within + 5,
        url=canonical,
        paths=list(addresses.values()),
        within=within,
    )
    return OutsideFiles(server, True, statuses)


def _exported(instance: Instance, paths: Sequence[str]) -> Optional[OutsideFiles]:
    directory = configured_export(instance)
    if not directory:
        return None
    below = f"{instance.prefix}/"
    inside = [path[len(below) - 1 :] if path.startswith(below) else path for path in paths]
    statuses = {path: 200 if os.path.isfile(directory + path) else 404 for path in inside}
    return OutsideFiles(directory, False, statuses)


def addresses_of(canonical: str, paths: Sequence[str]) -> tuple[str, Mapping[str, str]]:
    """Return the web server of ``canonical_url``, and each path of the application as it has it."""
    parts = urlsplit(canonical)
    host = parts.netloc.rpartition("@")[2]
    prefix = parts.path.rstrip("/")
    # With PasteDeploy's prefix filter the links of the application begin with the prefix already.
    return f"{parts.scheme}://{host}", {
        path: path if path.startswith(f"{prefix}/") else prefix + path for path in paths
    }
