"""A release of static files as its manifest describes it: which files are ours, from where, and how
they were made.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional

from kallithea_tune import __version__
from kallithea_tune.errors import Refused

NAME = ".kallithea-tune.json"
# Holds the name of the release's own directory: a server that stats before it opens asks once, and
# stays with it.
OWN_NAME = ".release"
FORMAT = 1
# HTTP content coding -> suffix of the variant's file
SUFFIXES = {"gzip": ".gz", "br": ".br", "zstd": ".zst"}


@dataclass(frozen=True)
class StaticFile:
    """One file to be served: its URL path without the leading slash, and what identifies its
    content.

    `ctime_ns` moves with every change of the file, also where a package gives all its files one
    modification time.
    """

    path: str
    source: str
    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """How a release is made; each field has the meaning of the option of ``static-export`` of the
    same name.
    """

    overlays: tuple[str, ...] = ()
    prune: bool = False
    codings: tuple[str, ...] = ("gzip",)
    how: str = "copy"
    keep: int = 1
    mode: int = 0o644
    group: str = ""

    @property
    def making(self) -> tuple[str, int, str]:
        """What each file of a release depends on beside its content."""
        return self.how, self.mode, self.group

    @property
    def words(self) -> str:
        """The options of the command that differ from its defaults, as a shell reads them."""
        usual = Recipe()
        words = [word for directory in self.overlays for word in ("--overlay", directory)]
        words += ["--prune"] if self.prune else []
        words += ["--compress", ",".join(self.codings)] if self.codings != usual.codings else []
        words += ["--how", self.how] if self.how != usual.how else []
        words += ["--keep", str(self.keep)] if self.keep != usual.keep else []
        words += ["--mode", f"{self.mode:o}"] if self.mode != usual.mode else []
        words += ["--group", self.group] if self.group else []
        return " ".join(map(shlex.quote, words))


@dataclass(frozen=True)
class Published:
    """A file of a release: what it was made from, and the size in bytes of each variant that was
    worth keeping.

    `mtime_ns` is its own modification time, which stays while its content does and is a later one
    for another content. `variants` holds 0 for a coding that was tried and not smaller. `kept`
    counts the releases for which a file that the application no longer has is still served; 0 for a
    file that it has.
    """

    file: StaticFile
    mtime_ns: int
    variants: Mapping[str, int] = field(default_factory=dict)
    kept: int = 0

    @property
    def visible(self) -> tuple[Any, ...]:
        """What a browser could tell from another one."""
        return self.file.sha256, dict(self.variants), self.kept


@dataclass(frozen=True)
class Manifest:
    """One release: the application and its version, how it was published, and every file by URL
    path.

    `roots` are the application's own directories, as it named them when it was last asked;
    `left_out` holds the paths below them and the overlays that were not published on purpose.
    """

    app: str
    version: str
    recipe: Recipe
    files: Mapping[str, Published]
    roots: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    tool: str = __version__

    @property
    def sources(self) -> dict[str, StaticFile]:
        """The files that came from the application or an overlay, by path."""
        return {path: item.file for path, item in self.files.items() if not item.kept}

    @property
    def own(self) -> list[str]:
        """The paths of files that the application itself can serve, sorted."""
        roots = tuple(os.path.join(root, "") for root in self.roots)
        return [
            path for path, file in sorted(self.sources.items()) if file.source.startswith(roots)
        ]

    def names(self) -> set[str]:
        """Every path that the release has on disk, variants and the manifest included."""
        return {
            NAME,
            OWN_NAME,
            *self.files,
            *(path + SUFFIXES[coding] for path, coding, _ in self.variants()),
        }

    def variants(self) -> Iterator[tuple[str, str, int]]:
        """Yield path, coding and size in bytes of every variant there is."""
        for path, item in self.files.items():
            for coding, size in item.variants.items():
                if size:
                    yield path, coding, size


def read(directory: str) -> Optional[Manifest]:
    """Read the manifest in `directory`; None where there is none. Raises Refused for one that is
    not ours.
    """
    path = os.path.join(directory, NAME)
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if document.pop("format") != FORMAT:
            raise ValueError
        recipe = document.pop("recipe")
        recipe.update(overlays=tuple(recipe["overlays"]), codings=tuple(recipe["codings"]))
        files = {item["file"]["path"]: _published(item) for item in document.pop("files")}
        document.update(roots=tuple(document["roots"]), left_out=tuple(document["left_out"]))
        return Manifest(recipe=Recipe(**recipe), files=files, **document)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused(
            f"{path} is damaged or of another version of this tool; move it away to publish afresh"
        ) from None


def _published(item: Mapping[str, Any]) -> Published:
    return Published(**dict(item, file=StaticFile(**item["file"])))


def text(manifest: Manifest) -> str:
    """Return the manifest as its file has it."""
    document = dataclasses.asdict(manifest)
    document["files"] = [item for _, item in sorted(document["files"].items())]
    return json.dumps({"format": FORMAT, **document}, indent=1)
