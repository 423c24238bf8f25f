"""Which check comes when, and how much of the time each may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterator, Sequence

from kallithea_tune.perf_check.measurement import Deadline, Measured, Measurement
from kallithea_tune.perf_check.model import Check

# What is not disturbed by others gets so much more of its limit than a latency, which a busy
# machine spoils anyway; with less than a fifth of its limit a check is not run. Both are our
# judgement.
UNDISTURBED, TOO_LITTLE = 2.0, 0.2
# A check that ends with less than this part of its time left was stopped by the deadline:
# measurements plan ahead.
NEARLY = 0.25
# Together, measurements take less than half of their limits (benchmarks/full_run.py), so this part
# of the sum of them is enough. Our judgement.
ENOUGH = 1 / 1.5


@dataclass(frozen=True)
class Share:
    """A check, the most seconds that it takes (`cost`), and those that it has."""

    check: Check
    cost: float
    seconds: float

    @property
    def possible(self) -> bool:
        """Whether the time is worth a start."""
        return self.seconds >= self.cost * TOO_LITTLE

    def used_up(self, left: float) -> bool:
        """Whether more time would have been used, when `left` seconds are left."""
        return self.seconds < self.cost and left < self.seconds * NEARLY


def in_order(checks: Sequence[Check]) -> list[Check]:
    """Return the checks as they are to be run.

    Those that only read settings come first, then what others do not disturb, the quickest first:
    on a busy machine no more than latencies are cut short. Of these, users wait for the
    application's, which come first.
    """

    def place(item: Check) -> tuple[bool, bool, bool, float]:
        latency = bool(item.disturbed_by)
        return item.probes, latency, latency and "app" not in item.needs, item.seconds

    return sorted(checks, key=place)


def shares(checks: Sequence[Check], deadline: Deadline) -> Iterator[Share]:
    """Yield the checks in their order, each with a part of the time that is left then.

    The parts are in the ratio of what the checks may take, so that nobody gets another's, and what
    one does not use is divided among all that are still to come.
    """
    ordered = in_order(checks)
    costs = costs_of(ordered)
    weights = [
        cost * (1 if item.disturbed_by else UNDISTURBED) for item, cost in zip(ordered, costs)
    ]
    to_come = sum(weights)
    for item, cost, weight in zip(ordered, costs, weights):
        left = deadline.left
        yield Share(item, cost, min(cost, left * weight / to_come) if cost else left)
        to_come -= weight


def costs_of(checks: Sequence[Check]) -> list[float]:
    """Return the seconds each check may take: a measurement counts for the first that needs it."""
    paid: set[Measurement[Measured]] = set()
    costs = []
    for item in checks:
        due = set(item.measurements) - paid
        costs.append(sum(measurement.seconds for measurement in due))
        paid |= due
    return costs


def enough(checks: Sequence[Check], budget: float) -> int:
    """Return the seconds of a budget that would do, where `budget` was too short."""
    # One second is for starting processes and reading settings.
    return max(math.ceil(sum(costs_of(checks)) * ENOUGH + 1), math.ceil(budget * 1.5))
