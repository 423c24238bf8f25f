"""Precompressed variants of files: deterministic, at the best level, and only where they are smaller."""

from __future__ import annotations

import gzip
import importlib
import os
from typing import Callable

from kallithea_tune.errors import ConfigError

# Already compressed formats, by extension: a variant would cost time and save nothing. (WOFF is deflate inside, WOFF2
# is Brotli, per their W3C recommendations; the others are well-known containers.)
COMPRESSED = frozenset({
    "7z", "aac", "avif", "br", "bz2", "flac", "gif", "gz", "heic", "jpeg", "jpg", "lz4", "m4a", "mkv", "mov", "mp3",
    "mp4", "oga", "ogg", "ogv", "opus", "png", "rar", "tbz", "tgz", "webm", "webp", "woff", "woff2", "xz", "zip",
    "zst",
})
# Below this a variant saves less than the header that names it (our judgement; nginx's gzip_min_length is 20).
SMALLEST = 150


def _gzip(data: bytes) -> bytes:
    # No time stamp and no name in the header, so that the same content gives the same bytes.
    return gzip.compress(data, 9, mtime=0)


def _brotli(data: bytes) -> bytes:
    compressed: bytes = importlib.import_module("brotli").compress(data, quality=11)
    return compressed


def _zstd(data: bytes) -> bytes:
    compressed: bytes = importlib.import_module("zstandard").ZstdCompressor(level=19).compress(data)
    return compressed


# HTTP content coding -> (file suffix, compressor, module it needs, extra that brings it)
CODINGS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "gzip": (".gz", _gzip, ""),
    "br": (".br", _brotli, "brotli"),
    "zstd": (".zst", _zstd, "zstandard"),
}
SUFFIXES = {coding: suffix for coding, (suffix, _, _) in CODINGS.items()}


def parse_codings(text: str) -> list[str]:
    """Read ``gzip,br,zstd`` in any order into the order of `CODINGS`; each needs its library to be importable.

    Raises ConfigError for an unknown coding and for a library that is missing.
    """
    asked = {word.strip().lower() for word in text.split(",") if word.strip()}
    for name in sorted(asked - set(CODINGS)):
        raise ConfigError("--compress: there is no coding '%s'; there are %s" % (name, ", ".join(CODINGS)))
    for name in sorted(asked):
        module = CODINGS[name][2]
        try:
            importlib.import_module(module or "gzip")
        except ImportError:
            raise ConfigError(
                "--compress %s needs a library that is not installed: pip install 'kallithea-tune[compress]'" % name
            ) from None
    return [name for name in CODINGS if name in asked]


def worth_compressing(path: str, size: int) -> bool:
    """Tell whether variants of a file of this name and size (bytes) can be smaller at all."""
    return size >= SMALLEST and os.path.splitext(path)[1].lstrip(".").lower() not in COMPRESSED


def write_variant(source: str, target: str, coding: str) -> int:
    """Write the variant of `source` to `target` if it is smaller; return its size in bytes, or 0 where it is not."""
    with open(source, "rb") as file:
        data = file.read()
    compressed = CODINGS[coding][1](data)
    if len(compressed) >= len(data):
        return 0
    with open(target, "wb") as file:
        file.write(compressed)
        file.flush()
        os.fsync(file.fileno())
    return len(compressed)
