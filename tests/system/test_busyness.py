"""How busy the machine is, in figures that Linux gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kallithea_tune.system.busyness import (
    Busyness,
    Others,
    Part,
    _counters,
    between,
    busyness,
    others,
)


def test_load_and_waiting_are_read(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text("some avg10=12.50 avg60=1.00 avg300=0.10 total=1\n")
    (tmp_path / "io").write_text("some avg10=3.00 avg60=1.00\nfull avg10=99.00 avg60=1.00\n")
    found = busyness(str(tmp_path))
    assert found.waiting == {"CPU": 12.5, "I/O": 3.0}
    assert found.cpus >= 1 and found.load >= 0


def test_a_kernel_that_does_not_measure_it_is_no_error(tmp_path: Path) -> None:
    assert busyness(str(tmp_path)).waiting == {}


def test_it_is_one_line() -> None:
    assert str(Busyness(2.06, 2)) == "load 2.1 on 2 CPUs"
    waiting = {"CPU": 12.4, "I/O": 3.0, "memory": 0.0}
    line = "load 0.5 on 1 CPU, waiting for CPU 12 %, I/O 3 %, memory 0 %"
    assert str(Busyness(0.5, 1, waiting)) == line


STAT = """\
cpu  {user} 0 0 {idle} 0 0 0 0 0 0
cpu0 1 1 1 1 1 1 1 1 1 1
procs_running {running}
"""
DISKS = """\
 254 0 vda 1 0 0 0 0 0 0 0 0 {busy} 0
   7 0 loop0 1 0 0 0 0 0 0 0 0 99999 0
"""


def test_what_others_used_is_the_difference_of_two_counts(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()

    def counted(user: int, idle: int, running: int, busy: int, waited: int) -> object:
        (tmp_path / "stat").write_text(STAT.format(user=user, idle=idle, running=running))
        (tmp_path / "diskstats").write_text(DISKS.format(busy=busy))
        (tmp_path / "pressure" / "memory").write_text(f"some avg10=0 total={waited}\n")
        return _counters(str(tmp_path))

    first = counted(user=100, idle=100, running=5, busy=1000, waited=0)
    second = counted(user=175, idle=125, running=3, busy=1100, waited=50_000)
    object.__setattr__(first, "at", 10.0)
    object.__setattr__(second, "at", 10.2)
    seen = between(first, second)  # type: ignore[arg-type]
    assert (seen.cpu, seen.running) == (0.75, 3.0)
    assert (seen.disk, seen.memory) == (pytest.approx(0.5), pytest.approx(0.25))
    assert str(seen) == "CPU 75 %, disk 50 %, memory 25 %"


def test_without_the_kernels_files_nothing_disturbs(tmp_path: Path) -> None:
    nothing = _counters(str(tmp_path))
    assert between(nothing, nothing).slowdown(Part) == 1.0


@pytest.mark.parametrize(
    ("seen", "parts", "slowdown"),
    [
        (Others(), list(Part), 1.0),
        (Others(cpu=1.0, running=2, cpus=2), [Part.cpu], 1.5),
        (Others(cpu=1.0, running=8, cpus=2), [Part.cpu, Part.disk], 4.5),
        (Others(cpu=1.0, running=8, cpus=2), [Part.disk], 1.0),
        # Several were caught running at the moment of counting, but the CPUs are idle.
        (Others(cpu=0.1, running=8, cpus=2), [Part.cpu], 1.0),
        (Others(disk=0.5), [Part.disk], 2.0),
        (Others(disk=1.0), [Part.disk], 20.0),
        (Others(memory=0.2), [Part.memory], 1.25),
    ],
)
def test_how_much_longer_it_takes_beside_others(
    seen: Others, parts: "list[Part]", slowdown: float
) -> None:
    assert seen.slowdown(parts) == pytest.approx(slowdown)


def test_processes_that_keep_every_cpu_busy_are_seen() -> None:
    count = 2 * (os.cpu_count() or 1)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        while others().slowdown([Part.cpu]) < 1.5:
            assert all(process.poll() is None for process in busy)
    finally:
        for process in busy:
            process.kill()
            process.wait()
