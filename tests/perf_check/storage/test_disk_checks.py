"""Figures of disks judged by tables, and the report on an instance on disks of several kinds."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Callable, Sequence

import mounted
import pytest
from environment import BIN
from waiting import until

from kallithea_tune.config.instance import load
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.storage.disk import (
    Reading,
    SmallFiles,
    Step,
    journal_mode,
    sync_latency,
)
from kallithea_tune.perf_check.storage.disk_checks import judge_files, judge_reading, judge_syncs
from kallithea_tune.system.mounts import Mount
from kallithea_tune.system.scratch import PREFIX


def mount(type: str) -> Mount:
    return Mount(1, "8:1", "/", "/srv", type, "/dev/sda1", ("rw",))


@pytest.mark.parametrize(
    "taken, names, type, severity",
    [
        ([0.7] * 300, ["database"], "ext4", Severity.ok),
        ([9.9] * 300, ["database"], "ext4", Severity.ok),
        ([10.1] * 300, ["database"], "ext4", Severity.warning),
        ([0.7] * 297 + [10.1] * 3, ["database"], "ext4", Severity.ok),
        ([0.7] * 280 + [10.1] * 20, ["database"], "ext4", Severity.warning),
        # One of few is the 99th percentile of them, and may be chance.
        ([0.7] * 39 + [30.0], ["database"], "ext4", Severity.ok),
        ([0.7] * 296 + [10.1] * 4, ["database"], "ext4", Severity.ok),
        ([0.7, 25.0, 0.7], ["database"], "ext4", Severity.ok),
        ([25.0] * 3, ["repositories", "database"], "ext4", Severity.warning),
        ([25.0] * 40, ["repositories", "cache_dir"], "ext4", Severity.advice),
        ([25.0] * 40, ["cache_dir", "sessions"], "ext4", Severity.ok),
        ([0.01] * 300, ["database"], "ext4", Severity.advice),
        ([0.001] * 300, ["database"], "tmpfs", Severity.ok),
        ([0.001] * 300, ["sessions"], "ext4", Severity.ok),
        ([900.0], ["database"], "nfs4", Severity.warning),
    ],
)
def test_fdatasync(
    taken: Sequence[float], names: Sequence[str], type: str, severity: Severity
) -> None:
    found = judge_syncs(taken, names, mount(type))
    assert found.severity is severity and "/srv" in found.diagnosis
    assert found.evidence["writes"] == len(taken)


def test_a_commit_waits_four_times_and_once_in_wal_mode() -> None:
    assert (
        judge_syncs([20.0] * 50, ["database"], mount("ext4")).impact == "+80 ms per SQLite commit"
    )
    assert (
        judge_syncs([20.0] * 50, ["database"], mount("ext4"), "wal").impact
        == "+20 ms per SQLite commit"
    )


def test_a_p99_that_hangs_on_one_write_is_less_sure() -> None:
    assert judge_syncs([20.0] * 50, ["database"], mount("ext4")).confidence == "high"
    assert judge_syncs([1.0] * 49 + [20.0], ["database"], mount("ext4")).confidence == "medium"


@pytest.mark.parametrize("mode, syncs", [("delete", 4), ("wal", 1)])
def test_the_number_of_fdatasyncs_in_a_commit_is_that_of_sqlite(
    tmp_path: Path, mode: str, syncs: int
) -> None:
    code = (
        "import sqlite3, os\n"
        "c = sqlite3.connect({!r}, isolation_level=None)\n"
        "c.execute('PRAGMA journal_mode = {}'); c.execute('CREATE TABLE IF NOT EXISTS t (x)')\n"
        "c.execute('INSERT INTO t VALUES (0)'); os.sync()\n"
        "for number in range(10): c.execute('INSERT INTO t VALUES (1)')\n"
        "os._exit(0)\n".format(str(tmp_path / "t.db"), mode)
    )
    trace = tmp_path / "trace"
    subprocess.run(
        [
            "strace",
            "-o",
            str(trace),
            "-e",
            "trace=fsync,fdatasync,sync",
            BIN / "python",
            "-c",
            code,
        ],
        check=True,
    )
    calls = [line.split("(")[0] for line in trace.read_text().splitlines()]
    assert len([call for call in calls[calls.index("sync") + 1 :] if "sync" in call]) == 10 * syncs


def files(each: float, count: int = 1000) -> SmallFiles:
    step = Step(count, each * count)
    return SmallFiles(step, step, step, step)


@pytest.mark.parametrize(
    "found, severity, words",
    [
        (files(0.00001), Severity.ok, "take 0.04 s"),
        (files(0.00049), Severity.ok, "1.96 s"),
        (files(0.00051), Severity.warning, "2.04 s"),
        (files(0.00051, 7), Severity.warning, "2.04 s"),
        (files(0.0026), Severity.error, "10.4 s"),
        (files(0.0), Severity.ok, "0 s"),
    ],
)
def test_small_files(found: SmallFiles, severity: Severity, words: str) -> None:
    judged = judge_files(found, "/srv")
    assert judged.severity is severity and words in judged.diagnosis


@pytest.mark.parametrize(
    "seconds, severity", [(0.1, Severity.ok), (1.5, Severity.ok), (1.7, Severity.warning)]
)
def test_reading(seconds: float, severity: Severity) -> None:
    judged = judge_reading(Reading(32 << 20, seconds, own=True), "/srv")
    assert judged.severity is severity
    assert bool(judged.impact) is (severity is Severity.warning)


@pytest.fixture
def report(gearbox: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run STO001 and STO002 on an ini file; return their findings."""

    def run(ini: Path) -> Any:
        done = gearbox(
            "perf-check",
            "-c",
            ini,
            "-f",
            "json",
            "--only",
            "STO001",
            "--only",
            "STO002",
            cwd=str(tmp_path),
        )
        return json.loads(done.stdout)

    return run


def test_one_measurement_for_each_file_system(instance: Path, report: Callable[..., Any]) -> None:
    here = instance.parent
    (here / "data").mkdir()
    (here / "elsewhere").mkdir()
    with mounted.tmpfs(here / "data" / "sessions", "size=80m") as sessions, mounted.mount(
        here / "data" / "index", "--bind", here / "elsewhere"
    ):
        found = report(instance)
        assert not list(sessions.iterdir())
    assert not list(here.rglob(PREFIX + "*"))
    subjects = [one["subject"] for one in found if one["check"] == "STO001"]
    assert len(subjects) == 2 and str(sessions) in subjects
    assert sum(one["subject"].startswith("reading") for one in found) == 2
    assert all(one["severity"] != "unknown" for one in found)


def test_wal_is_read_from_the_file(instance: Path) -> None:
    path = sqlite_file(load(str(instance)).database_url)
    assert journal_mode(path) == "delete"
    connection = sqlite3.connect(str(instance.parent / "kallithea.db"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert journal_mode(path) == "wal"


def test_without_a_sqlite_file_the_mode_is_the_default() -> None:
    assert journal_mode(None) == journal_mode("/no/such/file") == "delete"


def test_the_measurement_has_the_file_system_and_the_mode_of_the_database(instance: Path) -> None:
    context = Context(load(str(instance)), Deadline(5))
    measured = context.measure(sync_latency)
    assert measured.journal_mode == "delete" and measured.examined.complete
    (result,) = measured.results
    assert "database" in result.file_system.directories and result.value


def test_a_full_disk_is_not_measured_and_the_other_is(
    instance: Path, report: Callable[..., Any]
) -> None:
    here = instance.parent
    (here / "data").mkdir()
    with mounted.tmpfs(here / "data" / "sessions", "size=1m") as sessions:
        found = {(one["check"], one["subject"]): one for one in report(instance)}
    assert "too little room" in found["STO001", str(sessions)]["diagnosis"]
    assert sorted(one["severity"] for one in found.values()).count("unknown") == 2


@pytest.mark.once
def test_a_disk_that_hangs_is_reported_and_the_others_are_measured(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    (instance.parent / "data").mkdir()
    with mounted.ext4(instance.parent / "data" / "index", 16) as index:
        with mounted.frozen(index):
            done = gearbox(
                "perf-check",
                "-c",
                instance,
                "--only",
                "STO001",
                "--only",
                "STO003",
                "-f",
                "json",
                cwd=str(tmp_path),
            )
        found = json.loads(done.stdout)
        until(lambda: [entry.name for entry in index.iterdir()] == ["lost+found"])
    assert [one["diagnosis"] for one in found if one["subject"] == str(index)] == [
        f"{index} hangs, and with it index_dir"
    ]
    assert any(one["check"] == "STO001" and one["severity"] != "unknown" for one in found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_interrupted_leaves_nothing(
    instance: Path, tmp_path: Path, number: int
) -> None:
    here = instance.parent
    before = sorted(here.rglob("*"))
    process = subprocess.Popen(
        [
            str(BIN / "gearbox"),
            "perf-check",
            "-c",
            str(instance),
            "--only",
            "STO001",
            "--only",
            "STO002",
        ],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until(lambda: list((here / "repos").glob(PREFIX + "*")))
    process.send_signal(number)
    process.communicate(timeout=300)
    assert process.returncode == 130
    assert sorted(here.rglob("*")) == before
