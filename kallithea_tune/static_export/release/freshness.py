"""Whether what is published is what the application has now; the application is not loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterator, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.app.package import kallithea_version, title
from kallithea_tune.config.instance import Instance
from kallithea_tune.static_export.release import destination as place
from kallithea_tune.static_export.release import integrity, manifest
from kallithea_tune.static_export.release.integrity import Damage
from kallithea_tune.static_export.release.manifest import (
    Manifest,
    Recipe,
    RecipeChanges,
    StaticFile,
)
from kallithea_tune.static_export.sources.collect import collect
from kallithea_tune.static_export.sources.front_end import unbuilt
from kallithea_tune.text import first_of

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
    directories are no longer where they were; `damaged` is what happened to the release since;
    `copied` whether a copy of it is in place of the link to it; `unbuilt` is in what the built
    front-end is not that of the installed version, empty where it is.
    """

    manifest: Manifest
    version: str
    recipe: Recipe
    moved: bool
    differences: Differences
    damaged: Mapping[str, Damage]
    copied: bool = False
    unbuilt: str = ""

    @property
    def stale(self) -> list[str]:
        """In what the release differs, a few words for each way; empty when it is up to date."""
        return list(self._reasons())

    @property
    def by_hand(self) -> str:
        """What only a person can do before the next run puts the rest right; empty for nothing."""
        if self.copied:
            return "move the copy away, so that there is room for the link"
        foreign = [path for path, damage in self.damaged.items() if damage is Damage.file]
        if foreign:
            return f"move the added files, {first_of(foreign)}, into an --overlay directory"
        return ""

    def _reasons(self) -> Iterator[str]:
        if self.version != self.manifest.version:
            published, installed = self.manifest.version or "?", self.version or "?"
            yield f"it is from {published}, but {installed} is installed"
        if self.unbuilt:
            yield f"the front-end was not built since then ({self.unbuilt})"
        if self.moved:
            yield "the application is another one, or has moved"
        if self.recipe != self.manifest.recipe:
            yield "it was made with other options"
        if self.copied:
            yield "it is a copy instead of the link to a release"
        unproven = [path for path, damage in self.damaged.items() if damage is Damage.unproven]
        damaged = [path for path in self.damaged if path not in unproven]
        for kind, paths in {**self.differences.by_kind(), "damaged": damaged}.items():
            if paths:
                yield f"{len(paths)} {kind}"
        if unproven:
            yield f"the variants of {len(unproven)} were made before their content was recorded"


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
    version, not_built = kallithea_version(), ""
    differences = Differences([], [], [])
    if not moved:
        files = collect([*release.roots, *recipe.overlays], release.sources)
        differences = compare(release, files)
        not_built = unbuilt(files, release.history.get(version, {}))
    return State(
        manifest=release,
        version=version,
        recipe=recipe,
        moved=moved,
        differences=differences,
        damaged=damaged(release, destination),
        copied=place.is_copy(destination),
        unbuilt=not_built,
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


def damaged(release: Manifest, directory: str) -> Mapping[str, Damage]:
    """Return what happened to the release in `directory` since, by path.

    Raises ConfigError for what cannot be read.
    """
    return integrity.inspect(release, directory).damaged
