"""Precompressed variants of files: deterministic, at the best level, and only where they are
smaller.
"""

from __future__ import annotations

import concurrent.futures
import gzip
import importlib
import os
from typing import Callable, Sequence

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.manifest import SUFFIXES

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
# Below this a variant saves less than the header that names it (our judgement; nginx's
# gzip_min_length is 20).
SMALLEST = 150
# Above this (bytes), compressing in memory on every core could take more of it than there is. Our
# judgement.
LARGEST = 64 << 20


def _gzip(data: bytes) -> bytes:
    # No time stamp and no name in the header, so that the same content gives the same bytes.
    return gzip.compress(data, 9, mtime=0)


def _brotli(data: bytes) -> bytes:
    compressed: bytes = importlib.import_module("brotli").compress(data, quality=11)
    return compressed


def _zstd(data: bytes) -> bytes:
    # Above 19, windows grow beyond the 8 MB that RFC 9659 has every browser take.
    compressed: bytes = importlib.import_module("zstandard").ZstdCompressor(level=19).compress(data)
    return compressed


# HTTP content coding -> (compressor, module it needs)
CODINGS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip": (_gzip, "gzip"),
    "br": (_brotli, "brotli"),
    "zstd": (_zstd, "zstandard"),
}


def parse_codings(text: str) -> tuple[str, ...]:
    """Read ``gzip,br,zstd`` in any order into the order of `CODINGS`; each needs its library to be
    importable.

    Raises ConfigError for an unknown coding and for a library that is missing.
    """
    asked = {word.strip().lower() for word in text.split(",") if word.strip()}
    for name in sorted(asked - set(CODINGS)):
        raise ConfigError(
            "--compress: there is no coding '{}'; there are {}".format(name, ", ".join(CODINGS))
        )
    for name in sorted(asked):
        try:
            importlib.import_module(CODINGS[name][1])
        except ImportError:
            raise ConfigError(
                f"--compress {name} needs a library that is not installed: pip install 'kallithea-tune[compress]'"
            ) from None
    return tuple(name for name in CODINGS if name in asked)


def worth_compressing(path: str, size: int) -> bool:
    """Tell whether variants of a file of this name and size (bytes) can be smaller at all."""
    return (
        SMALLEST <= size <= LARGEST
        and os.path.splitext(path)[1].lstrip(".").lower() not in COMPRESSED
    )


def write_variants(
    todo: Sequence[tuple[str, str]], directory: str, progress: Callable[[str, int, int], None]
) -> dict[str, dict[str, int]]:
    """Write variants of files in `directory` on all cores; return their sizes in bytes by path and
    coding.

    zlib, brotli and zstandard release Python's lock while they compress.
    """
    sizes: dict[str, dict[str, int]] = {}
    # The largest first, so that no core is left with a big one at the end.
    ordered = sorted(todo, key=lambda item: -os.path.getsize(os.path.join(directory, item[0])))
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        running = {
            pool.submit(write_variant, os.path.join(directory, path), coding): (path, coding)
            for path, coding in ordered
        }
        try:
            for done, future in enumerate(concurrent.futures.as_completed(running), 1):
                path, coding = running[future]
                sizes.setdefault(path, {})[coding] = future.result()
                progress("compressing", done, len(running))
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return sizes


def write_variant(source: str, coding: str) -> int:
    """Write the variant beside `source` if it is smaller; return its size in bytes, or 0 where it
    is not.

    It gets the modification time of `source`: servers tell it to browsers, and put it into their
    ETags.
    """
    with open(source, "rb") as file:
        data = file.read()
    compressed = CODINGS[coding][0](data)
    if len(compressed) >= len(data):
        return 0
    target = source + SUFFIXES[coding]
    with open(target, "wb") as file:
        file.write(compressed)
    status = os.stat(source)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return len(compressed)
