"""Memory, swap, pressure and control groups, as the kernel of this machine reports them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import mounted
import psutil
import pytest

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.storage import memory
from kallithea_tune.perf_check.storage.memory import Limit, Pressure
from kallithea_tune.perf_check.storage.memory_checks import shortage
from kallithea_tune.system.mounts import Mount

PEAK = "held = bytearray(b'x') * (40 << 20); del held; "
SLEEP = "import time; print('ready', flush=True); time.sleep(120)"


def in_group(group: Path, code: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            "sh",
            "-c",
            'echo $$ > "$0"/cgroup.procs; exec "$@"',
            str(group),
            sys.executable,
            "-c",
            code,
            *arguments,
        ],
        stdout=subprocess.PIPE,
    )


def sleeping(*arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", SLEEP, *arguments], stdout=subprocess.PIPE, **options
    )


@contextlib.contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_the_figures_are_the_kernel_s(tmp_path: Path) -> None:
    found = memory.survey({}, str(tmp_path / "my.ini"), 0.1)
    kernel = {
        fields[0]: int(fields[1]) * 1024
        for fields in map(str.split, Path("/proc/meminfo").read_text().splitlines())
    }
    assert found.total == kernel["MemTotal:"] and found.swap_total == kernel["SwapTotal:"]
    assert abs(found.available - kernel["MemAvailable:"]) < kernel["MemTotal:"] / 5
    assert found.swapped_in_per_s >= 0 and found.processes == found.resident == 0


def test_sizes_are_those_of_du(tmp_path: Path) -> None:
    for name, size in (("a/one", 5000), ("a/b/two", 100_000), ("a/b/c/three", 1)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(os.urandom(size))
    os.sync()
    (tmp_path / "a" / "link").symlink_to("/")
    files = [str(path) for path in tmp_path.rglob("*") if path.is_file()]
    output = subprocess.run(
        ["du", "--block-size=1", "-c", *files],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout
    found = memory.survey(
        {"repositories": str(tmp_path), "index_dir": str(tmp_path / "none")}, "my.ini", 60.0
    )
    total = int(output.splitlines()[-1].split()[0])
    assert found.sizes == {"repositories": total, "index_dir": 0}
    assert found.unfinished == () and found.examined.complete


def test_a_directory_not_counted_in_time_is_unfinished(tmp_path: Path) -> None:
    found = memory.survey({"repositories": str(tmp_path)}, "my.ini", 0.0)
    assert found.unfinished == ("repositories",) and not found.examined.complete


def test_pressure_is_that_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "io").write_text(
        "some avg10=80.00 avg60=40.50 avg300=12.25 total=1\n"
        "full avg10=0.00 avg60=0.00 avg300=3.00 total=0\n"
    )
    assert memory.pressure("io", str(tmp_path)) == Pressure(some=12.25, full=3.0)
    assert memory.pressure("memory", str(tmp_path)) is None
    real = memory.pressure("io")
    assert (real is not None) is os.path.exists("/proc/pressure/io")
    assert real is None or 0 <= real.full <= real.some <= 100


@pytest.mark.parametrize(
    "argument",
    ["my.ini", "{}/my.ini", "config:{}/my.ini#main", "--paste=my.ini", "--ini=config:my.ini"],
)
def test_a_process_that_serves_the_ini_file_is_found(tmp_path: Path, argument: str) -> None:
    ini = tmp_path / "my.ini"
    ini.touch()
    process = sleeping(argument.format(tmp_path), cwd=str(tmp_path))
    with ended(process):
        assert [found.pid for found in memory.serving(str(ini))] == [process.pid]
        survey = memory.survey({}, str(ini), 0.1)
        assert survey.processes == 1 and survey.resident > 1 << 20


def test_another_ini_file_of_the_same_name_is_not(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "my.ini", tmp_path / "other" / "my.ini"):
        path.touch()
    with ended(sleeping(str(tmp_path / "other" / "my.ini"))):
        assert memory.serving(str(tmp_path / "my.ini")) == []


def test_the_limit_is_that_of_the_group_kallithea_is_in(tmp_path: Path) -> None:
    ini = tmp_path / "my.ini"
    ini.touch()
    with mounted.memory_group(64) as group:
        with ended(in_group(group, SLEEP, str(ini))):
            found = memory.survey({}, str(ini), 0.1).limit
            assert found and found.group == str(group)
            assert found.bytes == 64 << 20 and found.killed == 0
            assert 0 < found.used <= 64 << 20
        greedy = in_group(group, "held = bytearray(200 << 20)")
        assert greedy.wait(60) == -signal.SIGKILL
        with ended(in_group(group, SLEEP, str(ini))):
            found = memory.survey({}, str(ini), 0.1).limit
            assert found and found.killed == 1


def test_two_processes_that_would_not_fit_at_their_peak(tmp_path: Path) -> None:
    ini = tmp_path / "my.ini"
    ini.touch()
    with mounted.memory_group(64) as group, ended(in_group(group, PEAK + SLEEP, str(ini))), ended(
        in_group(group, PEAK + SLEEP, str(ini))
    ):
        found = memory.survey({}, str(ini), 0.1)
    assert found.processes == 2 and 40 << 20 < found.peak < 64 << 20
    (judged,) = [item for item in shortage.judge(found) if item.subject == "peaks"]
    assert judged.severity is Severity.warning and "2 processes" in judged.diagnosis


def group(path: Path, most: str, used: str, events: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in zip(("memory.max", "memory.current", "memory.events"), (most, used, events)):
        (path / name).write_text(text + "\n")


def test_the_lowest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    # Of version 2, which the machine that runs the tests may not have; in a container that sees a
    # part of the tree.
    root = tmp_path / "cgroup"
    group(root, "4000000", "10", "oom_kill 5")
    group(root / "slice", "1000000", "900000", "low 0\noom 2\noom_kill 2")
    group(root / "slice" / "kallithea.service", "max", "10", "oom_kill 0")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(
        "1:name=systemd:/x\n0::/docker/slice/kallithea.service\n"
    )
    table = [Mount(1, "0:30", "/docker", str(root), "cgroup2", "cgroup2", ("rw",))]
    assert memory.limit(7, str(tmp_path), table) == Limit(
        version=2, group=str(root / "slice"), bytes=1000000, used=900000, killed=2
    )
    group(root / "slice", "max", "900000", "oom_kill 2")
    found = memory.limit(7, str(tmp_path), table)
    assert found is not None and found.bytes == 4000000
    group(root, "max", "10", "oom_kill 5")
    assert memory.limit(7, str(tmp_path), table) is None
    assert memory.limit(8, str(tmp_path), table) is None
    assert memory.limit(7, str(tmp_path), []) is None


def test_the_limit_of_this_process_is_below_what_psutil_reports() -> None:
    found = memory.limit(os.getpid())
    assert found is None or found.bytes <= psutil.virtual_memory().total * 1024
