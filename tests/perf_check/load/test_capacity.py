"""What follows from a curve for a rate: never more than was measured."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from kallithea_tune.perf_check.formats import curves
from kallithea_tune.perf_check.load.capacity import (
    Capacity,
    Memory,
    capacity,
    memory_for,
    text,
    with_target,
)
from kallithea_tune.perf_check.results import Band, Curve, Level

# 7, 14, 21, 28 requests/s at 70 % of the lower limit.
CURVE = Curve("SQLite", (), tuple(Band(n, 10.0 * n, 11.0 * n, 12.0 * n) for n in range(1, 5)))


@pytest.mark.parametrize(
    "rate, workers, machines, limit",
    [
        (7, 1, 1, ""),
        (7.1, 2, 1, ""),
        (28, 4, 1, ""),
        (28.1, 3, 2, "with the most workers that were measured"),
        (100, 4, 4, "with the most workers that were measured"),
    ],
)
def test_workers_and_machines(rate: float, workers: int, machines: int, limit: str) -> None:
    found = capacity(CURVE, rate)
    assert found and (found.workers, found.machines, found.limit) == (workers, machines, limit)


def test_memory_limits_workers() -> None:
    memory = Memory(of_worker=120e6, available=250e6)
    assert capacity(CURVE, 20, memory) == Capacity(20, 2, 2, 14.0, 240e6, "for lack of memory")
    assert capacity(CURVE, 20, replace(memory, available=1e6)) is None


def test_memory_is_what_is_available_now_but_for_a_rest() -> None:
    assert memory_for(CURVE, 10**9) is None
    assert memory_for(replace(CURVE, worker_bytes=100_000_000), 10**9) == Memory(1e8, 0.75e9)
    note = with_target(CURVE, 20, Memory(120e6, 250e6)).notes[-1]
    assert "2 workers (with 240 MB of memory) each" in note and "14 (for lack of memory)" in note


def test_workers_beyond_the_peak_are_not_advised() -> None:
    rates = (10.0, 20.0, 30.0, 25.0)
    bands = tuple(Band(n, rate, rate, rate) for n, rate in enumerate(rates, start=1))
    found = capacity(replace(CURVE, bands=bands, peak=3), 40)
    assert found and (found.workers, found.machines) == (3, 2)
    assert found.limit == "with 3 workers; more do not serve more"


def test_fewer_workers_on_more_machines_do_not_lower_what_one_serves() -> None:
    # As measured: one worker on each of two machines would do, but one machine serves more.
    bands = tuple(Band(n, low, low, low) for n, low in ((1, 4.4), (2, 6.2), (4, 6.8), (8, 5.9)))
    found = capacity(replace(CURVE, bands=bands, peak=0), 5)
    assert found and (found.workers, found.machines) == (1, 2)
    assert "no more than 4.76 (with 4 workers; more do not serve more)" in text(found)


@pytest.mark.parametrize(
    "curve, note",
    [
        (CURVE, "50 requests/s take at least 2 machines like this one with 4 workers each"),
        (
            replace(CURVE, bands=()),
            "how many workers serve 50 requests/s is not known without a law",
        ),
    ],
    ids=["bands", "no bands"],
)
def test_note(curve: Curve, note: str) -> None:
    assert note in with_target(curve, 50).notes[-1]


def test_table_has_the_levels_and_what_is_not_known() -> None:
    few = Level(1, (3.0, 4.0), (10.0, 20.0, 30.0), 3, 0, 0.05)
    many = Level(2, (6.0, 6.0), tuple(map(float, range(1, 201))), 204, 4, 0.1)
    stream = io.StringIO()
    curves.write(Curve("SQLite", (few, many), notes=("no law",)), stream)
    lines = stream.getvalue().splitlines()
    assert lines[1] == "SQLite" and lines[-1] == "Note: no law"
    assert lines[3].split() == ["1", "3", "to", "4", "-", "20", "-", "-", "0", "of", "3", "5", "%"]
    assert lines[4].split() == ["2", "6", "-", "101", "191", "199", "4", "of", "204", "10", "%"]
