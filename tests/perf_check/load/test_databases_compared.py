"""Whether two curves differ: a difference that repeats do not show is not claimed."""

from __future__ import annotations

import random

import pytest

from kallithea_tune.perf_check.load.comparison import difference, text
from kallithea_tune.perf_check.results import Curve, Level


def curve(subject: str, factor: float, noise: float, seed: int, repeats: int = 3) -> Curve:
    chance = random.Random(seed)
    levels = (
        Level(
            n, tuple(10 * n * factor * chance.gauss(1, noise) for _ in range(repeats)), (), 9, 0, 0
        )
        for n in (1, 2, 3, 4, 6, 8)
    )
    return Curve(subject, tuple(levels))


@pytest.mark.parametrize(
    "factor, words",
    [
        (1.4, "PostgreSQL serves 38 % more"),
        (0.6, "PostgreSQL serves 41 % fewer"),
        (1.0, "no difference between"),
    ],
)
def test_difference(factor: float, words: str) -> None:
    found = difference(curve("SQLite", 1, 0.05, 1), curve("PostgreSQL", factor, 0.05, 2))
    assert found and text(found).startswith(words)
    assert found.low <= found.estimate <= found.high


def test_no_difference_is_rarely_one() -> None:
    pairs = [
        difference(curve("a", 1, 0.1, seed), curve("b", 1, 0.1, seed + 1000)) for seed in range(20)
    ]
    assert sum(bool(found and found.shown) for found in pairs) <= 3


def test_too_few_repeats_and_no_common_level_are_no_comparison() -> None:
    first = curve("a", 1, 0.1, 1)
    assert difference(first, curve("b", 1, 0.1, 2, repeats=2)) is None
    assert difference(first, Curve("b", ())) is None
