"""Free space and inodes: judged by tables, and on file systems that are really full."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping

import mounted
import pytest
from carry_out import carry_out
from healthy import EXT4, LOCATION, OK

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import steps_of
from kallithea_tune.perf_check.storage.directories import FileSystem
from kallithea_tune.perf_check.storage.space import AGES, Occupant, Old
from kallithea_tune.perf_check.storage.space_checks import free_space, judge_space

DAY = 1440


@pytest.mark.parametrize(
    "change, severity, words",
    [
        ({}, Severity.ok, "50 % of /srv"),
        ({"free": 90 * 10**9}, Severity.ok, "9 %"),
        ({"size": 10**11, "free": 9 * 10**9}, Severity.warning, "9 % of /srv is free: 9 GB"),
        ({"size": 10**11, "free": 19 * 10**8}, Severity.error, "1.9 GB"),
        ({"size": 10**8, "free": 9 * 10**7}, Severity.ok, "90 %"),
        ({"inodes": 0, "free_inodes": 0}, Severity.ok, "50 %"),
        ({"free_inodes": 600_000}, Severity.ok, "50 %"),
        (
            {"free_inodes": 400_000},
            Severity.warning,
            "4 % of the inodes of /srv are free: room for 400000 files",
        ),
        ({"free_inodes": 0}, Severity.error, "0 files"),
        ({"free": 0}, Severity.error, "0 % of /srv"),
        ({"size": 0, "free": 0, "inodes": 0}, Severity.ok, "does not report"),
    ],
)
def test_free_space_and_inodes(change: Mapping[str, Any], severity: Severity, words: str) -> None:
    location = replace(LOCATION, **change)
    finding = judge_space(FileSystem(EXT4, location, {"repositories": OK}))
    assert finding.severity is severity and words in finding.diagnosis


def test_no_room_for_a_file_is_an_error_whatever_is_free() -> None:
    full = replace(OK, write_error="ENOSPC")
    finding = judge_space(FileSystem(EXT4, LOCATION, {"repositories": full}))
    assert finding.severity is Severity.error and "50 % of /srv" in finding.diagnosis


def aged(*files: int) -> tuple[Old, ...]:
    return tuple(Old(minutes, count, count * 1000) for minutes, count in zip(AGES, files))


def occupant(*files: int, name: str = "sessions") -> Occupant:
    return Occupant(name, "/s", 9_000, 10**9, "/s/c", ("/s/c",), aged(*files) if files else ())


@pytest.mark.parametrize(
    "free, occupants, minutes, note",
    [
        (5, [occupant(1000, 2000, 3000, 4000, 5000, 6000)], 90 * DAY, ""),
        (5, [occupant(0, 2000, 3000, 4000, 5000, 6000)], 30 * DAY, ""),
        (5, [occupant(0, 0, 3000, 4000, 5000, 6000)], 7 * DAY, "signs out users who were away"),
        (5, [occupant(0, 0, 3000, 4000, 4000, 4000, name="archives")], 7 * DAY, ""),
        (5, [occupant(0, 0, 0, 0, 0, 6000)], 0, "signs everybody out"),
        (5, [occupant(0, 0, 200, 300, 300, 300)], 7 * DAY, "not enough"),
        # Nobody is signed out at once for what is not urgent.
        (900, [occupant(0, 0, 0, 0, 0, 6000)], None, "larger disk"),
        (5, [occupant(name="repositories")], None, "larger disk"),
        (5, [], None, "larger disk"),
    ],
)
def test_the_oldest_that_frees_enough_is_deleted(
    free: int, occupants: list[Occupant], minutes: int, note: str
) -> None:
    location = replace(LOCATION, inodes=10_000, free_inodes=free)
    found = judge_space(FileSystem(EXT4, location, {"sessions": OK}), occupants)
    assert note in str(found.remedy)
    words = [word for step in steps_of(found.remedy) for word in getattr(step, "words", ())]
    assert bool(words) is (minutes is not None)
    assert (f"+{minutes}" in words) is bool(minutes)
    if occupants:
        assert "9000 are in /s/c" in found.diagnosis and found.evidence[occupants[0].name] == 9000


def measured(ini: Path, point: Path) -> Finding:
    found = free_space.findings(Context(load(str(ini)), Deadline(60)))
    (finding,) = [item for item in found if item.subject == str(point)]
    return finding


def fill(directory: Path, content: bytes, days: float, left: int = 10) -> int:
    """Make files until so many inodes are left; return their number."""
    directory.mkdir(parents=True)
    number = 0
    then = time.time() - days * 86400
    while os.statvfs(str(directory)).f_favail > left:
        path = directory / f"{number}.cache"
        path.write_bytes(content)
        os.utime(str(path), (then, then))
        number += 1
    return number


@pytest.mark.parametrize(
    "content, days", [(b"", 0.0), (b"x", 40.0), (b"x", 0.1)], ids=["empty", "old", "new"]
)
def test_inodes_that_sessions_use_up_are_free_after_the_remedy(
    instance: Path, content: bytes, days: float
) -> None:
    with mounted.tmpfs(instance.parent / "data", "size=32m,nr_inodes=1000") as data:
        inner = data / "sessions" / "container_file" / "0"
        count = fill(inner, content, days)
        (data / "index").mkdir()
        (data / "index" / "kept").touch()
        os.utime(str(data / "index" / "kept"), (0, 0))
        found = measured(instance, data)
        assert found.severity is Severity.error
        assert f"; {count + 2} are in {inner}" in found.diagnosis
        assert ("signs" in str(found.remedy)) is (days == 0.1)
        carry_out(found.remedy, instance)
        assert measured(instance, data).severity is Severity.ok
        assert (data / "index" / "kept").exists() and not list(inner.iterdir())


def test_sessions_in_use_stay_where_older_ones_are_enough(instance: Path) -> None:
    with mounted.tmpfs(instance.parent / "data", "size=32m,nr_inodes=1000") as data:
        inner = data / "sessions" / "container_file"
        new = fill(inner / "1", b"x", 0.0, left=700) + fill(inner / "2", b"x", 0.0, left=400)
        fill(inner / "0", b"x", 100.0)
        found = measured(instance, data)
        assert found.diagnosis.endswith(f"are in {inner}")
        carry_out(found.remedy, instance)
        assert measured(instance, data).severity is Severity.ok
        assert len(list(inner.glob("?/*"))) == new


def test_space_that_archives_take_is_free_after_the_remedy(instance: Path) -> None:
    with mounted.ext4(instance.parent / "archives", 20) as place:
        text = instance.read_text()
        instance.write_text(text.replace("%(here)s/data/tarballcache", "%(here)s/archives"))
        for number in range(30):
            path = place / f"git-one-{number:012d}.zip"
            try:
                path.write_bytes(b"x" * 1_000_000)
            except OSError:
                break
            os.utime(str(path), (0, 0))
        kept = place / "git-one.txt"
        kept.touch()
        os.utime(str(kept), (0, 0))
        found = measured(instance, place)
        assert found.severity is Severity.error and "(archives)" in found.diagnosis
        carry_out(found.remedy, instance)
        assert measured(instance, place).severity is Severity.ok and kept.exists()
