"""What the application serves: from the application itself, or the manifest while nothing moved."""

from __future__ import annotations

import contextlib
import os
from typing import Mapping, Optional, Sequence

from kallithea_tune.app.owner import owner_of
from kallithea_tune.app.package import code, kallithea_version, package_directory, title
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.release.freshness import compare
from kallithea_tune.static_export.release.manifest import SUFFIXES, Manifest, Recipe, StaticFile
from kallithea_tune.static_export.release.plan import Served
from kallithea_tune.static_export.sources.application import answered, roots_of
from kallithea_tune.static_export.sources.collect import collect, overlaid
from kallithea_tune.static_export.sources.collect import unpublished as uncollected
from kallithea_tune.static_export.sources.front_end import unbuilt
from kallithea_tune.static_export.sources.proof import proven
from kallithea_tune.static_export.sources.references import check_complete, unreferenced
from kallithea_tune.system.account import acting_as


def served(instance: Instance, before: Optional[Manifest], recipe: Recipe) -> Served:
    """Return what the application serves; it is not loaded while its published version stays.

    Raises ConfigError when the application does not load or serves nothing, Refused when its
    front-end is not built, or was built for another version, or an overlay has files where the
    application has pages.
    """
    app, version = title(instance.use), kallithea_version()
    roots = before.roots if before and (before.app, before.version) == (app, version) else ()
    notes: Sequence[str] = ()
    if not roots or not all(map(os.path.isdir, roots)):
        roots = roots_of(instance)
        notes = owner_of(instance).notes("The application is loaded")
    known = before.sources if before else {}
    files = _collected(instance, roots, known)
    unpublished = uncollected(roots)
    overlays = collect(recipe.overlays, known)
    _refuse_answered(instance, before, files, overlays)
    files = overlaid(files, overlays)
    unpublished += uncollected(recipe.overlays)
    same = before is not None and (before.version, before.roots) == (version, roots)
    differences = compare(before, files) if before else None
    if not (same and differences and not differences.gone):
        check_complete(files, package_directory())
    unchanged = same and not any(differences or ())
    if before and unchanged and recipe == before.recipe:
        left_out = set(before.left_out) & set(files)
    else:
        left_out = _left_out(files, recipe, code(instance.use))
    published = {path: file for path, file in files.items() if path not in left_out}
    if before and unchanged and version in before.history:
        _refuse_unbuilt(files, before, version)
        lasting = {path for path, item in before.files.items() if item.lasting}
    else:
        with acting_as(owner_of(instance).account):
            _refuse_unbuilt(files, before, version)
            lasting = proven(published, recipe.overlays, version, before)
    return Served(app, version, roots, published, sorted(left_out), lasting, unpublished, notes)


def _collected(
    instance: Instance, roots: Sequence[str], known: Mapping[str, StaticFile]
) -> dict[str, StaticFile]:
    """Return the files below the application's directories, as the owner of its data reads them.

    The application says which directories it serves, and must not have root publish others. Who the
    owner is takes a process to find out, so where nothing is new root may have looked itself.
    """
    if known:
        with contextlib.suppress(ConfigError, Refused):
            files = collect(roots, known)
            if all(known.get(path) is file for path, file in files.items()):
                return files
    with acting_as(owner_of(instance).account):
        return collect(roots, known)


def _refuse_answered(
    instance: Instance,
    before: Optional[Manifest],
    files: Mapping[str, StaticFile],
    overlays: Mapping[str, StaticFile],
) -> None:
    """Raise Refused for an overlay's file that would hide a page.

    The application is only loaded for entries at the top that it does not have itself, and that
    were not published of this version yet.
    """
    known = {path.split("/")[0] for path in files}
    if before and before.version == kallithea_version():
        known |= {path.split("/")[0] for path in before.files}
    tops = {path.split("/")[0]: file.source for path, file in sorted(overlays.items())}
    new = sorted(set(tops) - known)
    for top in answered(instance, new) if new else ():
        raise Refused(f"Kallithea itself answers /{top}, which {tops[top]} would hide; rename it")


def _refuse_unbuilt(
    files: Mapping[str, StaticFile], before: Optional[Manifest], version: str
) -> None:
    """Raise Refused where the front-end was not built since another version was installed."""
    reason = unbuilt(files, before.history.get(version, {}) if before else {})
    if reason:
        raise Refused(
            f"the front-end was not built for Kallithea {version}: {reason}; "
            "run kallithea-cli front-end-build first"
        )


def _left_out(files: Mapping[str, StaticFile], recipe: Recipe, code: Sequence[str]) -> set[str]:
    unneeded = unreferenced(files, code) if recipe.prune else ()
    return in_place_of_variants(files).union(unneeded)


def in_place_of_variants(files: Mapping[str, StaticFile]) -> set[str]:
    """Return the files where another's variant belongs: ``style.css.gz`` beside ``style.css``."""
    return {
        path + suffix for path in files for suffix in SUFFIXES.values() if path + suffix in files
    }
