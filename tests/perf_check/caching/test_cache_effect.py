"""A cache that is cold, warm or off, by Beaker itself and in the real application."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import beaker_tools
import pytest
from beaker.cache import cache_managers, cache_region, cache_regions

from kallithea_tune.app.visit import Answer
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.caching import cache_effect
from kallithea_tune.perf_check.measurement import Context, Deadline

README = "_get_readme_from_cache"


@pytest.fixture(params=["file", "memory", "dbm"])
def region(request: Any, tmp_path: Path) -> Iterator[str]:
    """A region of each kind, as the application configures it."""
    cache_regions["ours"] = {
        "type": request.param,
        "data_dir": str(tmp_path),
        "expire": 100,
        "enabled": True,
        "key_length": 250,
    }
    yield request.param
    cache_regions.clear()
    cache_managers.clear()


def call(number: int) -> int:
    """Call a function that caches, decorated anew as in each request of Kallithea; return how often
    it ran.
    """
    ran = []

    @cache_region("ours", "named")
    def compute(number: int) -> int:
        ran.append(number)
        return number

    call.namespace = compute._arg_namespace  # type: ignore[attr-defined]
    assert compute(number) == number
    return len(ran)


def test_cold_computes_warm_does_not_and_off_does(region: str) -> None:
    call(1)
    for _ in range(2):
        for state, runs in (("cold", 1), ("warm", 0), ("off", 1)):
            cache_effect.put_into(state, "ours", call.namespace, 0, 0)  # type: ignore[attr-defined]
            assert call(1) == runs


def test_a_cold_cache_holds_as_much_as_the_live_one_each_time(tmp_path: Path) -> None:
    cache_regions["ours"] = {
        "type": "file",
        "data_dir": str(tmp_path),
        "expire": 100,
        "enabled": True,
    }
    try:
        call(1)
        sizes = []
        for _ in range(3):
            cache_effect.put_into("cold", "ours", call.namespace, 50, 40_000)  # type: ignore[attr-defined]
            (path,) = tmp_path.rglob("*.cache")
            sizes.append(path.stat().st_size)
            assert call(1) == 1 and call(1) == 0
            assert path.stat().st_size > sizes[-1]
        assert sizes[0] == pytest.approx(40_000, rel=0.1) and len(set(sizes)) == 1
    finally:
        cache_regions.clear()
        cache_managers.clear()


def test_a_region_that_the_application_lacks_is_said() -> None:
    with pytest.raises(NotMeasured, match="no cache region none"):
        cache_effect.put_into("cold", "none", "space", 0, 0)


def answers(*rounds: tuple[float, float, float], status: int = 200) -> list[Answer]:
    return [Answer("/page", status, ms=(taken,)) for three in rounds for taken in three]


def test_the_differences_are_taken_within_each_round() -> None:
    # The machine is twice as slow in every other round.
    found = cache_effect.effect_of(
        answers(*[(50.0 * k, 20.0 * k, 40.0 * k) for k in (1, 2, 1, 2, 1, 2, 1)])
    )
    assert (found.cold_ms, found.warm_ms, found.off_ms, found.rounds) == (50, 20, 40, 7)
    assert (found.saved.estimate, found.lost.estimate) == (20, 10) and found.saved.above_zero
    assert found.break_even == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "given, said",
    [
        ([], "time for 0 of 5 rounds"),
        (answers(*[(1, 1, 1)] * 5)[:-1], "time for 4 of 5 rounds"),
        (answers(*[(1, 1, 1)] * 5, status=500), "answered with status 500"),
    ],
)
def test_too_few_or_wrong_answers_are_no_measurement(given: list[Answer], said: str) -> None:
    with pytest.raises(NotMeasured, match=said):
        cache_effect.effect_of(given)


@pytest.mark.alone
def test_the_real_application_with_an_empty_and_with_a_large_cache(
    visited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_effect, "MOST", 5)
    use = beaker_tools.use_of("readme")
    before = beaker_tools.listing(visited.parent)
    found = []
    for entries, size in ((0, 0), (200_000, 30_000_000)):
        page = cache_effect.Page("README", "/hg-one", use.region, use.namespace, entries, size)
        (asked,) = cache_effect.measure(Context(load(str(visited)), Deadline(60)), [page], 60)
        found.append(cache_effect.effect_of(asked))
    empty, large = found
    assert (empty.rounds, large.rounds) == (5, 5)
    # So many entries cost a second each time, far more than any machine's noise.
    assert large.lost.above_zero and large.lost.estimate > 3 * empty.lost.estimate
    after = beaker_tools.listing(visited.parent)
    # The scratch directory came and went in cache_dir.
    assert {path for path in before if before[path] != after.get(path)} <= {
        "data"
    } and before.keys() == after.keys()
