"""How sure a measured difference is: bootstrap confidence intervals, with the standard library
only.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import Sequence

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate between the limits of its 95 % confidence interval, in the unit of the
    samples.
    """

    low: float
    estimate: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.high < 0


def median_interval(samples: Sequence[float], seed: int = 1) -> Interval:
    """Return the median of `samples` with its 95 % percentile bootstrap interval.

    Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13. The same samples give the
    same interval. Raises ValueError for fewer than five samples, of which no such interval can be
    had.
    """
    if len(samples) < 5:
        raise ValueError("%d samples are too few for a confidence interval" % len(samples))
    chance = random.Random(seed)
    return _interval(
        statistics.median(samples),
        [statistics.median(_resampled(samples, chance)) for _ in range(RESAMPLES)],
    )


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Return how much larger `first` is than `second`, pair by pair.

    Each pair is to be measured in the same round, so that what slows the whole machine down cancels
    out.
    """
    return median_interval([one - other for one, other in zip(first, second)])


def p99(samples: Sequence[float]) -> float:
    """Return the 99th percentile of `samples` by nearest rank, one of them."""
    return sorted(samples)[-(-len(samples) * 99 // 100) - 1]


def p99_interval(samples: Sequence[float], seed: int = 1) -> Interval:
    """Return the 99th percentile of `samples` with its 95 % percentile bootstrap interval."""
    chance = random.Random(seed)
    return _interval(p99(samples), [p99(_resampled(samples, chance)) for _ in range(RESAMPLES)])


def p99_difference(first: Sequence[float], second: Sequence[float], seed: int = 1) -> Interval:
    """Return how much larger the 99th percentile of `first` is than that of `second`, which need
    not be paired.
    """
    chance = random.Random(seed)
    return _interval(
        p99(first) - p99(second),
        [
            p99(_resampled(first, chance)) - p99(_resampled(second, chance))
            for _ in range(RESAMPLES)
        ],
    )


def _resampled(samples: Sequence[float], chance: random.Random) -> list[float]:
    return chance.choices(samples, k=len(samples))


def _interval(estimate: float, resampled: list[float]) -> Interval:
    ranked = sorted(resampled)
    return Interval(ranked[int(RESAMPLES * 0.025)], estimate, ranked[int(RESAMPLES * 0.975) - 1])
