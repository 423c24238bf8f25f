"""Processes against cores: judged by tables, counted on real processes and control groups."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Optional, Sequence

import pytest

from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.serving import processes
from kallithea_tune.perf_check.serving.processes import Processes
from kallithea_tune.perf_check.serving.processes_checks import judge_processes
from kallithea_tune.system.mounts import Mount


@pytest.mark.parametrize(
    "kind, configured, running, cores, severity, remedy",
    [
        ("gunicorn", 1, 0, 2.0, Severity.warning, "set workers = 5 in [server:main]"),
        ("uwsgi", 1, 0, 1.0, Severity.warning, "set workers = 3 in [uwsgi]"),
        ("waitress", 1, 1, 16.0, Severity.warning, "run 12 instances"),
        ("gunicorn", 2, 0, 4.0, Severity.advice, "set workers = 9"),
        ("gunicorn", 4, 0, 4.0, Severity.ok, ""),
        ("gunicorn", 9, 0, 4.0, Severity.ok, ""),
        ("gunicorn", 10, 0, 4.0, Severity.advice, "set workers = 9"),
        # Half a core of a control group is one that two processes may share.
        ("gunicorn", 3, 0, 0.5, Severity.ok, ""),
        ("gunicorn", 4, 0, 0.5, Severity.advice, "set workers = 3"),
        # Eight are enough for one server, however many cores it has.
        ("gunicorn", 7, 0, 64.0, Severity.advice, "set workers = 12"),
        ("gunicorn", 8, 0, 64.0, Severity.ok, ""),
        # What the command line set counts.
        ("gunicorn", 1, 4, 2.0, Severity.ok, ""),
        ("gunicorn", None, 4, 2.0, Severity.ok, ""),
        ("gunicorn", None, 0, 2.0, Severity.unknown, ""),
    ],
)
def test_processes(
    kind: str,
    configured: Optional[int],
    running: int,
    cores: float,
    severity: Severity,
    remedy: str,
) -> None:
    server = Server(kind, f"egg:{kind}", processes=configured)
    finding = judge_processes(server, Processes(cores, running))
    assert finding.severity is severity and remedy in finding.remedy


PROGRAM = """#!%s
import os, sys

for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        break
os.write(1, b"ready\\n")
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "name, arguments, running",
    [
        ("gunicorn", ["3", "--paste"], 3),
        ("gearbox", ["0", "serve", "-c"], 1),
        ("uwsgi", ["2", "--ini-paste"], 2),
        ("kallithea-cli", ["2", "celery-run", "-c"], 0),
        ("vim", ["0"], 0),
        ("gearbox", ["0", "perf-check", "-c"], 0),
    ],
)
def test_workers_are_counted_and_neither_their_master_nor_other_programs(
    tmp_path: Path, name: str, arguments: Sequence[str], running: int
) -> None:
    program, ini = tmp_path / name, tmp_path / "my.ini"
    ini.touch()
    program.write_text(PROGRAM % sys.executable)
    program.chmod(0o755)
    process = subprocess.Popen(
        [str(program), *arguments, str(ini)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    try:
        for _ in range(int(arguments[0]) + 1):
            assert process.stdout.readline() == b"ready\n"
        counted = processes.count(str(ini))
        assert counted.running == running and counted.cores > 0
        assert bool(counted.resident_mb) is bool(running)
    finally:
        process.communicate()


@pytest.mark.parametrize(
    "type, options, lines, files, cores",
    [
        (
            "cgroup2",
            "rw",
            "0::/web/kallithea",
            {"web/kallithea/cpu.max": "300000 100000", "web/cpu.max": "150000 100000"},
            1.5,
        ),
        (
            "cgroup2",
            "rw",
            "0::/web/kallithea",
            {"web/kallithea/cpu.max": "300000 100000", "web/cpu.max": "max 100000"},
            3.0,
        ),
        (
            "cgroup",
            "rw,cpu",
            "3:cpu,cpuacct:/web",
            {"web/cpu.cfs_period_us": "100000", "web/cpu.cfs_quota_us": "50000"},
            0.5,
        ),
        (
            "cgroup",
            "rw,cpu",
            "3:cpu,cpuacct:/web",
            {"web/cpu.cfs_period_us": "100000", "web/cpu.cfs_quota_us": "-1"},
            8.0,
        ),
        ("cgroup2", "rw", "0::/", {}, 8.0),
    ],
)
def test_the_least_quota_of_the_control_groups_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    type: str,
    options: str,
    lines: str,
    files: dict[str, str],
    cores: float,
) -> None:
    # The machine that runs the tests has one version, and gives out no quotas.
    for name, content in {"../7/cgroup": lines, **files}.items():
        path = Path(os.path.normpath(str(tmp_path / "groups" / name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    table = [Mount(1, "0:30", "/", str(tmp_path / "groups"), type, type, tuple(options.split(",")))]
    assert processes.cores(7, str(tmp_path), table) == cores


def test_a_real_ini_file(
    instance: Path,
    gearbox: Callable[..., subprocess.CompletedProcess[str]],
    edit: Callable[[Path, str, str], None],
) -> None:
    def severity() -> tuple[str, object]:
        result = gearbox(
            "perf-check", "-c", instance, "--only", "WEB002", "-f", "json", cwd=str(instance.parent)
        )
        (finding,) = json.loads(result.stdout)
        return finding["severity"], finding["evidence"]["configured"]

    assert severity() == ("warning", 1)
    most = 2 * len(os.sched_getaffinity(0)) + 1
    edit(instance, "use = egg:waitress#main", f"use = egg:gunicorn#main\nworkers = {most + 1}")
    assert severity() == ("advice", most + 1)
