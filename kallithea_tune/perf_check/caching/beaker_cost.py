"""What a hit and a miss cost in a Beaker file namespace of a given size, timed on the same disk."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from typing import Any

from kallithea_tune.errors import NotMeasured

# A larger namespace is not written: it is measured at this size, and costs at least as much.
MOST_BYTES = 32 * 1024 * 1024
# Key, times and pickle's own opcodes of one entry.
_ENTRY_BYTES = 60
_LIFETIME = 604800


def file_cache(directory: str, namespace: str) -> Any:
    """Return Beaker's cache of `namespace` with the file backend in `directory`."""
    from beaker.cache import Cache

    return Cache(namespace, type="file", data_dir=directory, expire=_LIFETIME)


def seed(cache: Any, entries: int, size: int) -> int:
    """Fill `cache`, by Beaker itself, with `entries` entries of about `size` bytes in all; return
    how many it holds.

    They are fewer where `size` is above `MOST_BYTES`. Raises NotMeasured where the disk is nearly
    full.
    """
    each = max(12, size // max(1, entries) - _ENTRY_BYTES)
    count = min(entries, max(1, MOST_BYTES // (each + _ENTRY_BYTES)))
    if shutil.disk_usage(cache.namespace.file_dir).free < 10 * count * (each + _ENTRY_BYTES):
        raise NotMeasured(
            f"too little space is left in {cache.namespace.file_dir} to measure there"
        )
    now = time.time()
    cache.namespace.acquire_write_lock(replace=True)
    try:
        for number in range(count):
            # Each value is a string of its own, since pickle writes a repeated one only once.
            value = "%-*d" % (min(each, MOST_BYTES), number)
            cache.namespace[b"seed %d" % number] = (now, _LIFETIME, (value, "README"))
    finally:
        cache.namespace.release_write_lock()
    return count


def hit_and_miss(directory: str, entries: int, size: int, budget: float) -> dict[str, Any]:
    """Time hits and misses in turn in a file namespace of `entries` entries and `size` bytes in
    `directory`.

    A hit is ``Cache.get`` of a stored key, a miss of one that is not stored and whose value is
    ready at once: open(2), flock(2), read(2) and unpickling of the whole file for a hit; that three
    times, pickling of it all, write(2) and rename(2) for a miss. Returns the medians ``hit_ms`` and
    ``miss_ms``, the ``rounds``, and the ``bytes`` measured at.
    """
    cache = file_cache(directory, "kallithea-tune")
    held = seed(cache, max(1, entries), size)
    measured = os.path.getsize(cache.namespace.file)
    value = ("x" * max(1, size // max(1, entries)), "README")
    hits: list[float] = []
    misses: list[float] = []
    end = time.monotonic() + budget
    while len(hits) < 3 or (time.monotonic() < end and len(hits) < 50):
        hits.append(_milliseconds(cache, "seed %d" % ((held // 2,)), value))
        misses.append(_milliseconds(cache, "miss %d" % len(misses), value))
    return {
        "hit_ms": statistics.median(hits),
        "miss_ms": statistics.median(misses),
        "rounds": len(hits),
        "bytes": measured,
    }


def _milliseconds(cache: Any, key: str, value: object) -> float:
    started = time.perf_counter()
    cache.get(key, createfunc=lambda: value)
    return (time.perf_counter() - started) * 1000
