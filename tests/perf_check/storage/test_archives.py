"""Archives counted and moved on real file systems."""

from __future__ import annotations

import os
import time
from pathlib import Path

import mounted
import pytest

from kallithea_tune.perf_check.storage import disk
from kallithea_tune.perf_check.storage.archives import KeptArchives, count, move

DAY = 86400


def test_only_archives_are_counted(tmp_path: Path) -> None:
    now = time.time()
    for name, days in (
        ("group_repo-0123456789ab.zip", 1),
        ("repo-0123456789ab.tar.gz", 40),
        ("repo-ba9876543210.tar.bz2", 31.5),
        ("notes.zip", 90),
        ("repo-0123456789ab.txt", 90),
    ):
        (tmp_path / name).write_bytes(os.urandom(8192))
        os.utime(tmp_path / name, (now - days * DAY, now - days * DAY))
    (tmp_path / "link-0123456789ab.zip").symlink_to(tmp_path / "notes.zip")
    (tmp_path / "directory-0123456789ab.zip").mkdir()
    assert count(str(tmp_path), 30, 5.0) == KeptArchives(
        files=3, bytes=3 * 8192, old_files=2, old_bytes=2 * 8192, complete=True
    )


def test_no_directory_is_no_archive(tmp_path: Path) -> None:
    assert count(str(tmp_path / "none"), 30, 5.0).files == 0


def test_the_time_is_kept(tmp_path: Path) -> None:
    for number in range(450):
        (tmp_path / (f"r-{number:012x}.zip")).touch()
    found = count(str(tmp_path), 30, 0.0)
    assert not found.complete and found.files == 199


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_move_between_file_systems_is_a_copy(tmp_path: Path, elsewhere: bool) -> None:
    source = tmp_path / "tmp"
    source.mkdir()
    if not elsewhere:
        found = disk.run(move, str(tmp_path), 1.0, temporary=str(source))
    else:
        with mounted.tmpfs(tmp_path / "memory", "size=80m") as memory:
            found = disk.run(move, str(memory), 1.0, temporary=str(source))
            assert not list(memory.iterdir())
    assert found.copied is elsewhere and found.ms > 0
    assert not list(source.iterdir())


def test_even_a_bind_mount_of_the_same_file_system_is_not_reached_by_rename(tmp_path: Path) -> None:
    for name in ("tmp", "kept"):
        (tmp_path / name).mkdir()
    with mounted.mount(tmp_path / "bound", "--bind", tmp_path / "kept") as bound:
        assert disk.run(move, str(bound), 1.0, temporary=str(tmp_path / "tmp")).copied
