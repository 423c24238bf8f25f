"""A file is replaced completely or not at all, and nobody else reads what is not finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kallithea_tune.system import atomic

REPLACE = (
    "import sys; from kallithea_tune.system import atomic; print(flush=True)\n"
    "while True: atomic.replace(sys.argv[1], 'secret ' * 20000)"
)
STOPPED = (
    "import os, sys; from kallithea_tune.system import atomic; "
    "atomic.copy_access = lambda *_: os.kill(os.getpid(), 9); "
    "atomic.replace(sys.argv[1], 'new', directory=sys.argv[2])"
)


def test_text_and_line_ends_are_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.replace(str(path), "new\r\n", 0o640)
    assert path.read_bytes() == b"new\r\n" and path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(str(tmp_path)) == ["file"]


def test_a_new_file_is_as_the_umask_wants_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.replace(str(tmp_path / "file"), "new")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_owner_mode_and_attributes_stay(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o4750)
    os.setxattr(str(path), "user.note", b"kept")
    if os.geteuid() == 0:
        os.chown(str(path), 1234, 2345)
        path.chmod(0o4750)
        # Version 2; the owner, the user 1234 and the mask may read; then the group and others.
        entries = ((1, 6, -1), (2, 4, 1234), (4, 0, -1), (16, 4, -1), (32, 0, -1))
        control = b"\2\0\0\0" + b"".join(
            tag.to_bytes(2, "little")
            + right.to_bytes(2, "little")
            + (who % 2**32).to_bytes(4, "little")
            for tag, right, who in entries
        )
        os.setxattr(str(path), "system.posix_acl_access", control)
    before = path.stat()
    attributes = {name: os.getxattr(str(path), name) for name in os.listxattr(str(path))}
    atomic.replace(str(path), "new", 0o644)
    after = path.stat()
    assert path.read_text() == "new" and after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert attributes == {name: os.getxattr(str(path), name) for name in os.listxattr(str(path))}


def test_a_text_that_cannot_be_encoded_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        atomic.replace(str(path), "\udc80")
    assert path.read_text() == "old" and os.listdir(str(tmp_path)) == ["file"]


def test_what_is_no_file_any_longer_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(str(tmp_path / "file"))
    with pytest.raises(OSError, match="no longer a regular file"):
        atomic.replace(str(tmp_path / "file"), "new")
    assert (tmp_path / "file").is_fifo() and os.listdir(str(tmp_path)) == ["file"]


def test_a_directory_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError):
        atomic.replace(str(tmp_path / "link" / "file"), "new")
    assert os.listdir(str(tmp_path / "real")) == []


def test_a_kill_before_the_rename_leaves_its_file_in_the_directory_given(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "file").write_text("old")
    arguments = [str(tmp_path / "place" / "file"), str(tmp_path / "scratch")]
    assert subprocess.run([sys.executable, "-c", STOPPED, *arguments]).returncode == -9
    assert (tmp_path / "place" / "file").read_text() == "old"
    assert os.listdir(str(tmp_path / "place")) == ["file"]
    assert len(os.listdir(str(tmp_path / "scratch"))) == 1


def test_killed_at_random_moments_it_leaves_nothing_that_others_can_read(tmp_path: Path) -> None:
    path, chance, left = tmp_path / "file", random.Random(10), 0
    path.write_text("old")
    path.chmod(0o600)
    for _ in range(30):
        process = subprocess.Popen(
            [sys.executable, "-c", REPLACE, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout
        process.stdout.read(1)
        time.sleep(chance.random() / 50)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert path.read_text() in ("old", "secret " * 20000)
        assert path.stat().st_mode & 0o777 == 0o600
        others = [entry for entry in tmp_path.iterdir() if entry != path]
        left += len(others)
        # At most that of this run: those of earlier ones are removed by it.
        assert [entry.stat().st_mode & 0o777 for entry in others] in ([], [0o700])
        time.sleep(atomic.LOCKING)
    assert left > 5
    atomic.replace(str(path), "new")
    assert os.listdir(str(tmp_path)) == ["file"]


def test_only_leftovers_of_ours_are_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "new").write_text("the admin's")
    kept = {
        "open-to-others": (0o755, "new"),
        "with-something-else": (0o700, "mine.txt"),
    }
    for name, (mode, file) in kept.items():
        directory = tmp_path / (atomic.PREFIX + name)
        directory.mkdir()
        (directory / file).write_text("the admin's")
        directory.chmod(mode)
    (tmp_path / (atomic.PREFIX + "link")).symlink_to(outside)
    (tmp_path / (atomic.PREFIX + "file")).write_text("the admin's")
    stale = tmp_path / (atomic.PREFIX + "stale")
    stale.mkdir(0o700)
    (stale / "new").write_text("half")
    names = set(os.listdir(str(tmp_path))) - {stale.name}
    time.sleep(2 * atomic.LOCKING)
    with atomic.opened_directory(str(tmp_path)) as place, atomic._private_directory(place):
        time.sleep(2 * atomic.LOCKING)
        # Another run meanwhile: the directory in use is locked.
        atomic.replace(str(tmp_path / "file"), "new")
        assert len(os.listdir(str(tmp_path))) == len(names) + 2
    assert set(os.listdir(str(tmp_path))) == names | {"file"}
    assert (outside / "new").read_text() == "the admin's"


def test_a_backup_replaces_nothing_and_follows_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, outside = tmp_path / "my.ini", tmp_path / "outside"
    path.write_text("old")
    path.chmod(0o640)
    monkeypatch.setattr(atomic.time, "strftime", lambda form: "20260101-000000")
    (tmp_path / "my.ini.20260101-000000").symlink_to(outside)
    (tmp_path / "my.ini.20260101-000000-1").write_text("an earlier one")
    assert atomic.backup(str(path)) == str(path) + ".20260101-000000-2"
    assert not outside.exists()
    assert (tmp_path / "my.ini.20260101-000000-1").read_text() == "an earlier one"
    made = tmp_path / "my.ini.20260101-000000-2"
    assert made.read_text() == "old" and made.stat().st_mode & 0o777 == 0o640
