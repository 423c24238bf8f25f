"""Memory judged by tables, and on a real instance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.storage.memory import Limit, Memory, Pressure
from kallithea_tune.perf_check.storage.memory_checks import (
    judge_limit,
    judge_peaks,
    judge_pressure,
    judge_swap,
    judge_working_set,
)

GB = 10**9
MEMORY = Memory(
    sizes={"repositories": 3 * GB, "index_dir": GB // 2, "database": GB // 2},
    unfinished=(),
    total=16 * GB,
    available=10 * GB,
    page_cache=6 * GB,
    resident=GB // 2,
    processes=4,
    limit=None,
    swap_total=2 * GB,
    swap_used=0,
    swapped_in_per_s=0.0,
    swapped_out_per_s=0.0,
)
LIMIT = Limit(version=2, group="/sys/fs/cgroup/kallithea", bytes=2 * GB, used=1 * GB, killed=0)


@pytest.mark.parametrize(
    "change, severity, words",
    [
        ({}, Severity.ok, "4 GB (repositories, index_dir, database) fits into the 10 GB"),
        ({"available": 3 * GB}, Severity.advice, "does not fit into the 3 GB"),
        ({"limit": LIMIT}, Severity.advice, "does not fit into the 2 GB"),
        ({"limit": replace(LIMIT, bytes=64 * GB)}, Severity.ok, "the 10 GB"),
        ({"limit": replace(LIMIT, bytes=9 * GB)}, Severity.ok, "the 9 GB"),
        # The four processes take 6 GB of it at their peak.
        (
            {"limit": replace(LIMIT, bytes=9 * GB), "peak": 3 * GB // 2},
            Severity.advice,
            "does not fit into the 3 GB",
        ),
        ({"unfinished": ("repositories",)}, Severity.ok, "at least 4 GB"),
        ({"sizes": {}}, Severity.ok, "0 MB (nothing)"),
    ],
)
def test_the_working_set(change: Mapping[str, Any], severity: Severity, words: str) -> None:
    found = judge_working_set(replace(MEMORY, **change))
    assert found.severity is severity and words in found.diagnosis


@pytest.mark.parametrize(
    "change, severity, words",
    [
        ({}, Severity.ok, "0 MB of swap in use"),
        ({"swap_total": 0}, Severity.ok, "no swap"),
        ({"swap_used": 2 * GB}, Severity.ok, "2 GB of swap in use"),
        ({"swap_used": 2 * GB, "swapped_in_per_s": 0.9e6}, Severity.ok, "0.9 MB a second"),
        ({"swap_used": 2 * GB, "swapped_in_per_s": 2.5e6}, Severity.warning, "2.5 MB a second"),
    ],
)
def test_swap(change: Mapping[str, Any], severity: Severity, words: str) -> None:
    found = judge_swap(replace(MEMORY, **change))
    assert found.severity is severity and words in found.diagnosis


def test_a_process_killed_at_the_limit_is_an_error() -> None:
    assert judge_limit(LIMIT).severity is Severity.ok
    assert "1 process was" in judge_limit(replace(LIMIT, killed=1)).diagnosis
    found = judge_limit(replace(LIMIT, killed=3))
    assert found.severity is Severity.error and "3 processes were killed" in found.diagnosis


@pytest.mark.parametrize(
    "processes, peak, severity, said",
    [
        (4, GB // 2, Severity.ok, "4 processes of up to 500 MB each fit"),
        (5, GB // 2, Severity.warning, "5 processes of up to 500 MB each may take more"),
        (1, 3 * GB, Severity.warning, "1 process of up to 3 GB"),
    ],
)
def test_processes_at_their_peak(processes: int, peak: int, severity: Severity, said: str) -> None:
    found = judge_peaks(processes, peak, LIMIT)
    assert found.severity is severity and said in found.diagnosis


@pytest.mark.parametrize(
    "some, severity", [(0.0, Severity.ok), (9.9, Severity.ok), (10.0, Severity.warning)]
)
@pytest.mark.parametrize("name", ["disks", "memory"])
def test_pressure(name: str, some: float, severity: Severity) -> None:
    found = judge_pressure(name, Pressure(some, 0.0), "a remedy")
    assert found.severity is severity and f"waited for {name}" in found.diagnosis


def measured(gearbox: Callable[..., Any], ini: Path, tmp_path: Path) -> Any:
    done = gearbox("perf-check", "-c", ini, "-f", "json", "--only", "MEM001", cwd=str(tmp_path))
    return {one["subject"]: one for one in json.loads(done.stdout)}


def test_a_real_instance(pristine: Path, gearbox: Callable[..., Any], tmp_path: Path) -> None:
    found = measured(gearbox, pristine / "my.ini", tmp_path)
    evidence = found["working set"]["evidence"]
    assert evidence["repositories_mb"] > 0 and evidence["database_mb"] > 0.1
    assert "swap" in found and all(one["severity"] != "unknown" for one in found.values())


def test_without_a_database_the_rest_is_counted(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    (instance.parent / "kallithea.db").unlink()
    (instance.parent / "data" / "index").mkdir(parents=True)
    (instance.parent / "data" / "index" / "segment").write_bytes(b"x" * 100_000)
    evidence = measured(gearbox, instance, tmp_path)["working set"]["evidence"]
    assert (
        evidence["index_dir_mb"] >= 0.1
        and "database_mb" not in evidence
        and "repositories_mb" not in evidence
    )
