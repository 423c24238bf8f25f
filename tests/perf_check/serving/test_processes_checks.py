"""Processes against cores: judged by tables, counted on real processes and control groups."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Optional, Sequence

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.servers import processes, remedies
from kallithea_tune.perf_check.servers.processes import Worker
from kallithea_tune.perf_check.servers.served import Served, Servers, grouped
from kallithea_tune.perf_check.serving.processes_checks import judge_processes
from kallithea_tune.system.mounts import Mount
from kallithea_tune.system.processes import Process


@pytest.mark.parametrize(
    "kind, configured, running, cores, severity, remedy",
    [
        ("gunicorn", 1, 0, 2.0, Severity.warning, "set workers = 5 in [server:main]"),
        ("uwsgi", 1, 0, 1.0, Severity.warning, "set workers = 3, set master = true in [uwsgi]"),
        ("waitress", 1, 1, 16.0, Severity.warning, "--workers 12"),
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
    section = "[uwsgi]" if kind == "uwsgi" else "[server:main]"
    server = Server(kind, f"egg:{kind}", section, processes=configured)
    worker = Worker(Process(7, 1, (kind,)))
    served = Served(server, (worker,) * running)
    finding = judge_processes(Servers((served,), cores))
    assert finding.severity is severity and remedy in str(finding.remedy)


APPLICATION = "[app:main]\nuse = egg:kallithea\nsqlalchemy.url = sqlite://\n"
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
    ini.write_text(APPLICATION)
    program.write_text(PROGRAM % sys.executable)
    program.chmod(0o755)
    process = subprocess.Popen(
        [str(program), *arguments, str(ini)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    try:
        for _ in range(int(arguments[0]) + 1):
            assert process.stdout.readline() == b"ready\n"
        seen = processes.look(str(ini))
        counted = Servers(tuple(grouped(seen, load(str(ini)))), seen.cores).processes
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


GUNICORN = {
    "workers": "1",
    "timeout": "600",
    "threads": "1",
    "accesslog": "-",
    "use": "egg:gunicorn",
}


@pytest.mark.parametrize(
    "server, pooled, words",
    [
        # Forked workers would share the connections, so each has to load the application.
        (Server("gunicorn", "", options=GUNICORN), True, "--timeout 600 --threads 1 --access-log"),
        (Server("gunicorn", "", options=GUNICORN), False, "set workers = 5 in [server:main]"),
        (Server("gunicorn", "", "gunicorn's command line"), True, "add --workers 5 to gunicorn's"),
        (Server("waitress", "", options={"host": "::", "port": "7"}), True, "--bind '[::]:7'"),
        (Server("uwsgi", "", "[uwsgi]"), True, "set lazy-apps = true in [uwsgi]"),
        (
            Server("uwsgi", "", "[uwsgi]", options={"lazy": "true"}),
            True,
            "master = true in [uwsgi]",
        ),
        (Server("uwsgi", "", "[uwsgi]", options={"cheaper": "7"}), False, "set cheaper = 4 in"),
        (Server("mod_wsgi", "", "a.conf"), True, "set processes = 5, set threads = 1 in a.conf"),
    ],
)
def test_more_processes_share_no_connections(server: Server, pooled: bool, words: str) -> None:
    assert words in str(remedies.processes(server, 5, "/srv/my.ini", pooled))


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
