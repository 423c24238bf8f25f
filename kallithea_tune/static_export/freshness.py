"""Whether what is published is what the application has now, seen on disk: the application is not
loaded for it.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.app.package import distribution
from kallithea_tune.config.instance import Instance
from kallithea_tune.static_export import manifest
from kallithea_tune.static_export.collect import collect
from kallithea_tune.static_export.manifest import SUFFIXES, Manifest, Recipe, StaticFile

# Some file systems keep whole seconds only, or two of them.
COARSEST_NS = 2 * 10**9
# Where the ini file names the export: what static-export --switch writes and perf-check reads.
SECTION, OPTION = "kallithea_tune", "static_export"


def named(instance: Instance) -> str:
    """Return the directory of the static export that the ini file names, empty where it names
    none.
    """
    place = instance.sections.get(SECTION, {}).get(OPTION, "").replace("%%", "%").strip()
    return os.path.join(os.path.dirname(instance.path), place) if place else ""


class Differences(NamedTuple):
    """Paths that the release lacks, has with other content, and has although they went away."""

    new: list[str]
    changed: list[str]
    gone: list[str]


@dataclass(frozen=True)
class State:
    """A release against what is installed now.

    `version` is the installed one; `moved` tells that the application's directories are no longer
    where they were; `damaged` holds the paths whose files in the release are missing or were
    changed.
    """

    manifest: Manifest
    version: str
    recipe: Recipe
    moved: bool
    differences: Differences
    damaged: Sequence[str]

    @property
    def stale(self) -> list[str]:
        """Say in what the release differs, a few words for each way; nothing where it is as it
        should be.
        """
        said = []
        if self.version != self.manifest.version:
            said.append(
                "it is of {}, {} is installed".format(
                    self.manifest.version or "?", self.version or "?"
                )
            )
        if self.moved:
            said.append("the application has moved")
        if self.recipe != self.manifest.recipe:
            said.append("it was made with other options")
        counted = {**self.differences._asdict(), "damaged": self.damaged}
        said += ["%d %s" % (len(paths), word) for word, paths in counted.items() if paths]
        return said


def state(use: str, destination: str, given: Optional[Mapping[str, Any]] = None) -> Optional[State]:
    """Compare what is published at `destination` with the application of the factory `use`; None
    for nothing.

    What `given` holds is taken in place of the options that the release was made with. Raises
    ConfigError for files that cannot be read, and Refused for a manifest that is not ours.
    """
    found = manifest.read(destination)
    if found is None:
        return None
    recipe = dataclasses.replace(found.recipe, **(given or {}))
    moved = not all(map(os.path.isdir, found.roots))
    roots = [*(() if moved else found.roots), *recipe.overlays]
    differences = Differences([], [], [])
    if not moved:
        differences = compare(found, collect(roots, found.sources))
    return State(
        found,
        distribution(use)[1],
        recipe,
        moved,
        differences,
        damaged(found, os.path.realpath(destination)),
    )


def renewal(instance: Instance, destination: str, recipe: Optional[Recipe]) -> str:
    """Return the command that makes the release at `destination` what it should be, for a shell."""
    location = instance.path + ("" if instance.name == "main" else "#" + instance.name)
    words = recipe.words if recipe else ""
    return (
        f"gearbox static-export -c {shlex.quote(location)} {shlex.quote(destination)} {words}"
    ).strip()


def compare(found: Manifest, files: Mapping[str, StaticFile]) -> Differences:
    """Hold the release against `files`, leaving aside what was left out of it on purpose. Pure."""
    sources, left_out = found.sources, set(found.left_out)
    return Differences(
        sorted(path for path in files if path not in sources and path not in left_out),
        sorted(
            path for path in files if path in sources and sources[path].sha256 != files[path].sha256
        ),
        sorted(path for path in sources if path not in files),
    )


def damaged(found: Manifest, directory: str) -> list[str]:
    """Return the paths of which the file in `directory`, or a variant, is missing or is not the one
    published.

    Told by size and modification time: nothing is read.
    """
    wrong = set()
    for path, item in found.files.items():
        status = _status(os.path.join(directory, path))
        if (
            status is None
            or status.st_size != item.file.size
            or (abs(status.st_mtime_ns - item.mtime_ns) >= COARSEST_NS)
        ):
            wrong.add(path)
    for path, coding, size in found.variants():
        status = _status(os.path.join(directory, path) + SUFFIXES[coding])
        if status is None or status.st_size != size:
            wrong.add(path)
    return sorted(wrong)


def _status(path: str) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except OSError:
        return None
