"""What publishing would change, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Mapping, Optional, Sequence

from kallithea_tune.static_export import compress
from kallithea_tune.static_export.freshness import Differences, compare
from kallithea_tune.static_export.manifest import Manifest, Published, Recipe, StaticFile


@dataclass(frozen=True)
class Served:
    """What the application serves now, overlays laid over it; `left_out` are paths not to be
    published.
    """

    app: str
    version: str
    roots: tuple[str, ...]
    files: Mapping[str, StaticFile]
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """What publishing would change, against what is published now (None at the first time).

    `taken` are the paths whose files of the release before are good, and `compressing` the path and
    coding of each variant that is not there yet.
    """

    before: Optional[Manifest]
    after: Manifest
    differences: Differences
    removed: Sequence[str]
    kept: Sequence[str]
    damaged: Sequence[str]
    taken: Collection[str]
    compressing: Sequence[tuple[str, str]]

    @property
    def nothing(self) -> bool:
        """Whether what is published is what would be."""
        return (
            self.before is not None
            and not self.damaged
            and not self.compressing
            and (_visible(self.before) == _visible(self.after))
        )


def _visible(manifest: Manifest) -> tuple[object, ...]:
    files = {path: item.visible for path, item in manifest.files.items()}
    return manifest.app, manifest.version, manifest.recipe.making, files


def make(
    before: Optional[Manifest], served: Served, recipe: Recipe, damaged: Collection[str] = ()
) -> Plan:
    """Say what is to be published: the files served, and those of up to `keep` earlier releases
    that went away since.

    A page that was loaded before an upgrade still asks for the files of its own version. `damaged`
    are paths that are not in the release any more as they should be. Pure.
    """
    old = {
        path: item for path, item in (before.files if before else {}).items() if path not in damaged
    }
    same_making = before is not None and before.recipe.making == recipe.making
    after, taken = {}, set()
    for path, file in served.files.items():
        was = old.get(path)
        time = _time(file, before.files.get(path) if before else None)
        if was is None or was.file.sha256 != file.sha256:
            after[path] = Published(file, time)
            continue
        stays = same_making and recipe.how != "symlink"
        after[path] = Published(file, was.mtime_ns if stays else time, _chosen(was, recipe))
        if same_making:
            taken.add(path)
    aged = before is not None and (before.version, before.app) != (served.version, served.app)
    for path, item in old.items():
        age = item.kept + 1 if aged or not item.kept else item.kept
        if path not in served.files and path not in served.left_out and age <= recipe.keep:
            after[path] = Published(item.file, item.mtime_ns, _chosen(item, recipe), age)
            taken.add(path)
    compressing = [
        (path, coding)
        for path, item in sorted(after.items())
        for coding in recipe.codings
        if coding not in item.variants
        and not item.kept
        and compress.worth_compressing(path, item.file.size)
    ]
    return Plan(
        before,
        Manifest(served.app, served.version, recipe, after, served.roots, tuple(served.left_out)),
        compare(before, served.files) if before else Differences(sorted(served.files), [], []),
        sorted(path for path in (before.files if before else ()) if path not in after),
        sorted(path for path, item in after.items() if item.kept),
        sorted(damaged),
        taken,
        compressing,
    )


def _time(file: StaticFile, was: Optional[Published]) -> int:
    """Return the modification time (ns) for what was published as `was`: another second for another
    content.

    Web servers make ETags from size and time in seconds, and reproducible packages give all their
    files one time.
    """
    if was is None:
        return file.mtime_ns
    return max(file.mtime_ns, was.mtime_ns + (10**9 if was.file.sha256 != file.sha256 else 0))


def _chosen(item: Published, recipe: Recipe) -> dict[str, int]:
    return {coding: size for coding, size in item.variants.items() if coding in recipe.codings}
