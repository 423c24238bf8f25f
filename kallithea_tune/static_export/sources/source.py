"""What the application serves: from the application itself, or the manifest while nothing moved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence

from kallithea_tune.app.owner import owner_of
from kallithea_tune.app.package import code, kallithea_version, package_directory, title
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.static_export.release.freshness import compare
from kallithea_tune.static_export.release.manifest import SUFFIXES, Manifest, Recipe, StaticFile
from kallithea_tune.static_export.release.plan import Served
from kallithea_tune.static_export.sources.collect import collect, overlaid
from kallithea_tune.static_export.sources.proof import proven
from kallithea_tune.static_export.sources.references import check_complete, unreferenced
from kallithea_tune.system.account import acting_as

if TYPE_CHECKING:
    from kallithea_tune.app.visit import Answer

SECONDS = 60.0  # for loading the application
SWITCH = "serve_static"


def served(instance: Instance, before: Optional[Manifest], recipe: Recipe) -> Served:
    """Return what the application serves; it is not loaded while its published version stays.

    Raises ConfigError when the application does not load or serves nothing, Refused when its
    front-end is not built.
    """
    app, version = title(instance.use), kallithea_version()
    roots = before.roots if before and (before.app, before.version) == (app, version) else ()
    if not roots or not all(map(os.path.isdir, roots)):
        roots = roots_of(instance)
    known = before.sources if before else {}
    # The application says which directories it serves, and must not have root publish others.
    with acting_as(owner_of(instance).account):
        files = collect(roots, known)
    files = overlaid(files, collect(recipe.overlays, known))
    same = before is not None and (before.version, before.roots) == (version, roots)
    differences = compare(before, files) if before else None
    if not (same and differences and not differences.gone):
        check_complete(files, package_directory())
    if before and same and recipe == before.recipe and not any(differences or ()):
        left_out = set(before.left_out) & set(files)
    else:
        left_out = _left_out(files, recipe, code(instance.use))
    published = {path: file for path, file in files.items() if path not in left_out}
    lasting = proven(published, recipe.overlays, version)
    return Served(app, version, roots, published, sorted(left_out), lasting)


def _left_out(files: Mapping[str, StaticFile], recipe: Recipe, code: Sequence[str]) -> set[str]:
    unneeded = unreferenced(files, code) if recipe.prune else ()
    return in_place_of_variants(files).union(unneeded)


def in_place_of_variants(files: Mapping[str, StaticFile]) -> set[str]:
    """Return the files where another's variant belongs: ``style.css.gz`` beside ``style.css``."""
    return {
        path + suffix for path in files for suffix in SUFFIXES.values() if path + suffix in files
    }


def roots_of(instance: Instance) -> tuple[str, ...]:
    """Load the application and return the directories it serves. Raises ConfigError without any."""
    answer = _request(
        instance,
        "/_admin/login",
        {SWITCH: "true"},
        roots_here,
    )
    roots = answer.result_of(roots_here)
    if not roots:
        raise ConfigError(
            f"the application {instance.uri} serves no static files that could be exported"
        )
    return tuple(roots)


def status_of(instance: Instance, path: str, settings: Mapping[str, str]) -> int:
    """Return the status of the application's own response for a file, with `settings` changed."""
    return _request(instance, "/" + path, settings).status


def _request(
    instance: Instance,
    path: str,
    settings: Mapping[str, str],
    prepare: Optional[Callable[[], list[str]]] = None,
) -> Answer:
    from kallithea_tune.app.loading import DoesNotLoad
    from kallithea_tune.app.visit import Request, visit
    from kallithea_tune.db.engine import require_accepted

    request = Request(path, prepare=prepare)
    try:
        answer = visit(instance, [request], SECONDS, settings=settings).answers[0]
    except DoesNotLoad as error:
        require_accepted(instance.database_url)
        raise ConfigError(f"the application does not load ({error.reason})") from None
    except NotMeasured as error:
        raise ConfigError(f"the application cannot be queried: {error}") from None
    if not answer.status:
        raise ConfigError(f"the application did not respond within {SECONDS:.0f} s")
    return answer


def roots_here() -> list[str]:
    """Return the directories that this process's application serves; a `prepare` of a visit."""
    import gc

    roots: dict[str, None] = {}
    for candidate in gc.get_objects():
        if type(candidate).__name__ == "StaticsMiddleware":
            root = getattr(candidate, "doc_root", None)
            if isinstance(root, str):
                roots[os.path.realpath(root)] = None
    return list(roots)
