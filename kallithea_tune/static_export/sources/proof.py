"""Which files certainly have the content that their version gives them: nobody made them here."""

from __future__ import annotations

import os
import re
from typing import Iterator, Mapping, Optional, Sequence

from kallithea_tune.app.package import package_directory, recorded
from kallithea_tune.static_export.release.manifest import Manifest, StaticFile
from kallithea_tune.static_export.sources.collect import file_sha256
from kallithea_tune.static_export.sources.front_end import module_version, required_modules

# What a release is called (PEP 440). Anything else, such as 0.7.0+g1234 or 0.7.99.dev1, is
# somebody's own build, and the next one may have the same name.
_RELEASED = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?")


def proven(
    files: Mapping[str, StaticFile],
    overlays: Sequence[str],
    version: str,
    before: Optional[Manifest],
) -> set[str]:
    """Return the paths of `files` whose content follows from `version`.

    That is what Kallithea's package brought, and what its front-end copies from npm's modules at
    the versions that the package requires; no style sheet, since a theme changes these. Nothing of
    an overlay, of an editable or an own build, or that was edited since, is proven. What is
    `before` is not proven again, so that npm's modules can be removed after the build.
    """
    originals = recorded() if _RELEASED.fullmatch(version) else {}
    package = os.path.join(os.path.realpath(package_directory()), "")
    outside = tuple(os.path.join(overlay, "") for overlay in overlays)
    known = before.files if before and before.version == version else {}
    found, others = set(), {}
    for path, file in files.items():
        ours = file.source.startswith(package) and not file.source.startswith(outside)
        if not originals or not ours or path.endswith(".css"):
            continue
        old = known.get(path)
        if (old and old.lasting and old.file.sha256 == file.sha256) or (
            originals.get(file.source[len(package) :]) == (file.size, file.sha256)
        ):
            found.add(path)
        else:
            others[path] = file
    return found.union(_copied(others, os.path.join(package, "front-end")))


def _copied(files: Mapping[str, StaticFile], front_end: str) -> Iterator[str]:
    """Yield the paths of `files` that are copies of files of the modules that are required."""
    sources: dict[str, list[str]] = {}
    for path in _module_files(front_end, {os.path.basename(path) for path in files}):
        sources.setdefault(os.path.basename(path), []).append(path)
    for path, file in files.items():
        for source in sources.get(os.path.basename(path), ()):
            if os.path.getsize(source) == file.size and file_sha256(source) == file.sha256:
                yield path
                break


def _module_files(front_end: str, names: set[str]) -> Iterator[str]:
    """Yield the files of these names in the required modules, at their required version only."""
    for module, version in required_modules(front_end).items():
        directory = os.path.join(front_end, "node_modules", *module.split("/"))
        if module_version(directory) == version:
            for parent, _, found in os.walk(directory):
                yield from (os.path.join(parent, name) for name in names.intersection(found))
