"""What the cache and the sessions cost on disk; and that nothing of them is loaded or changed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping

import beaker_tools
import pytest
import sick_instance
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.caching import beaker_files_checks
from kallithea_tune.perf_check.caching.beaker_cost import Cost
from kallithea_tune.perf_check.caching.beaker_files import Growth, Namespace
from kallithea_tune.perf_check.caching.regions import label
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

MB = 1024 * 1024
KEPT = Namespace("/d/cache/x", "/d/cache", 24 * MB, 3000, 1000, 0, "_f", True)


@pytest.mark.parametrize(
    "miss, measured, severity, said",
    [
        (9.9, 24 * MB, Severity.ok, "a miss rewrites it in 9.9 ms"),
        (10, 24 * MB, Severity.warning, "rewrites all 3000 entries, 24 MB: 10 ms"),
        (99, 24 * MB, Severity.warning, ": 99 ms"),
        (146, 24 * MB, Severity.error, ": 146 ms"),
        (146, 12 * MB, Severity.error, ": over 146 ms"),
    ],
)
def test_a_namespace_is_judged_by_what_a_miss_costs(
    miss: float, measured: int, severity: Severity, said: str
) -> None:
    found = beaker_files_checks.judge_namespace(KEPT, Cost(1, miss, 3, measured), "README")
    assert found.severity is severity and said in found.diagnosis
    assert found.impact == ("" if severity is Severity.ok else f"+{miss:g} ms per README miss")


def test_the_size_to_delete_at_is_where_a_miss_costs_10_ms_here() -> None:
    cost = Cost(1, 120, 3, 24 * MB)
    found = beaker_files_checks.judge_namespace(KEPT, cost, "README")
    command = "find /d/cache/container_file -name '*.cache' -size +2M -delete"
    assert str(found.remedy) == f"daily, by cron: {command}"
    slower = beaker_files_checks.judge_namespace(KEPT, replace(cost, miss_ms=5000), "README")
    assert "-size +1M" in str(slower.remedy)


@pytest.mark.parametrize(
    "files, old, week, severity, days",
    [
        (9_999, 9_999, 0, Severity.ok, 30),
        (10_000, 9_999, 0, Severity.ok, 30),
        (99_999, 0, 70_000, Severity.ok, 0),
        (10_000, 10_000, 0, Severity.advice, 30),
        (100_000, 50_000, 0, Severity.warning, 30),
        (100_000, 9_999, 70_000, Severity.warning, 7),
        (100_000, 0, 100_000, Severity.warning, 7),
    ],
)
@pytest.mark.parametrize("name", [beaker_files_checks.SESSIONS, beaker_files_checks.CACHES])
def test_growth_is_judged_by_number_and_age(
    name: str, files: int, old: int, week: int, severity: Severity, days: int
) -> None:
    counted = Growth(files, files * 4096, old, old * 4096, week, 90.0, True, ("/d/container_file",))
    found = beaker_files_checks.judge_growth(counted, name, 30, "app:main")
    assert found.severity is severity and found.evidence["new_per_day"] == week // 7
    assert str(found.remedy).endswith(
        "find /d/container_file -type f -mtime +%d -delete" % days if days else ""
    )
    # A session is kept while its user may come back, unless that is changed as well.
    assert ("session.timeout = 604800" in str(found.remedy)) == (
        days == 7 and name == beaker_files_checks.SESSIONS
    )
    if days != 7:
        assert "%d are over 30 days old: " % old in found.diagnosis
    assert (
        "%d+ " % files
        in beaker_files_checks.judge_growth(replace(counted, complete=False), name, 30).diagnosis
    )


@pytest.mark.parametrize(
    "function, name",
    [
        ("_get_readme_from_cache", "README"),
        ("_get_feed_from_cache", "feed"),
        ("user_attr_or_none", "user_attr_or_none"),
        ("", "unknown"),
    ],
)
def test_functions_are_called_what_an_admin_calls_them(function: str, name: str) -> None:
    assert label(function) == name


def findings(gearbox: Callable[..., Any], ini: Path, *names: str) -> list[Mapping[str, Any]]:
    said = gearbox(
        "perf-check",
        "-c",
        ini,
        *(word for name in names for word in ("--only", name)),
        "-f",
        "json",
        cwd=str(ini.parent),
    )
    assert said.returncode in (0, 1, 5), said.stderr
    found: list[Mapping[str, Any]] = json.loads(said.stdout)
    return found


@pytest.mark.alone
def test_a_large_namespace_is_found_timed_and_gone_after_the_remedy(
    visited: Path, instance: Path, gearbox: Callable[..., Any]
) -> None:
    beaker_tools.take_data(visited, instance)
    path = beaker_tools.fill_readme(instance, 3000, 8192)

    def measured() -> dict[str, Mapping[str, Any]]:
        return {item["subject"]: item for item in findings(gearbox, instance, "CAC001")}

    found = measured()
    assert set(found) == {"feed", "README"}
    seen, remedy = found["README"]["evidence"], found["README"]["remedy"]
    assert (
        found["README"]["severity"] in ("warning", "error")
        and found["README"]["impact_ms"] == seen["miss_ms"]
    )
    assert (seen["entries"], seen["expired"]) == (3000, 1500)
    assert seen["miss_ms"] > seen["hit_ms"]
    subprocess.run(remedy.replace("daily, by cron: ", ""), shell=True, check=True)
    assert not path.exists() and list((instance.parent / "data" / "cache").rglob("*.cache"))
    # The application goes on, and its misses are cheap again.
    beaker_tools.visit(instance, "/hg-one")
    assert measured()["README"]["evidence"]["miss_ms"] < seen["miss_ms"] / 2


def test_an_empty_cache_is_in_order(instance: Path, gearbox: Callable[..., Any]) -> None:
    (found,) = findings(gearbox, instance, "CAC001")
    assert (found["severity"], found["diagnosis"]) == ("ok", "the file cache is empty")


def test_growth_says_what_its_command_frees(
    visited: Path, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beaker_files_checks, "MANY_FILES", 100)
    data = beaker_tools.take_data(visited, instance)
    for folder in ("sessions", "cache"):
        sick_instance.fill_cache(data / folder / "container_file", 300)
    index = data / "index" / "segment"
    index.parent.mkdir()
    index.touch()
    os.utime(str(index), (0, 0))

    def growth() -> list[Finding]:
        return list(beaker_files_checks.growth.findings(Context(load(str(instance)), Deadline(60))))

    for found in growth():
        assert found.severity is Severity.advice and found.evidence["old"] == 150
        before = occupied(data)
        carry_out(found.remedy, instance)
        freed = before - occupied(data)
        assert freed == pytest.approx(found.evidence["old_size_mb"] * MB) and freed > 0
    assert index.exists()
    assert [found.evidence["old"] for found in growth()] == [0, 0]


def occupied(directory: Path) -> int:
    """Return the bytes that the files below `directory` occupy."""
    return sum(
        os.lstat(str(path)).st_blocks * 512 for path in directory.rglob("*") if path.is_file()
    )


def test_a_session_older_than_its_timeout_only_is_old(
    visited: Path, instance: Path, gearbox: Callable[..., Any], edit: Callable[..., None]
) -> None:
    data = beaker_tools.take_data(visited, instance)
    edit(instance, "session.timeout = 2592000", "session.timeout = 5184000")
    for path in (data / "sessions").rglob("*.cache"):
        os.utime(str(path), (time.time() - 45 * 86400,) * 2)
    (found,) = [
        item for item in findings(gearbox, instance, "CAC003") if item["subject"] == "session files"
    ]
    assert found["evidence"]["old"] == 0 and "60 days" in found["diagnosis"]


class Creates:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_the_whole_area_loads_no_live_pickle_and_changes_nothing(
    visited: Path, instance: Path, gearbox: Callable[..., Any]
) -> None:
    data = beaker_tools.take_data(visited, instance)
    proof = instance.parent / "loaded"
    bomb = pickle.dumps(
        {b"_get_readme_from_cache x": (time.time(), 60, Creates(proof)), b"y": "y" * 300_000}
    )
    pickle.loads(bomb)
    assert proof.exists()
    proof.unlink()
    planted = list((data / "cache").rglob("*.cache")) + list((data / "sessions").rglob("*.cache"))
    planted.append(data / "cache" / "container_file" / "0" / "00" / ("0" * 40 + ".cache"))
    planted[-1].parent.mkdir(parents=True, exist_ok=True)
    for path in planted:
        path.write_bytes(bomb)
    before = beaker_tools.listing(instance.parent)
    found = findings(gearbox, instance, "caching")
    assert {"CAC001", "CAC002", "CAC003", "CAC006"} <= {item["check"] for item in found}
    assert sum(item["check"] == "CAC001" for item in found) == 3
    assert not proof.exists()
    after = beaker_tools.listing(instance.parent)
    # Scratch directories came and went in these two.
    changed = {path for path in before if before[path] != after.get(path)}
    assert after.keys() == before.keys() and changed <= {"data", "data/cache"}
