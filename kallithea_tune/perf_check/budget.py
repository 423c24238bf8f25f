"""Which check comes when, and how much of the time each may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Collection, Iterator, Sequence

from kallithea_tune.perf_check.measurement import Deadline, Measured, Measurement
from kallithea_tune.perf_check.model import Check

# What is not disturbed by others gets so much more of its limit than a latency, which a busy
# machine spoils anyway; with less than a fifth of its limit a check is not run. Both are our
# judgement.
UNDISTURBED, TOO_LITTLE = 2.0, 0.2
# What takes no longer, in seconds, comes before what does: our judgement.
QUICK = 3.0
# A check that ends with less than this part of its time left, or with less than this many seconds,
# was stopped by the deadline: measurements plan ahead.
NEARLY, NEARLY_S = 0.25, 1.0
# Together, measurements take less than half of their limits (benchmarks/full_run.py), so this part
# of the sum of them is enough. Our judgement.
ENOUGH = 1 / 1.5


@dataclass(frozen=True)
class Share:
    """A check, the measurements that it is the first to need, and the seconds that these have."""

    check: Check
    due: frozenset[Measurement[Measured]]
    seconds: float

    @property
    def cost(self) -> float:
        """The most seconds that it takes."""
        return _cost(self.due)

    @property
    def possible(self) -> bool:
        """Whether the time is worth a start."""
        return self.seconds >= self.cost * TOO_LITTLE

    def used_up(self, left: float) -> bool:
        """Whether more time would have been used, when `left` seconds are left."""
        return self.seconds < self.cost and left < max(self.seconds * NEARLY, NEARLY_S)


def in_order(checks: Sequence[Check]) -> list[Check]:
    """Return the checks as they are to be run.

    Those that only read settings come first, then what others do not disturb, the quickest first:
    on a busy machine no more than latencies are cut short. Of these the quick ones come first, then
    the application's, for which users wait.
    """

    def place(item: Check) -> tuple[bool, bool, bool, bool, float]:
        latency, slow = bool(item.disturbed_by), item.seconds > QUICK
        return item.probes, latency, slow, latency and "app" not in item.needs, item.seconds

    return sorted(checks, key=place)


def shares(checks: Sequence[Check], deadline: Deadline) -> Iterator[Share]:
    """Yield the checks in their order, each with a part of the time that is left then.

    The parts are in the ratio of what the checks may take, so that nobody gets another's, and what
    one does not use is divided among all that are still to come.
    """
    ordered = in_order(checks)
    due = _due(ordered)
    weights = [
        _cost(own) * (1 if item.disturbed_by else UNDISTURBED) for item, own in zip(ordered, due)
    ]
    to_come = sum(weights)
    for item, own, weight in zip(ordered, due, weights):
        left = deadline.left
        yield Share(item, own, min(_cost(own), left * weight / to_come) if weight else left)
        to_come -= weight


def costs_of(checks: Sequence[Check]) -> list[float]:
    """Return the seconds each check may take: a measurement counts for the first that needs it."""
    return list(map(_cost, _due(checks)))


def _due(checks: Sequence[Check]) -> list[frozenset[Measurement[Measured]]]:
    paid: set[Measurement[Measured]] = set()
    due = []
    for item in checks:
        costly = {measurement for measurement in item.measurements if measurement.seconds}
        due.append(frozenset(costly - paid))
        paid |= due[-1]
    return due


def _cost(measurements: Collection[Measurement[Measured]]) -> float:
    return sum(measurement.seconds for measurement in measurements)


def enough(checks: Sequence[Check], budget: float) -> int:
    """Return the seconds of a budget that would do, where `budget` was too short."""
    # One second is for starting processes and reading settings.
    return max(math.ceil(sum(costs_of(checks)) * ENOUGH + 1), math.ceil(budget * 1.5))
