"""What is kept between runs is whole and belongs to its sources, whatever became of the run that
made it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any, Callable

import cache
import pytest

FORKED = multiprocessing.get_context("fork")


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Path]:
    """Take a copy of a thing that is made from the file "source"; `made` gets a line for each time
    it was made.
    """
    (tmp_path / "source").write_text("1")

    def call(number: int = 0, version: str = "1", stop: Callable[[], None] = lambda: None) -> Path:
        def make(place: Path) -> None:
            with open(str(tmp_path / "made"), "a") as made:
                made.write("{} {}\n".format((tmp_path / "source").read_text(), version))
            place.mkdir()
            (place / "first").write_text(version)
            stop()
            (place / "last").symlink_to("first")

        place = tmp_path / ("copy%d" % number)
        return cache.copied(
            "thing", [tmp_path / "source"], [version], make, place, kept_in=tmp_path / "kept"
        )

    return call


def made(tmp_path: Path) -> "list[str]":
    return (tmp_path / "made").read_text().splitlines()


def test_it_is_made_once_and_a_spoiled_copy_spoils_no_other(take: Any, tmp_path: Path) -> None:
    (take(1) / "first").write_text("spoiled")
    assert (take(2) / "last").read_text() == "1" and (tmp_path / "copy2" / "last").is_symlink()
    assert made(tmp_path) == ["1 1"]


def test_a_changed_source_and_a_changed_version_have_it_made_anew(
    take: Any, tmp_path: Path
) -> None:
    take(1)
    (tmp_path / "source").write_text("2")
    take(2)
    assert (take(3, version="2") / "first").read_text() == "2"
    assert made(tmp_path) == ["1 1", "2 1", "2 2"]
    # Nobody asks for the others again.
    assert len([path for path in (tmp_path / "kept").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("end", ["killed", "failed"])
def test_what_was_ended_in_the_middle_is_not_taken(take: Any, tmp_path: Path, end: str) -> None:
    def stop() -> None:
        if end == "failed":
            raise OSError("no")
        os.kill(os.getpid(), signal.SIGKILL)

    child = FORKED.Process(target=take, args=(1, "1", stop))
    child.start()
    child.join(60)
    assert child.exitcode == (-signal.SIGKILL if end == "killed" else 1)
    assert list((tmp_path / "kept").glob("*.half/first")) and not (tmp_path / "copy1").exists()
    assert sorted(path.name for path in take(2).iterdir()) == ["first", "last"]
    assert made(tmp_path) == ["1 1", "1 1"]


def test_of_two_at_once_one_makes_it_and_the_other_waits(take: Any, tmp_path: Path) -> None:
    children = [
        FORKED.Process(target=take, args=(number, "1", lambda: time.sleep(0.3)))
        for number in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert made(tmp_path) == ["1 1"] and len(list(tmp_path.glob("copy*/last"))) == 4
