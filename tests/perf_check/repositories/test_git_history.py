"""The history of real repositories is timed through git and through Kallithea's own reader, outside
of them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any, Mapping

import pytest

from kallithea_tune.app.beaker_config import package_directory
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.repositories.git_history import (
    LONG_WAIT_MS,
    READER_BYTES,
    RUNS,
    RUNS_WITHOUT,
    measure_here,
    waits_of,
)

READER = os.path.join(package_directory("egg:kallithea"), "lib", "vcs", "subprocessio.py")


def make(path: Path, commits: int) -> None:
    """Make a bare repository with so many commits and a few refs, by way of git fast-import."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "master", str(path)], check=True)
    stream = b"".join(
        b"commit refs/heads/master\ncommitter me <me@example.com> %d +0000\ndata 1\nx\nM 644 inline a\ndata 4\n%04d\n"
        % (1_500_000_000 + number, number)
        for number in range(commits)
    )
    subprocess.run(["git", "-C", str(path), "fast-import", "--quiet"], input=stream, check=True)
    for name in ("refs/heads/other", "refs/tags/v1"):
        subprocess.run(["git", "-C", str(path), "update-ref", name, "master~3"], check=True)
    subprocess.run(["git", "-C", str(path), "pack-refs"], check=True)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose history is longer than what Kallithea's reader takes at once."""
    path = tmp_path_factory.mktemp("long") / "git"
    make(path, 3000)
    return path


def measured(
    path: Path, place: Path, within: float = 10, reader: str = "", executable: str = "git"
) -> Any:
    """Measure one repository."""
    place.mkdir()
    return measure_here(
        [{"name": "it", "path": str(path), "commit_graph": False}],
        str(place),
        executable,
        "--all",
        reader,
        within,
    )["it"]


def tree(directory: Path) -> Mapping[str, Any]:
    """Return every path with its size and times."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns)
        for path in [directory, *directory.rglob("*")]
    }


def test_the_history_is_timed_with_and_without_a_commit_graph_that_is_not_left_there(
    long: Path, tmp_path: Path
) -> None:
    before = tree(long)
    facts = measured(long, tmp_path / "scratch")
    assert facts["revisions"] == 3000 and facts["graph_ms"] > 0 < facts["now_ms"]
    assert tree(long) == before
    assert (
        tmp_path / "scratch" / "0" / "objects" / "info" / "commit-graph"
    ).stat().st_size > 3000 * 40


def test_all_refs_are_borrowed_loose_and_packed(long: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "-C", str(long), "update-ref", "refs/heads/loose", "master"], check=True)
    measured(long, tmp_path / "scratch")
    said = [
        subprocess.run(
            ["git", "--git-dir", str(path), "show-ref", "--head"],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for path in (long, tmp_path / "scratch" / "0")
    ]
    assert said[0] == said[1] and said[0].count(b"\n") == 5


# Pauses where Kallithea's reader is full, as a git does that has more to do than the machine has
# time: whether the reader then misses that it has stopped is no matter of chance.
PAUSING = (
    """#!/bin/sh
case "$*" in
*rev-list*) git "$@" | { head -c %d; sleep 0.3; cat; } ;;
*) exec git "$@" ;;
esac
"""
    % READER_BYTES
)


@pytest.mark.alone
def test_kallitheas_reader_waits_for_nothing_and_not_once_the_missing_line_is_added(
    long: Path, tmp_path: Path
) -> None:
    pausing = tmp_path / "pausing-git"
    pausing.write_text(PAUSING)
    pausing.chmod(0o755)
    facts = measured(long, tmp_path / "as-it-is", 60, READER, str(pausing))
    # Of five runs and more, a busy machine may hold up one, but not most of them for so long.
    assert statistics.median(facts["waits_ms"]) >= LONG_WAIT_MS and len(facts["waits_ms"]) == RUNS
    with open(READER, encoding="utf-8") as file:
        text = file.read()
    mended = tmp_path / "subprocessio.py"
    mended.write_text(text.replace("kr.clear()\n", "kr.clear()\n                da.set()\n"))
    facts = measured(long, tmp_path / "mended", 60, str(mended), str(pausing))
    assert statistics.median(facts["waits_ms"]) < LONG_WAIT_MS and len(facts["waits_ms"]) in (
        RUNS,
        RUNS_WITHOUT,
    )


def test_a_short_history_does_not_try_the_reader(tmp_path: Path) -> None:
    make(tmp_path / "git", 10)
    assert "waits_ms" not in measured(tmp_path / "git", tmp_path / "scratch", 5, READER)


def test_a_reader_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("import no_such_module\n")
    for path in (other, tmp_path / "none.py"):
        assert waits_of(str(path), ["git", "--version"], 0) == []


def test_what_git_cannot_read_and_a_git_that_is_not_there_are_said(
    long: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "git"
    make(broken, 5)
    for directory in broken.glob("objects/[0-9a-f][0-9a-f]"):
        shutil.rmtree(str(directory))
    assert "bad object" in measured(broken, tmp_path / "one")["error"]
    with pytest.raises(NotMeasured, match="no-such-git: No such file"):
        measured(long, tmp_path / "two", executable="no-such-git")


def test_a_git_that_hangs_is_given_up(long: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow-git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    assert measured(long, tmp_path / "scratch", within=0.1, executable=str(slow))["late"]


def test_time_is_kept(long: Path, tmp_path: Path) -> None:
    facts = measured(long, tmp_path / "scratch", within=0.001)
    assert "graph_ms" not in facts and facts["revisions"] == 3000
