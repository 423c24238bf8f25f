"""A file is replaced completely or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from kallithea_tune.system import atomic


def keep_mode(handle: int) -> None:
    os.fchmod(handle, 0o640)


def test_the_new_file_has_the_text_and_the_access_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    atomic.replace(str(path), "new\r\n", keep_mode)
    assert path.read_bytes() == b"new\r\n" and path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(str(tmp_path)) == ["file"]


def fail(handle: int) -> None:
    raise OSError("no access")


@pytest.mark.parametrize("text, set_access", [("new", fail), ("\udc80", keep_mode)])
def test_what_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, text: str, set_access: Callable[[int], None]
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises((OSError, UnicodeEncodeError)):
        atomic.replace(str(path), text, set_access)
    assert path.read_text() == "old" and os.listdir(str(tmp_path)) == ["file"]


def test_a_kill_before_the_rename_leaves_its_file_in_the_directory_given(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "file").write_text("old")
    code = (
        "import os, sys; from kallithea_tune.system import atomic; "
        "atomic.replace(sys.argv[1], 'new', lambda handle: os.kill(os.getpid(), 9), sys.argv[2])"
    )
    arguments = [str(tmp_path / "place" / "file"), str(tmp_path / "scratch")]
    assert subprocess.run([sys.executable, "-c", code, *arguments]).returncode == -9
    assert (tmp_path / "place" / "file").read_text() == "old"
    assert os.listdir(str(tmp_path / "place")) == ["file"]
    assert len(os.listdir(str(tmp_path / "scratch"))) == 1
