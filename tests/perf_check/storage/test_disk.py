"""The probes of disks on real file systems, and that they leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import mounted
import pytest
from waiting import until

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.storage import disk

ALL = [disk.syncs, disk.small_files, disk.read_large]


@pytest.fixture(params=["here", "tmpfs", "ext4"])
def place(request: Any, tmp_path: Path) -> Iterator[Path]:
    """An empty directory on the disk of this machine, in memory, and on an ext4 of its own."""
    with contextlib.ExitStack() as stack:
        where = tmp_path / "place"
        if request.param == "tmpfs":
            stack.enter_context(mounted.tmpfs(where, "size=80m"))
        elif request.param == "ext4":
            stack.enter_context(mounted.ext4(where, 128))
        where.mkdir(exist_ok=True)
        yield where


def left(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir() if entry.name != "lost+found"]


def test_each_write_is_timed_and_nothing_is_left(place: Path) -> None:
    taken = disk.run(disk.syncs, str(place), 0.3).ms
    assert 1 <= len(taken) <= disk.SYNCS and all(ms > 0 for ms in taken)
    assert not left(place)


def test_the_system_calls_are_those_of_the_page(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    place = str(tmp_path / "measured")
    code = (
        "from kallithea_tune.perf_check.storage import disk\n"
        f"print(len(disk.syncs({place!r}, 0.2).ms))"
    )
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-o",
            str(trace),
            "-e",
            "trace=write,fsync,fdatasync,sync_file_range",
            sys.executable,
            "-c",
            code,
        ],
        stdout=subprocess.PIPE,
        check=True,
        universal_newlines=True,
    )
    calls = [line.split(None, 1)[1] for line in trace.read_text().splitlines() if place in line]
    count = int(done.stdout)
    assert [call.split("(")[0] for call in calls] == ["write", "fdatasync"] * count
    assert all(call.endswith("= 2300") for call in calls[::2])


def steps_of(files: disk.SmallFiles) -> list[disk.Step]:
    return [files.create, files.stat, files.read, files.unlink]


def test_small_files_go_through_all_steps(place: Path) -> None:
    steps = steps_of(disk.run(disk.small_files, str(place), 60.0))
    assert [step.count for step in steps] == [disk.FILES] * 4
    assert all(step.seconds > 0 for step in steps)
    assert not left(place)


def test_the_files_that_fit_into_the_time_are_counted(tmp_path: Path) -> None:
    steps = steps_of(disk.small_files(str(tmp_path / "now"), 0.0))
    assert [step.count for step in steps] == [1] * 4
    assert not left(tmp_path)


def test_a_file_of_its_own_is_read_where_there_is_none(place: Path) -> None:
    found = disk.run(disk.read_large, str(place), 1.0, directories=[str(place)])
    assert found.own and 0 < found.bytes <= disk.OWN_MB * disk.MB and found.seconds > 0
    assert not left(place)


def test_the_largest_file_in_use_is_read_and_stays_as_it_is(place: Path, tmp_path: Path) -> None:
    for name, size in (("small", 1), ("large", 6), ("middle", 5)):
        (place / name).write_bytes(b"x" * (size << 20))
        os.utime(place / name, (1, 1))
    found = disk.run(
        disk.read_large, str(place), 60.0, directories=[str(tmp_path / "missing"), str(place)]
    )
    assert not found.own and found.bytes == 6 << 20
    assert sorted(left(place)) == ["large", "middle", "small"]
    assert (place / "large").stat().st_atime == 1


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize(
    "options, reason",
    [
        ("size=32m", "too little room on .*: 32 MB free"),
        ("size=128m,nr_inodes=100", "too little room on .*: 99 inodes free"),
        ("size=128m,ro", "Read-only file system"),
    ],
)
def test_a_file_system_without_room_is_left_alone(
    tmp_path: Path, function: Callable[..., object], options: str, reason: str
) -> None:
    with mounted.tmpfs(tmp_path / "small", options) as small, pytest.raises(
        NotMeasured, match=reason
    ):
        disk.run(function, str(small), 1.0)


def test_a_missing_directory_is_the_reason(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match="No such file"):
        disk.run(disk.syncs, str(tmp_path / "gone"), 1.0)


def test_a_disk_that_fills_up_meanwhile_is_a_reason_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted.tmpfs(tmp_path / "small", "size=4m") as small:
        monkeypatch.setattr(disk, "ROOM_MB", 0)
        with pytest.raises(NotMeasured, match="No space left"):
            disk.read_large(str(small / "probe"), 1.0)
        assert not left(small)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_leaves_nothing(
    tmp_path: Path, function: Callable[..., object], number: int
) -> None:
    code = (
        "import sys; from kallithea_tune.cli.base import interrupted_by_signals as caught\n"
        "from kallithea_tune.perf_check.storage import disk\n"
        "with caught():\n"
        "    while True: disk.run(getattr(disk, sys.argv[1]), sys.argv[2], 5.0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, function.__name__, str(tmp_path)], stderr=subprocess.PIPE
    )
    until(lambda: left(tmp_path))
    process.send_signal(number)
    # The impatient press the key more than once.
    time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    assert b"KeyboardInterrupt" in process.communicate(timeout=300)[1]
    assert not left(tmp_path)


def test_a_file_system_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "OPERATION_SECONDS", 0.5)
    with mounted.ext4(tmp_path / "disk", 128) as place:
        with mounted.frozen(place), pytest.raises(NotMeasured, match="did not answer"):
            disk.run(disk.syncs, str(place), 0.3)
        time.sleep(0.3)
        # The directory that was being made when it froze appears now; it is empty, and has our
        # prefix.
        assert all(name.startswith(disk.PREFIX) for name in left(place))
