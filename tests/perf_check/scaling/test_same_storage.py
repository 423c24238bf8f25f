"""One storage below several mounts, and storages that look the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable

import mounted
import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check import several
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.scaling import instances_checks, same_storage
from kallithea_tune.perf_check.scaling.sameness import State, sameness
from kallithea_tune.system import child

pytestmark = pytest.mark.once


def state(*paths: Path, write: bool = True) -> State:
    (crossing,) = same_storage.crossings([list(map(str, paths))], 20, write)
    for path in paths:
        assert not left(path)
    return sameness(crossing, 0, 1).state


def left(path: Path) -> "list[Path]":
    return list(path.glob(".kallithea-tune-*")) if path.exists() else []


def test_a_bind_mount_and_a_link_lead_to_the_same_storage(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert state(tmp_path / "a", tmp_path / "link") is State.proven
    with mounted.mount(tmp_path / "b", "--bind", tmp_path / "a"):
        assert state(tmp_path / "a", tmp_path / "b") is State.proven
        assert state(tmp_path / "a", tmp_path / "b", write=False) is State.by_inode


def test_a_mount_with_a_device_of_its_own_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with mounted.bindfs(tmp_path / "a", tmp_path / "b") as other:
        assert other.stat().st_dev != (tmp_path / "a").stat().st_dev
        assert state(tmp_path / "a", other) is State.proven
        assert state(tmp_path / "a" / "new", other / "new") is State.proven
        assert state(tmp_path / "a" / "new", other / "newer") is State.different
        assert state(tmp_path / "a", other, write=False) is State.unknown


def test_equal_inodes_of_two_disks_are_not_one_storage(tmp_path: Path) -> None:
    with mounted.tmpfs(tmp_path / "a", "size=1m") as one, mounted.tmpfs(
        tmp_path / "b", "size=1m"
    ) as other:
        assert one.stat().st_ino == other.stat().st_ino
        assert state(one, other) is State.different


def test_where_nothing_can_be_written_nothing_is_proven(tmp_path: Path) -> None:
    with mounted.tmpfs(tmp_path / "a", "size=1m,ro") as one, mounted.mount(
        tmp_path / "b", "--bind", one
    ) as other:
        assert state(one, other) is State.by_inode


def test_an_interrupted_run_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is killed when its files are there, which no test can await for real."""
    places = [tmp_path / "a", tmp_path / "b"]
    made = []

    def killed(function: object, seconds: float, groups: Any, names: Any) -> None:
        for place, name in zip(places, names[0]):
            (place / name).touch()
            made.append(name)
        monkeypatch.undo()
        raise KeyboardInterrupt

    for place in places:
        place.mkdir()
    monkeypatch.setattr(child, "call", killed)
    with pytest.raises(KeyboardInterrupt):
        same_storage.crossings([list(map(str, places))], 20, True)
    assert len(set(made)) == 2 and not any(left(place) for place in places)


def test_a_stranger_s_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "name").symlink_to("victim")
    with pytest.raises(FileExistsError), same_storage._token(str(tmp_path), "name", b"x"):
        pass
    assert (tmp_path / "victim").read_text() == "kept" and (tmp_path / "name").is_symlink()
    assert same_storage._reading(str(tmp_path), "name", b"kept") == "ELOOP"


@pytest.fixture
def beside(instance: Path) -> "Iterable[tuple[Path, Path]]":
    """Two instances, one of which has all of its data below another mount."""
    other = instance.parent.parent / "other"
    with mounted.bindfs(instance.parent, other):
        yield instance, other / "my.ini"


def test_instances_agree_that_have_one_storage_below_different_mounts(
    beside: "tuple[Path, Path]",
) -> None:
    together = [load(str(ini)) for ini in beside]
    results = several.run(together, [instances_checks.directories, instances_checks.database], 30)
    assert {item.severity for item in results.findings} == {Severity.ok}
    noted = {key.split()[0] for item in results.findings for key in item.evidence if " at " in key}
    assert "cache_dir" in noted
    assert results.matrix
    (row,) = [row for row in results.matrix.rows if row.setting == "cache_dir"]
    assert any("the same storage" in value for value in row.values)
    unproven = [instances_checks.directories.unprobed]
    assert {item.severity for item in several.run(together, unproven, 30).findings} == {
        Severity.unknown
    }
