"""The instance of ``make demo``: interrupted and made again, in a path with a blank."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from waiting import until

pytestmark = pytest.mark.once

TOOL = Path(__file__).resolve().parents[1] / "tools" / "make_instance.py"


def started(directory: Path) -> "subprocess.Popen[str]":
    """Begin to make an instance there, without npm, which takes most of the time."""
    programs = directory.parent / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("git", "env", "sh", "python3"):
        path = programs / name
        if not path.exists():
            path.symlink_to(Path("/usr/bin") / name)
    return subprocess.Popen(
        [sys.executable, str(TOOL), str(directory), "50"],
        env=dict(os.environ, PATH=str(programs)),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )


def test_an_interrupted_instance_is_made_again(tmp_path: Path) -> None:
    directory = tmp_path / "a path with blanks" / "instance"
    directory.parent.mkdir()
    first = started(directory)
    until(lambda: (directory / "repos" / "hg-two").exists())
    os.killpg(first.pid, signal.SIGINT)
    assert first.wait(60) != 0 and not (directory / ".complete").exists()
    first.communicate()
    second = started(directory)
    said, _ = second.communicate()
    assert second.returncode == 0 and "npm is not installed" in said
    with closing(sqlite3.connect(str(directory / "kallithea.db"))) as database:
        assert database.execute("SELECT count(*) FROM repositories").fetchone() == (4,)
        users = database.execute("SELECT count(*) FROM users WHERE username LIKE 'user_'")
        assert users.fetchone() == (5,)


def test_a_directory_with_other_files_is_refused(tmp_path: Path, make_instance: Any) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit, match="has other files in it; give a new directory"):
        make_instance.make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
