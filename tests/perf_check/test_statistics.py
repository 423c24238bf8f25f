"""Intervals hold what they promise."""

from __future__ import annotations

import random

import pytest

from kallithea_tune.perf_check.statistics import Interval, median_interval, p99, paired_difference


@pytest.mark.parametrize("count", [5, 12])
def test_a_95_percent_interval_holds_the_true_median_about_that_often(count: int) -> None:
    chance = random.Random(count)
    intervals = [median_interval([chance.gauss(7, 2) for _ in range(count)]) for _ in range(100)]
    held = sum(found.low <= 7 <= found.high for found in intervals)
    assert held >= 0.89 * len(intervals)
    assert all(found.low <= found.estimate <= found.high for found in intervals)


def test_a_difference_is_seen_through_noise_that_both_of_a_pair_share() -> None:
    chance = random.Random(1)
    noise = [chance.uniform(10, 100) for _ in range(20)]
    found = paired_difference([base + 2 + chance.gauss(0, 0.1) for base in noise], noise)
    assert found.above_zero and not found.below_zero and found.estimate == pytest.approx(2, abs=0.2)


def test_too_few_samples_have_no_interval() -> None:
    with pytest.raises(ValueError, match="4 samples are too few"):
        median_interval([1, 2, 3, 4])


def test_an_interval_that_touches_zero_is_on_neither_side() -> None:
    assert not Interval(0, 1, 2).above_zero and not Interval(-2, -1, 0).below_zero


def test_p99_is_one_of_the_samples() -> None:
    assert p99(list(range(1, 101))) == 99 and p99([5.0]) == 5
