"""How many workers and machines serve a rate of requests: what follows from a measured curve.

Nothing is concluded beyond the largest level that was measured, and of several machines only how
many there have to be at least: whether database and storage keep up with them was not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Optional

from kallithea_tune.perf_check.results import Band, Curve
from kallithea_tune.text import counted, figure, percentage

# At this utilisation a request waits for more than two others before it (M/M/1).
BUSY = 0.7
# Of the memory that is available now, for workers; the rest is for hg, git and the page cache. Our
# judgement.
FOR_WORKERS = 0.75


@dataclass(frozen=True)
class Memory:
    """What a worker takes, and what all of them may take, in bytes."""

    of_worker: float
    available: float

    @property
    def workers(self) -> int:
        """How many workers there is memory for."""
        return int(self.available // self.of_worker)


@dataclass(frozen=True)
class Capacity:
    """What serves `rate` requests per second: `workers` on each of `machines` machines like this.

    `most` is what a machine serves, with as many workers as serve the most, at `BUSY` of the lower
    limit of its throughput; `memory` what the workers take in bytes on each, 0 where that is not
    known. `limit` is what keeps a machine from serving more, empty where one is enough.
    """

    rate: float
    workers: int
    machines: int
    most: float
    memory: float = 0.0
    limit: str = ""


def memory_for(curve: Curve, available: int) -> Optional[Memory]:
    """Return what there is for workers as large as the curve's of `available` bytes; None where
    their size was not seen.
    """
    if not curve.worker_bytes:
        return None
    return Memory(curve.worker_bytes, available * FOR_WORKERS)


def with_target(curve: Curve, rate: float, memory: Optional[Memory] = None) -> Curve:
    """Return the curve with a note on what serves `rate` requests per second."""
    if not curve.bands:
        note = f"how many workers serve {figure(rate)} requests/s is not known without a law"
        return replace(curve, notes=(*curve.notes, note))
    found = capacity(curve, rate, memory)
    note = (
        text(found) if found else "there is not enough memory for as many workers as were measured"
    )
    return replace(curve, notes=(*curve.notes, note))


def capacity(curve: Curve, rate: float, memory: Optional[Memory] = None) -> Optional[Capacity]:
    """Return the fewest workers, on the fewest machines, that serve `rate` requests per second.

    `curve` has bands, see `scalability.fitted`; their lower limits count, at `BUSY`.
    None where memory is too small for the smallest level.
    """
    most = memory.workers if memory else curve.bands[-1].workers
    usable = [band for band in curve.bands if band.workers <= most]
    if not usable:
        return None
    best = max(usable, key=_served)
    enough = next((band for band in usable if _served(band) >= rate), None)
    machines, limit = 1, ""
    if not enough:
        machines = math.ceil(rate / _served(best))
        # What the last machine has left over may do with fewer workers on all of them.
        enough = next(band for band in usable if _served(band) >= rate / machines)
        if best is not usable[-1]:
            limit = f"with {counted(best.workers, 'worker')}; more do not serve more"
        elif len(usable) < len(curve.bands):
            limit = "for lack of memory"
        else:
            limit = "with the most workers that were measured"
    taken = enough.workers * memory.of_worker if memory else 0.0
    return Capacity(rate, enough.workers, machines, _served(best), taken, limit)


def text(found: Capacity) -> str:
    """Return a sentence for the report."""
    workers = counted(found.workers, "worker")
    if found.memory:
        workers += f" (with {found.memory / 1e6:,.0f} MB of memory)"
    rate = f"{figure(found.rate)} requests/s"
    if found.machines == 1:
        return f"{workers} serve {rate} on this machine, with {percentage(BUSY)} of them busy"
    return (
        f"{rate} take at least {found.machines} machines like this one with {workers} each, since "
        f"one serves no more than {figure(found.most)} ({found.limit}); whether database and "
        "storage keep up with them was not measured"
    )


def _served(band: Band) -> float:
    return BUSY * band.low
