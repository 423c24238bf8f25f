"""The cost of a hit and of a miss in a file namespace of a given size, timed on the same disk."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.caching.beaker_files import Namespace, live_namespaces
from kallithea_tune.perf_check.measurement import Context, Deadline, Examined, measurement
from kallithea_tune.system import child
from kallithea_tune.system.scratch import scratch

if TYPE_CHECKING:
    from beaker.cache import Cache

# A larger namespace is not written: it is measured at this size, and costs at least as much.
MOST_MB = 32
MOST_BYTES = MOST_MB * 1024 * 1024
# Key, times and pickle's own opcodes of one entry.
_ENTRY_BYTES = 60
_LIFETIME = 604800


@dataclass(frozen=True)
class Cost:
    """The median milliseconds of a hit and of a miss, in a namespace of so many `bytes`."""

    hit_ms: float
    miss_ms: float
    rounds: int
    bytes: int


@dataclass(frozen=True)
class NamespaceCost:
    """A live namespace, the function that uses it, and the cost in one like it."""

    namespace: Namespace
    function: str
    cost: Cost


@dataclass(frozen=True)
class NamespaceCosts:
    """The cost in each live namespace; `functions` is how many functions use file regions.

    `others` are those of `Namespaces`.
    """

    costs: tuple[NamespaceCost, ...]
    functions: int
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def examined(self) -> Examined:
        """The live namespaces that are files."""
        total = len(self.costs) + len(self.others)
        return Examined(len(self.costs), total, "namespace file")


@measurement(seconds=1.0, writes="the cache's data directory", uses=(live_namespaces,))
def namespace_costs(context: Context) -> NamespaceCosts:
    """Time a hit and a miss in a scratch namespace like each live one, in the same directory."""
    live = context.measure(live_namespaces)
    costs = []
    for number, kept in enumerate(live.namespaces):
        share = context.deadline.left / (len(live.namespaces) - number)
        cost = cost_beside(kept, Deadline(share))
        costs.append(NamespaceCost(kept, live.function_of(kept), cost))
    return NamespaceCosts(tuple(costs), len(live.uses), live.others)


def cost_beside(kept: Namespace, deadline: Deadline) -> Cost:
    """Time a scratch namespace beside, and as large as, a live one."""
    with scratch(kept.data_dir) as place:
        return child.call(
            hit_and_miss,
            deadline.left + 5,
            directory=place,
            entries=kept.entries,
            size=kept.bytes,
            budget=deadline.left * 0.6,
        )


def file_cache(directory: str, namespace: str) -> Cache:
    """Return Beaker's cache of `namespace` with the file backend in `directory`."""
    from beaker.cache import Cache

    return Cache(namespace, type="file", data_dir=directory, expire=_LIFETIME)


def seed(cache: Cache, entries: int, size: int) -> int:
    """Fill `cache`, by Beaker itself, with `entries` entries of about `size` bytes in all.

    Returns the number of entries, which is smaller where `size` is above `MOST_BYTES`. Raises
    NotMeasured where the disk is nearly full.
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


def hit_and_miss(directory: str, entries: int, size: int, budget: float) -> Cost:
    """Time hits and misses in turn in a file namespace of `entries` entries and `size` bytes.

    A hit is ``Cache.get`` of a stored key, a miss of one that is not stored and whose value is
    ready at once: open(2), flock(2), read(2) and unpickling of the whole file for a hit; that three
    times, pickling of it all, write(2) and rename(2) for a miss.
    """
    cache = file_cache(directory, "kallithea-tune")
    stored = seed(cache, max(1, entries), size)
    measured = os.path.getsize(cache.namespace.file)
    value = ("x" * max(1, size // max(1, entries)), "README")
    hits: list[float] = []
    misses: list[float] = []
    end = time.monotonic() + budget
    while len(hits) < 3 or (time.monotonic() < end and len(hits) < 50):
        hits.append(_milliseconds(cache, f"seed {stored // 2}", value))
        misses.append(_milliseconds(cache, f"miss {len(misses)}", value))
    return Cost(statistics.median(hits), statistics.median(misses), len(hits), measured)


def _milliseconds(cache: Cache, key: str, value: object) -> float:
    started = time.perf_counter()
    cache.get(key, createfunc=lambda: value)
    return (time.perf_counter() - started) * 1000
