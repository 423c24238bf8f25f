"""The manifest of a release: which files are ours, where they came from, how they were made."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Iterator, Mapping, NamedTuple, Optional

from kallithea_tune import __version__
from kallithea_tune.errors import Refused
from kallithea_tune.system import typed_json
from kallithea_tune.text import shell_word

NAME = ".kallithea-tune.json"
# Contains the name of the release's own directory: a server that stats a file before it opens it
# reads this name once, and then uses one release for both.
RELEASE_NAME = ".release"
# What was published, for comparison with what is there.
SEAL_NAME = ".sealed.json"
# Below it, in a directory for each version, are the files that may be cached for good under a URL
# with ?ver= and that version: links to those beside it.
LASTING = ".lasting"
FORMAT = 1
# HTTP content coding -> suffix of the variant's file
SUFFIXES: Mapping[str, str] = {"gzip": ".gz", "br": ".br", "zstd": ".zst"}


@dataclass(frozen=True)
class StaticFile:
    """A file to be served: its URL path without the leading slash, and what identifies its content.

    `ctime_ns` changes with every change of the file, even where a package gives all its files one
    modification time.
    """

    path: str
    source: str
    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


class PerFile(NamedTuple):
    """The options that every single file of a release depends on."""

    how: str
    mode: int
    group: str


@dataclass(frozen=True)
class Recipe:
    """How a release is made; each field means what the option of the same name does."""

    overlays: tuple[str, ...] = ()
    prune: bool = False
    codings: tuple[str, ...] = ("gzip",)
    how: str = "copy"
    keep: int = 1
    mode: int = 0o644
    group: str = ""

    @property
    def per_file(self) -> PerFile:
        """What each file depends on besides its content."""
        return PerFile(self.how, self.mode, self.group)

    @property
    def arguments(self) -> str:
        """The command's options that differ from the defaults, quoted for a shell."""
        return " ".join(map(shell_word, self.words))

    @property
    def words(self) -> tuple[str, ...]:
        """The command's options that differ from the defaults."""
        usual = Recipe()
        args = [arg for directory in self.overlays for arg in ("--overlay", directory)]
        args += ["--prune"] if self.prune else []
        args += ["--compress", ",".join(self.codings)] if self.codings != usual.codings else []
        args += ["--how", self.how] if self.how != usual.how else []
        args += ["--keep", str(self.keep)] if self.keep != usual.keep else []
        args += ["--mode", f"{self.mode:o}"] if self.mode != usual.mode else []
        args += ["--group", self.group] if self.group else []
        return tuple(args)


@dataclass(frozen=True)
class RecipeChanges:
    """The fields of a `Recipe` that were given; None for those that stay as they are."""

    overlays: Optional[tuple[str, ...]] = None
    prune: Optional[bool] = None
    codings: Optional[tuple[str, ...]] = None
    how: Optional[str] = None
    keep: Optional[int] = None
    mode: Optional[int] = None
    group: Optional[str] = None

    def applied_to(self, recipe: Recipe) -> Recipe:
        """Return `recipe` with these changes."""
        return Recipe(
            overlays=recipe.overlays if self.overlays is None else self.overlays,
            prune=recipe.prune if self.prune is None else self.prune,
            codings=recipe.codings if self.codings is None else self.codings,
            how=recipe.how if self.how is None else self.how,
            keep=recipe.keep if self.keep is None else self.keep,
            mode=recipe.mode if self.mode is None else self.mode,
            group=recipe.group if self.group is None else self.group,
        )


@dataclass(frozen=True)
class Published:
    """A file of a release: its source, and the size in bytes of each variant.

    `mtime_ns` is its own modification time: it stays while the content does, and is later for other
    content. `variants` contains 0 for a coding that was tried and not smaller. `kept` is for how
    many releases a file has been served that the application no longer has; 0 for one that it has.
    `lasting` is whether its content can never be another under ``?ver=`` and the release's version.
    """

    file: StaticFile
    mtime_ns: int
    variants: Mapping[str, int] = field(default_factory=dict)
    kept: int = 0
    lasting: bool = False

    @property
    def visible(self) -> tuple[str, Mapping[str, int], int, bool]:
        """What tells it from another in a browser."""
        return self.file.sha256, dict(self.variants), self.kept, self.lasting


# Version in ?ver= -> path -> SHA-256 of the only content that this URL ever had; empty once it had
# two.
History = Mapping[str, Mapping[str, str]]


class Variant(NamedTuple):
    """A precompressed copy of the file at `path`; `size` in bytes."""

    path: str
    coding: str
    size: int

    @property
    def name(self) -> str:
        """Its own path in the release."""
        return self.path + SUFFIXES[self.coding]


@dataclass(frozen=True)
class Manifest:
    """A release: the application and its version, how it was made, and every file by URL path.

    `roots` are the directories that the application serves; `left_out` are the paths below them and
    the overlays that were deliberately not published; `history` is what was ever published by URL.
    """

    app: str
    version: str
    recipe: Recipe
    files: Mapping[str, Published]
    roots: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    tool: str = __version__
    history: History = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, StaticFile]:
        """The files that came from the application or an overlay, by path."""
        return {path: item.file for path, item in self.files.items() if not item.kept}

    @property
    def of_application(self) -> list[str]:
        """The paths of files that the application itself can serve, sorted."""
        roots = tuple(os.path.join(root, "") for root in self.roots)
        return [
            path for path, file in sorted(self.sources.items()) if file.source.startswith(roots)
        ]

    @property
    def directories(self) -> list[str]:
        """The directories at the top of the release, sorted."""
        return sorted({path.split("/")[0] for path in self.files if "/" in path})

    def names(self) -> set[str]:
        """Return every path of the release on disk, variants and the manifest included."""
        variants = (variant.name for variant in self.variants())
        return {*self.bookkeeping, *self.files, *variants, *self.lasting}

    @property
    def bookkeeping(self) -> frozenset[str]:
        """The paths of what is in a release about itself."""
        return frozenset({NAME, RELEASE_NAME, SEAL_NAME})

    @property
    def lasting(self) -> dict[str, str]:
        """The paths below `LASTING`, and for each the path of the same file beside it."""
        names = [path for path, item in self.files.items() if item.lasting]
        names += [item.name for item in self.variants() if self.files[item.path].lasting]
        return {f"{LASTING}/{self.version}/{name}": name for name in names}

    def variants(self) -> Iterator[Variant]:
        """Yield every variant that exists."""
        for path, item in self.files.items():
            for coding, size in item.variants.items():
                if size:
                    yield Variant(path, coding, size)


def read(directory: str) -> Optional[Manifest]:
    """Read the manifest in `directory`, None without one. Raises Refused if it is not ours."""
    path = os.path.join(directory, NAME)
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if document.pop("format") != FORMAT:
            raise ValueError
        document["files"] = {item["file"]["path"]: item for item in document["files"]}
        manifest: Manifest = typed_json.load(Manifest, document)
        return manifest
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refused(
            f"{path} is damaged, or from another version of this tool; "
            "move it away to publish from scratch"
        ) from None


def text(manifest: Manifest) -> str:
    """Return the manifest as its file contains it."""
    document = typed_json.dump(manifest)
    document["files"] = [item for _, item in sorted(document["files"].items())]
    return json.dumps({"format": FORMAT, **document}, indent=1)
