"""What a release holds, written into it: how we know later which files are ours and which changed."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from typing import Any, Mapping

from kallithea_tune import __version__
from kallithea_tune.errors import Refused
from kallithea_tune.statics.collect import StaticFile

NAME = ".kallithea-tune.json"
FORMAT = 1


@dataclass(frozen=True)
class Published:
    """A file of a release: what it was made from, and the size in bytes of each variant that was worth keeping.

    `variants` holds 0 for a coding that was tried and not smaller. `kept` counts the releases for which a file
    that the application no longer has is still served; 0 for a file that it has.
    """

    file: StaticFile
    variants: Mapping[str, int] = field(default_factory=dict)
    kept: int = 0


@dataclass(frozen=True)
class Manifest:
    """One release: the application and its version, how it was published, and every file by URL path.

    `roots` are the application's own directories, as it named them when it was last asked.
    """

    app: str
    version: str
    how: str
    files: Mapping[str, Published]
    tool: str = __version__
    roots: tuple[str, ...] = ()

    @property
    def sources(self) -> dict[str, StaticFile]:
        """The files that came from the application or an overlay, by path."""
        return {path: item.file for path, item in self.files.items() if not item.kept}

    def names(self, suffixes: Mapping[str, str]) -> set[str]:
        """Every path that the release has on disk, variants and the manifest included."""
        found = {NAME, *self.files}
        for path, item in self.files.items():
            found.update(path + suffixes[coding] for coding, size in item.variants.items() if size)
        return found


def read(directory: str) -> Manifest | None:
    """Read the manifest in `directory`; None where there is none. Raises Refused for one that is not ours."""
    path = os.path.join(directory, NAME)
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if document["format"] != FORMAT:
            raise ValueError
        files = {item["path"]: _published(item) for item in document["files"]}
        roots = tuple(document["roots"])
        return Manifest(document["app"], document["version"], document["how"], files, document["tool"], roots)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise Refused(
            "%s is damaged or of another version of this tool; move it away to publish afresh" % path) from None


def write(directory: str, manifest: Manifest) -> None:
    """Write the manifest into a directory that nobody reads yet."""
    document = {
        "format": FORMAT, "tool": manifest.tool, "app": manifest.app, "version": manifest.version, "how": manifest.how,
        "roots": list(manifest.roots), "files": [
            {**dataclasses.asdict(item.file), "variants": dict(item.variants), "kept": item.kept}
            for _, item in sorted(manifest.files.items())
        ],
    }
    with open(os.path.join(directory, NAME), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _published(item: Mapping[str, Any]) -> Published:
    names = [entry.name for entry in dataclasses.fields(StaticFile)]
    return Published(StaticFile(**{name: item[name] for name in names}), dict(item["variants"]), item["kept"])
