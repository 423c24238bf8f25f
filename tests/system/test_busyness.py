"""How busy the machine is, in figures that Linux gives."""

from __future__ import annotations

from pathlib import Path

from kallithea_tune.system.busyness import Busyness, busyness


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
