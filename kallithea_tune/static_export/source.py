"""What the application serves: asked of the application, or of the manifest while nothing moved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable, Mapping, Optional

from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.static_export.collect import collect, distribution
from kallithea_tune.static_export.freshness import compare
from kallithea_tune.static_export.manifest import SUFFIXES, Manifest, Recipe, StaticFile
from kallithea_tune.static_export.plan import Served
from kallithea_tune.static_export.references import check_complete, unreferenced

if TYPE_CHECKING:
    from kallithea_tune.app.visit import Answer

SECONDS = 60.0  # for loading the application
SWITCH = "serve_static"


def served(instance: Instance, before: Optional[Manifest], recipe: Recipe) -> Served:
    """Return what the application behind `instance` serves; it is not loaded while its version is
    the published one.

    Raises ConfigError when the application does not load or serves nothing, Refused when its
    front-end is not built.
    """
    app, version = distribution(instance.use)
    roots = before.roots if before and (before.app, before.version) == (app, version) else ()
    if not roots or not all(map(os.path.isdir, roots)):
        roots = roots_of(instance)
    files = collect([*roots, *recipe.overlays], before.sources if before else {})
    package = package_of(instance)
    same = before is not None and (before.version, before.roots) == (version, roots)
    differences = compare(before, files) if before else None
    if package and not (same and differences and not differences.gone):
        check_complete(files, package)
    if before and same and recipe == before.recipe and not any(differences or ()):
        left_out = set(before.left_out) & set(files)
    else:
        left_out = twins(files) | (
            set(unreferenced(files, _needed(package))) if recipe.prune else set()
        )
    kept = {path: file for path, file in files.items() if path not in left_out}
    return Served(app, version, roots, kept, sorted(left_out))


def twins(files: Mapping[str, StaticFile]) -> set[str]:
    """Return the files that stand where a variant of another one belongs: ``style.css.gz`` beside
    ``style.css``.
    """
    return {
        path + suffix for path in files for suffix in SUFFIXES.values() if path + suffix in files
    }


def package_of(instance: Instance) -> str:
    """Return the directory of the application's package; nothing where only loading it would
    tell.
    """
    from kallithea_tune.app.beaker_config import package_directory

    try:
        return package_directory(instance.use)
    except NotMeasured:
        return ""


def _needed(package: str) -> str:
    if not package:
        raise ConfigError(
            "--prune: the application's templates are not found, so nothing tells what they refer to"
        )
    return package


def roots_of(instance: Instance) -> tuple[str, ...]:
    """Load the application and return its directories of static files. Raises ConfigError when it
    has none.
    """
    answer = _ask(
        instance,
        "/_admin/login",
        {SWITCH: "true"},
        roots_here,
    )
    roots = answer.result_of(roots_here)
    if not roots:
        raise ConfigError(
            f"the application behind {instance.uri} serves no static files that could be exported"
        )
    return tuple(roots)


def status_of(instance: Instance, path: str, settings: Mapping[str, str]) -> int:
    """Ask the application itself for a file, with `settings` in place of its own; return the status
    of its answer.
    """
    return _ask(instance, "/" + path, settings).status


def _ask(
    instance: Instance,
    path: str,
    settings: Mapping[str, str],
    prepare: Optional[Callable[[], list[str]]] = None,
) -> Answer:
    from kallithea_tune.app.visit import DoesNotLoad, Request, visit

    try:
        answer = visit(
            instance, [Request(path, prepare=prepare)], SECONDS, settings=settings
        ).answers[0]
    except DoesNotLoad as error:
        raise ConfigError(
            f"the application does not load ({error.kind}: {error.message})"
        ) from None
    except NotMeasured as error:
        raise ConfigError(f"the application cannot be asked: {error}") from None
    if not answer.status:
        raise ConfigError("the application did not answer within %d s" % SECONDS)
    return answer


def roots_here() -> list[str]:
    """Return the directories that the application loaded in this process serves; for the visit's
    child only.
    """
    import gc

    found: dict[str, None] = {}
    for thing in gc.get_objects():
        if type(thing).__name__ == "StaticsMiddleware" and isinstance(
            getattr(thing, "doc_root", None), str
        ):
            found[os.path.realpath(thing.doc_root)] = None
    return list(found)
