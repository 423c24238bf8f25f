"""Whether two curves differ: a difference that repeats do not show is not claimed."""

from __future__ import annotations

import random

import pytest

from kallithea_tune.perf_check.load.comparison import difference, text, threads_note
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
        (1.4, "PostgreSQL served 38 % more"),
        (0.6, "PostgreSQL served 41 % fewer"),
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


def _curve(subject: str, *levels: "tuple[int, float, int]") -> Curve:
    return Curve(
        subject,
        tuple(Level(n, (rate, rate), (1.0,), 10, errors, 0.0) for n, rate, errors in levels),
    )


def test_threads_are_compared_with_one_process_and_stay_an_error() -> None:
    processes = _curve("processes", (1, 6.0, 0), (2, 11.0, 0))
    slow = threads_note(processes, _curve("threads", (1, 5.0, 0), (4, 6.0, 1)))
    assert "4 threads served up to 6 requests/s, no more than one process alone (6)" in slow
    assert "1 of 20 answers were wrong" in slow and "WEB001 stays an error" in slow
    fast = threads_note(processes, _curve("threads", (4, 9.0, 0)))
    assert "up to 9 requests/s, more than one process alone" in fast and "stays an error" in fast
    assert threads_note(processes, _curve("threads")) == ""
    assert threads_note(_curve("processes"), processes) == ""
