"""What a hit and a miss cost grows with what the namespace holds; measured with Beaker itself."""

from __future__ import annotations

import os
from pathlib import Path

import beaker_tools
import mounted
import pytest

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.caching import beaker_cost


@pytest.mark.alone
def test_a_hit_and_a_miss_cost_more_the_more_is_stored(tmp_path: Path) -> None:
    small, large = (
        beaker_cost.hit_and_miss(str(tmp_path / str(entries)), entries, entries * 8192, 0.3)
        for entries in (30, 3000)
    )
    assert large.miss_ms > 5 * small.miss_ms and large.hit_ms > 3 * small.hit_ms
    # Each miss reads all of it as often as a hit does, and more, then writes it.
    assert large.miss_ms > 2 * large.hit_ms


@pytest.mark.parametrize("entries, size", [(1, 100), (200, 8192), (3, 2_000_000)])
def test_the_scratch_namespace_is_as_large_as_the_real_one(
    tmp_path: Path, entries: int, size: int
) -> None:
    real = beaker_tools.fill(tmp_path / "real", "space", entries, size)
    cost = beaker_cost.hit_and_miss(str(tmp_path / "scratch"), entries, real.stat().st_size, 0)
    assert cost.rounds == 3
    assert cost.bytes == pytest.approx(real.stat().st_size, rel=0.05, abs=100)


def test_a_hit_finds_what_is_stored_and_a_miss_stores_it(tmp_path: Path) -> None:
    cache = beaker_cost.file_cache(str(tmp_path), "space")
    assert beaker_cost.seed(cache, 10, 10_000) == 10
    asked: list[str] = []
    for key in ("seed 0", "seed 9", "miss 0", "miss 0"):
        cache.get(key, createfunc=lambda key=key: asked.append(key))
    assert asked == ["miss 0"]


def test_a_huge_namespace_is_measured_at_a_part_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beaker_cost, "MOST_BYTES", 1_000_000)
    cost = beaker_cost.hit_and_miss(str(tmp_path), 1000, 50_000_000, 0)
    assert 800_000 < cost.bytes < 1_200_000
    assert (
        os.path.getsize(beaker_cost.file_cache(str(tmp_path), "kallithea-tune").namespace.file)
        < 1_400_000
    )


def test_nothing_is_written_where_the_disk_is_nearly_full(tmp_path: Path) -> None:
    with mounted.tmpfs(tmp_path / "small", "size=1m") as place:
        with pytest.raises(NotMeasured, match="too little space"):
            beaker_cost.hit_and_miss(str(place), 100, 500_000, 0)
        assert not list(place.rglob("*.cache"))
