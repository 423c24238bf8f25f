"""Where the directories are and their state, on real file systems."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import mounted
import pytest
from waiting import until

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.storage.directories import configured, examine, survey
from kallithea_tune.system.mounts import table
from kallithea_tune.system.scratch import PREFIX


def test_all_directories_of_the_ini_file_are_found(pristine: Path) -> None:
    here = pristine
    assert configured(load(str(here / "my.ini"))) == {
        "database": str(here),
        "cache_dir": str(here / "data"),
        "index_dir": str(here / "data" / "index"),
        "sessions": str(here / "data" / "sessions"),
        "archives": str(here / "data" / "tarballcache"),
        "file cache": str(here / "data" / "cache"),
        "cache locks": str(here / "data" / "cache" / "lock"),
    }


def test_regions_that_beaker_refuses_and_a_database_elsewhere_leave_the_rest(
    instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(instance, "beaker.cache.long_term.expire = 36000", "beaker.cache.long_term.expire = soon")
    edit(
        instance,
        "sqlalchemy.url = sqlite:///%(here)s/kallithea.db?timeout=60",
        "sqlalchemy.url = postgresql://db/k",
    )
    assert list(configured(load(str(instance)))) == [
        "cache_dir",
        "index_dir",
        "sessions",
        "archives",
    ]


def test_a_good_directory(tmp_path: Path) -> None:
    found = examine(str(tmp_path), table())
    assert found.exists and not found.error and not found.write_error
    assert found.location and found.location.device == os.stat(tmp_path).st_dev
    assert 0 < found.location.free < found.location.size
    assert not list(tmp_path.iterdir())


def test_a_missing_one_is_where_its_nearest_ancestor_is(tmp_path: Path) -> None:
    found = examine(str(tmp_path / "not" / "yet"), table())
    assert found.location and found.location.real == str(tmp_path)
    assert not found.exists and not found.error and found.usable is None


def loop(path: Path) -> Path:
    (path / "one").symlink_to(path / "two")
    (path / "two").symlink_to(path / "one")
    return path / "one"


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda path: loop(path), "ELOOP"),
        (lambda path: loop(path) / "inside", "ELOOP"),
        (
            lambda path: (path / "dangling").symlink_to(path / "nothing") or path / "dangling",
            "ENOENT",
        ),
        (lambda path: (path / "file").write_text("") and path or path / "file", "ENOTDIR"),
        (
            lambda path: (path / "file").write_text("") and path or path / "file" / "inside",
            "ENOTDIR",
        ),
    ],
)
def test_what_is_no_directory_has_the_reason(
    tmp_path: Path, make: Callable[[Path], Path], error: str
) -> None:
    assert examine(str(make(tmp_path)), table()).error == error


def test_a_read_only_file_system(tmp_path: Path) -> None:
    with mounted.tmpfs(tmp_path / "ro", "ro,size=1m") as place:
        assert examine(str(place), table()).write_error == "EROFS"


def test_no_inodes_are_left(tmp_path: Path) -> None:
    with mounted.tmpfs(tmp_path / "full", "nr_inodes=4") as place:
        for name in "abc":
            (place / name).touch()
        found = examine(str(place), table())
        assert found.write_error == "ENOSPC"
        assert found.location and found.location.free_inodes == 0


def test_another_user_s_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    # As far up as pytest made them: the system's own directory for temporary files stays as it is.
    for parent in [tmp_path, *tmp_path.parents]:
        if "pytest" not in str(parent):
            break
        parent.chmod(0o755)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        found = examine(str(closed), table())
    finally:
        os.seteuid(mine)
    assert found.write_error == "EACCES"


def test_without_nameless_files_one_with_a_name_is_tried_and_removed(tmp_path: Path) -> None:
    # The file system of message queues, as NFS, has no files without a name.
    with mounted.mount(tmp_path / "queues", "-t", "mqueue", "none") as place:
        mounted.run("chmod", "1777", place)
        with pytest.raises(OSError, match="not supported"):
            os.open(place, os.O_TMPFILE | os.O_WRONLY)
        assert not examine(str(place), table()).write_error
        assert not list(place.glob(PREFIX + "*"))


@pytest.mark.slow
def test_one_that_hangs_does_not_keep_the_others(tmp_path: Path) -> None:
    with mounted.ext4(tmp_path / "disk", 16) as disk:
        with mounted.frozen(disk):
            found = survey(
                {"hung": str(disk), "good": str(tmp_path), "too": str(disk / "lost+found")}, 3.0
            )
        assert "did not answer" in found["hung"].no_answer
        assert found["too"].no_answer == found["hung"].no_answer
        assert found["too"].hung_mount == str(disk)
        assert not found["good"].write_error
        # What hung went on when the file system was thawed, and has left nothing.
        until(lambda: [entry.name for entry in disk.iterdir()] == ["lost+found"])
