"""Precompressed variants of files: reproducible, at the best level, and only where smaller."""

from __future__ import annotations

import concurrent.futures
import gzip
import importlib
import os
from typing import Callable, Mapping, NamedTuple, Sequence

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release.manifest import SUFFIXES
from kallithea_tune.system import interruption

# Already compressed formats, by extension: a variant would cost time and save nothing. (WOFF is
# deflate inside, WOFF2 is Brotli, per their W3C recommendations; the others are well-known
# containers.)
COMPRESSED = frozenset(
    {
        "7z",
        "aac",
        "avif",
        "br",
        "bz2",
        "flac",
        "gif",
        "gz",
        "heic",
        "jpeg",
        "jpg",
        "lz4",
        "m4a",
        "mkv",
        "mov",
        "mp3",
        "mp4",
        "oga",
        "ogg",
        "ogv",
        "opus",
        "png",
        "rar",
        "tbz",
        "tgz",
        "webm",
        "webp",
        "woff",
        "woff2",
        "xz",
        "zip",
        "zst",
    }
)
# Bytes. Smaller files save less than the Content-Encoding header costs (our judgement; nginx's
# gzip_min_length is 20), and compressing larger ones on every core could exhaust the memory.
SMALLEST, LARGEST = 150, 64 << 20


def _gzip(data: bytes) -> bytes:
    # Without time stamp and name in the header, the same content gives the same bytes.
    return gzip.compress(data, 9, mtime=0)


def _brotli(data: bytes) -> bytes:
    compressed: bytes = importlib.import_module("brotli").compress(data, quality=11)
    return compressed


def _zstd(data: bytes) -> bytes:
    # Above 19, windows exceed the 8 MB that RFC 9659 requires browsers to accept.
    compressed: bytes = importlib.import_module("zstandard").ZstdCompressor(level=19).compress(data)
    return compressed


class Coding(NamedTuple):
    """How to compress for one HTTP content coding, and the module that takes."""

    compress: Callable[[bytes], bytes]
    module: str


CODINGS: Mapping[str, Coding] = {
    "gzip": Coding(_gzip, "gzip"),
    "br": Coding(_brotli, "brotli"),
    "zstd": Coding(_zstd, "zstandard"),
}


def parse_codings(text: str) -> tuple[str, ...]:
    """Read ``gzip,br,zstd``, in any order, into the order of `CODINGS`.

    Raises ConfigError for an unknown coding and for a library that is missing.
    """
    names = {name.strip().lower() for name in text.split(",") if name.strip()}
    for name in sorted(names - set(CODINGS)):
        existing = ", ".join(CODINGS)
        raise ConfigError(f"--compress: there is no coding '{name}'; the codings are {existing}")
    for name in sorted(names):
        try:
            importlib.import_module(CODINGS[name].module)
        except ImportError:
            raise ConfigError(
                f"--compress {name} needs a library that is not installed: "
                "pip install 'kallithea-tune[compress]'"
            ) from None
    return tuple(name for name in CODINGS if name in names)


def worth_compressing(path: str, size: int) -> bool:
    """Whether variants of a file of this name and size (bytes) can be smaller at all."""
    extension = os.path.splitext(path)[1].lstrip(".").lower()
    return SMALLEST <= size <= LARGEST and extension not in COMPRESSED


def write_variants(
    missing: Sequence[tuple[str, str]], directory: str, progress: Callable[[str, int, int], None]
) -> dict[str, dict[str, int]]:
    """Write the `missing` variants (path and coding) in `directory`, on all cores.

    Returns their sizes in bytes by path and coding. zlib, brotli and zstandard release Python's
    lock while they compress.
    """
    sizes: dict[str, dict[str, int]] = {}
    # The largest first, so that no core is left alone with a large one at the end.
    ordered = sorted(missing, key=lambda item: -os.path.getsize(os.path.join(directory, item[0])))
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        running = {
            pool.submit(write_variant, os.path.join(directory, path), coding): (path, coding)
            for path, coding in ordered
        }
        try:
            for done, future in enumerate(running, 1):
                path, coding = running[future]
                sizes.setdefault(path, {})[coding] = interruption.result_of(future)
                progress("compressing", done, len(running))
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return sizes


def write_variant(source: str, coding: str) -> int:
    """Write the variant beside `source` if it is smaller; return its size in bytes, otherwise 0.

    It gets the modification time of `source`: servers send that as Last-Modified, and use it in
    ETags.
    """
    with open(source, "rb") as file:
        data = file.read()
    compressed = CODINGS[coding].compress(data)
    if len(compressed) >= len(data):
        return 0
    target = source + SUFFIXES[coding]
    with open(target, "wb") as file:
        file.write(compressed)
    status = os.stat(source)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return len(compressed)
