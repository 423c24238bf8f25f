"""Whether what is published is what the application has now; the application is not loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterator, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.app.package import kallithea_version, title
from kallithea_tune.config.instance import Instance
from kallithea_tune.static_export.release import manifest
from kallithea_tune.static_export.release.manifest import (
    Manifest,
    Recipe,
    RecipeChanges,
    StaticFile,
)
from kallithea_tune.static_export.sources.collect import collect

# Some file systems store whole seconds only, or multiples of two.
COARSEST_NS = 2 * 10**9
# Where the ini file says which export it belongs to: static-export --switch writes it, perf-check
# reads it.
SECTION, OPTION = "kallithea_tune", "static_export"


def configured_export(instance: Instance) -> str:
    """Return the directory of the static export in the ini file, empty where it has none."""
    path = instance.sections.get(SECTION, {}).get(OPTION, "").replace("%%", "%").strip()
    return os.path.join(os.path.dirname(instance.path), path) if path else ""


class Differences(NamedTuple):
    """Paths that the release lacks, has with other content, and has although they are gone."""

    new: Sequence[str]
    changed: Sequence[str]
    gone: Sequence[str]

    def by_kind(self) -> Mapping[str, Sequence[str]]:
        """Return the paths by ``new``, ``changed`` and ``gone``."""
        return self._asdict()


@dataclass(frozen=True)
class State:
    """A release compared with what is installed now.

    `version` is the installed one; `moved` whether what wraps Kallithea is another, or the
    directories are no longer where they were; `damaged` are the paths whose files in the release
    are missing or were changed.
    """

    manifest: Manifest
    version: str
    recipe: Recipe
    moved: bool
    differences: Differences
    damaged: Sequence[str]

    @property
    def stale(self) -> list[str]:
        """In what the release differs, a few words for each way; empty when it is up to date."""
        return list(self._reasons())

    def _reasons(self) -> Iterator[str]:
        if self.version != self.manifest.version:
            published, installed = self.manifest.version or "?", self.version or "?"
            yield f"it is of {published}, {installed} is installed"
        if self.moved:
            yield "the application is another one, or has moved"
        if self.recipe != self.manifest.recipe:
            yield "it was made with other options"
        for kind, paths in {**self.differences.by_kind(), "damaged": self.damaged}.items():
            if paths:
                yield f"{len(paths)} {kind}"


def state(use: str, destination: str, changes: Optional[RecipeChanges] = None) -> Optional[State]:
    """Compare what is published at `destination` with the application of the factory `use`.

    `changes` replace the options that the release was made with. Returns None where nothing is
    published. Raises ConfigError for files that cannot be read, and Refused for a manifest that is
    not ours.
    """
    release = manifest.read(destination)
    if release is None:
        return None
    recipe = (changes or RecipeChanges()).applied_to(release.recipe)
    moved = title(use) != release.app or not all(map(os.path.isdir, release.roots))
    differences = Differences([], [], [])
    if not moved:
        files = collect([*release.roots, *recipe.overlays], release.sources)
        differences = compare(release, files)
    return State(
        manifest=release,
        version=kallithea_version(),
        recipe=recipe,
        moved=moved,
        differences=differences,
        damaged=damaged(release, os.path.realpath(destination)),
    )


def renewal(instance: Instance, destination: str, recipe: Optional[Recipe]) -> tuple[str, ...]:
    """Return the words of the command that brings the release at `destination` up to date."""
    arguments = recipe.words if recipe else ()
    return instance.program("gearbox", "static-export", destination, *arguments)


def compare(release: Manifest, files: Mapping[str, StaticFile]) -> Differences:
    """Compare the release with `files`, except what was deliberately left out of it. Pure."""
    sources, left_out = release.sources, set(release.left_out)
    return Differences(
        sorted(path for path in files if path not in sources and path not in left_out),
        sorted(
            path for path in files if path in sources and sources[path].sha256 != files[path].sha256
        ),
        sorted(path for path in sources if path not in files),
    )


def damaged(release: Manifest, directory: str) -> list[str]:
    """Return the paths whose file in `directory`, or a variant of it, is missing or was changed.

    Judged by size and modification time: nothing is read.
    """
    wrong = set()
    for path, item in release.files.items():
        status = _status(os.path.join(directory, path))
        if (
            status is None
            or status.st_size != item.file.size
            or abs(status.st_mtime_ns - item.mtime_ns) >= COARSEST_NS
        ):
            wrong.add(path)
    for variant in release.variants():
        status = _status(os.path.join(directory, variant.name))
        if status is None or status.st_size != variant.size:
            wrong.add(variant.path)
    for lasting, name in release.lasting.items():
        if _identity(os.path.join(directory, lasting)) != _identity(os.path.join(directory, name)):
            wrong.add(name if name in release.files else os.path.splitext(name)[0])
    return sorted(wrong)


def _identity(path: str) -> Optional[tuple[int, int]]:
    status = _status(path)
    return (status.st_size, status.st_mtime_ns) if status else None


def _status(path: str) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except OSError:
        return None
