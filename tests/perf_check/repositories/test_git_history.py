"""The history of real repositories is timed through git and through Kallithea's own reader, outside
of them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Mapping

import pytest

from kallithea_tune.app.package import package_directory
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.repositories.git_history import (
    LONG_WAIT_MS,
    READER_BYTES,
    RUNS,
    RUNS_WITHOUT,
    Histories,
    History,
    Source,
    histories,
    time_histories,
    untidy_histories,
    waits_of,
)

READER = os.path.join(package_directory(), "lib", "vcs", "subprocessio.py")


def make(path: Path, commits: int) -> None:
    """Make a bare repository with so many commits and a few refs, by way of git fast-import."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "master", str(path)], check=True)
    stream = b"".join(
        b"commit refs/heads/master\ncommitter me <me@example.com> %d +0000\n"
        b"data 1\nx\nM 644 inline a\ndata 4\n%04d\n" % (1_500_000_000 + number, number)
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
) -> History:
    """Measure one repository."""
    place.mkdir()
    source = Source("it", str(path), commit_graph=False)
    (history,) = time_histories([source], str(place), executable, "--all", reader, within)
    return history


def tree(directory: Path) -> Mapping[str, tuple[int, int, int]]:
    """Return every path with its size and times."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns, path.lstat().st_ctime_ns)
        for path in [directory, *directory.rglob("*")]
    }


def test_the_history_is_timed_with_and_without_a_commit_graph_that_is_not_left_there(
    long: Path, tmp_path: Path
) -> None:
    before = tree(long)
    history = measured(long, tmp_path / "scratch")
    assert history.revisions == 3000
    assert history.graph_ms and history.now_ms and history.graph_ms > 0 < history.now_ms
    assert tree(long) == before
    assert (
        tmp_path / "scratch" / "0" / "objects" / "info" / "commit-graph"
    ).stat().st_size > 3000 * 40


def test_all_refs_are_borrowed_loose_and_packed(long: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "-C", str(long), "update-ref", "refs/heads/loose", "master"], check=True)
    measured(long, tmp_path / "scratch")
    outputs = [
        subprocess.run(
            ["git", "--git-dir", str(path), "show-ref", "--head"],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for path in (long, tmp_path / "scratch" / "0")
    ]
    assert outputs[0] == outputs[1] and outputs[0].count(b"\n") == 5


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
    waits = measured(long, tmp_path / "as-published", 60, READER, str(pausing)).waits_ms
    # Of five runs and more, a busy machine may delay one, but not most of them for so long.
    assert statistics.median(waits) >= LONG_WAIT_MS and len(waits) == RUNS
    with open(READER, encoding="utf-8") as file:
        text = file.read()
    fixed = tmp_path / "subprocessio.py"
    fixed.write_text(text.replace("kr.clear()\n", "kr.clear()\n                da.set()\n"))
    waits = measured(long, tmp_path / "fixed", 60, str(fixed), str(pausing)).waits_ms
    assert statistics.median(waits) < LONG_WAIT_MS and len(waits) in (RUNS, RUNS_WITHOUT)


def test_a_short_history_does_not_try_the_reader(tmp_path: Path) -> None:
    make(tmp_path / "git", 10)
    assert measured(tmp_path / "git", tmp_path / "scratch", 5, READER).waits_ms == ()


def test_a_reader_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("import no_such_module\n")
    for path in (other, tmp_path / "none.py"):
        assert waits_of(str(path), ["git", "--version"], 0) == []


def test_what_git_cannot_read_and_a_missing_git_are_reported(long: Path, tmp_path: Path) -> None:
    broken = tmp_path / "git"
    make(broken, 5)
    for directory in broken.glob("objects/[0-9a-f][0-9a-f]"):
        shutil.rmtree(str(directory))
    assert "bad object" in measured(broken, tmp_path / "one").error
    with pytest.raises(NotMeasured, match="no-such-git: No such file"):
        measured(long, tmp_path / "two", executable="no-such-git")


def test_a_git_that_hangs_is_given_up(long: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow-git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    assert measured(long, tmp_path / "scratch", within=0.1, executable=str(slow)).late


def test_time_is_kept(long: Path, tmp_path: Path) -> None:
    history = measured(long, tmp_path / "scratch", within=0.001)
    assert history.graph_ms is None and history.revisions == 3000


def test_the_measurement_times_each_git_repository_and_none_where_all_are_tidy(
    instance: Path,
) -> None:
    context = Context(load(str(instance)), Deadline(30))
    assert context.measure(untidy_histories) == Histories()
    assert histories not in context.outcomes
    timed = context.measure(histories)
    assert {history.name for history in timed.timed} == {"git-one", "git-two"}
    assert timed.examined.complete and timed.of("git-one").revisions
