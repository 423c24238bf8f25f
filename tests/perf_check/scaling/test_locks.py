"""Locks on one storage through one mount and two, and when one path sees what another changed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Callable, Iterator

import mounted
import pytest

from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.scaling import contention, locks_checks, visibility
from kallithea_tune.perf_check.scaling.contention import Contest, Mechanism
from kallithea_tune.perf_check.scaling.sameness import Spot
from kallithea_tune.perf_check.scaling.storage_locks import (
    Delays,
    Locks,
    Storage,
    Tried,
    merged,
)
from kallithea_tune.perf_check.scaling.visibility import Delay
from kallithea_tune.perf_check.storage import disk

pytestmark = pytest.mark.once

ENOUGH_S = 40.0  # on a busy machine; it ends when each process was inside often enough


@pytest.fixture
def cached(tmp_path: Path) -> "Iterator[tuple[Path, Path]]":
    """A directory, and a mount of it that believes for three seconds what it has seen."""
    (tmp_path / "a").mkdir()
    with mounted.bindfs(tmp_path / "a", tmp_path / "b") as other:
        yield tmp_path / "a", other


def contend(*paths: Path) -> "dict[Mechanism, Contest]":
    first, *others = map(str, paths)
    found = disk.run(contention.contests, first, ENOUGH_S, others=others)
    assert not list(paths[0].iterdir())
    assert all(min(contest.sections) >= contention.LEAST_SECTIONS for contest in found)
    return {contest.mechanism: contest for contest in found}


def judged(*contests: Contest) -> "list[Finding]":
    storage = Storage(("repositories",), ("/a", "/b"))
    return list(locks_checks.exclusion.judge(Locks((Tried(storage, contests),))))


def test_every_lock_excludes_on_one_path(tmp_path: Path) -> None:
    found = contend(tmp_path)
    assert {(one.overlaps, one.lost, one.error) for one in found.values()} == {(0, 0, "")}
    assert {item.severity for item in judged(*found.values())} == {Severity.ok}


def test_flock_does_not_exclude_beside_a_mount_that_keeps_locks_to_itself(
    cached: "tuple[Path, Path]",
) -> None:
    found = contend(*cached)
    assert found[Mechanism.flock].overlaps
    (wrong,) = [item for item in judged(*found.values()) if item.severity is not Severity.ok]
    assert wrong.severity is Severity.error and "Beaker" in wrong.diagnosis
    alone = contend(cached[1])
    assert not alone[Mechanism.flock].overlaps


def test_a_lock_that_is_none_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without O_EXCL and EEXIST all are inside at once; in this process, where it can be so."""
    monkeypatch.setattr(contention.os, "O_EXCL", 0)
    place = str(tmp_path / ".kallithea-tune-x")
    found = {one.mechanism: one for one in contention.contests(place, ENOUGH_S)}
    create = found[Mechanism.create]
    assert create.overlaps or create.error
    assert not found[Mechanism.link].overlaps


def wait(*paths: Path, seconds: float) -> "tuple[Delay, ...]":
    first, *others = map(str, paths)
    return disk.run(visibility.delays, first, seconds, others=others)


def late(*delays: Delay) -> "list[Finding]":
    storage = Storage(("repositories",), ("/a", "/b"))
    return list(locks_checks.seen.judge(Delays((Tried(storage, delays),))))


def test_a_cache_of_attributes_hides_changes(cached: "tuple[Path, Path]") -> None:
    through, beside = wait(*cached, seconds=ENOUGH_S)
    assert through.longest and beside.longest
    assert (through.read, beside.read) == (str(cached[1]), str(cached[0]))
    for hidden in (through.new_file, through.size, through.time):
        assert hidden and hidden > beside.longest
    assert not list(cached[0].iterdir())
    assert late(through)[0].severity is Severity.warning
    never = wait(*cached, seconds=0.5)[0]
    assert never.longest is None and late(never)[0].severity is Severity.warning


@pytest.mark.parametrize(
    "contest, severity",
    [
        (Contest(Mechanism.flock, (9, 9)), Severity.ok),
        (Contest(Mechanism.flock, (9, 9), overlaps=1), Severity.error),
        (Contest(Mechanism.create, (9, 9), lost=1), Severity.error),
        (Contest(Mechanism.flock, (9, 0)), Severity.unknown),
        (Contest(Mechanism.flock, (0, 0), error="ENOLCK"), Severity.error),
        (Contest(Mechanism.link, (0, 0), error="EPERM"), Severity.advice),
        (Contest(Mechanism.link, (0, 0), error="ESTALE"), Severity.unknown),
    ],
)
def test_what_is_said_of_a_contest(contest: Contest, severity: Severity) -> None:
    (finding,) = judged(contest)
    assert finding.severity is severity


@pytest.mark.parametrize(
    "seconds, severity", [(0.0, Severity.ok), (2.0, Severity.warning), (None, Severity.warning)]
)
def test_what_is_said_of_a_delay(seconds: "float | None", severity: Severity) -> None:
    (finding,) = late(Delay("/a", "/b", 0.0, seconds, 0.0, 4.0))
    assert finding.severity is severity


def test_what_is_on_the_same_mounts_is_tried_once() -> None:
    groups = [
        ("repositories", ["/a/repos", "/b/repos"]),
        ("cache_dir", ["/a/data", "/b/data"]),
        ("index_dir", ["/a/new/index", "/a/other", "/gone"]),
    ]
    spots = {
        path: Spot(path, path, device=1 + (path[1] == "b")) for _, own in groups for path in own
    }
    spots["/a/new/index"] = Spot("/a/new/index", "/a", "new/index", False, 1)
    spots["/gone"] = Spot("/gone", failure="it hangs")
    assert merged(groups, spots) == (
        Storage(("repositories", "cache_dir"), ("/a/repos", "/b/repos")),
        Storage(("index_dir",), ("/a",)),
    )


@pytest.mark.parametrize("mounts", [1, 2])
def test_instances_are_told_which_locks_do_not_exclude(
    instance: Path, gearbox: "Callable[..., CompletedProcess[str]]", mounts: int
) -> None:
    """As an admin would, with one instance, and with two that have a mount each."""
    with contextlib.ExitStack() as stack:
        inis = [instance]
        if mounts > 1:
            other = instance.parent.parent / "other"
            inis.append(stack.enter_context(mounted.bindfs(instance.parent, other)) / "my.ini")
        words = [word for ini in inis for word in ("-c", ini)]
        only = ["--only", "SCA00[89]", "-f", "json", "--budget", 60]
        done = gearbox("perf-check", *words, *only)
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)
    wrong = {(item["check"], item["severity"]) for item in found} - {("SCA008", "ok")}
    assert ("SCA008", "ok") in {(item["check"], item["severity"]) for item in found}
    if mounts > 1:
        assert {("SCA008", "error"), ("SCA009", "warning")} <= wrong
    else:
        assert not wrong and not done.returncode
