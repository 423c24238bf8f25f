"""What the settings of the server mean for Kallithea, in tables and with the real command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Callable, Optional, Sequence

import pytest
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.config.wsgi_server import UNLIMITED, Server
from kallithea_tune.perf_check import runner
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.servers.processes import Worker
from kallithea_tune.perf_check.servers.served import Served, Servers
from kallithea_tune.perf_check.serving.wsgi_server_checks import (
    debug,
    instance_id,
    judge_debug,
    judge_instance_id,
    judge_threads,
)
from kallithea_tune.system.processes import Process


@pytest.mark.parametrize(
    "kind, threads, severity, words",
    [
        ("waitress", 1, Severity.ok, ""),
        ("waitress", 4, Severity.error, "threads = 1 in [server:main]"),
        ("gunicorn", 1000, Severity.error, "worker_class = sync"),
        ("uwsgi", 2, Severity.error, "[uwsgi]"),
        ("gevent", UNLIMITED, Severity.error, "set use = egg:waitress#main, set threads = 1"),
        ("Paste", 10, Severity.error, "threadpool_workers = 1"),
        ("wsgiref", UNLIMITED, Severity.error, "wsgiref.threaded = false"),
        ("", None, Severity.unknown, ""),
    ],
)
def test_threads(kind: str, threads: Optional[int], severity: Severity, words: str) -> None:
    section = "[uwsgi]" if kind == "uwsgi" else "[server:main]"
    served = Served(Server(kind, "egg:" + kind, section, threads=threads))
    finding = judge_threads(served, Servers((served,), looked=False))
    assert finding.severity is severity and words in str(finding.remedy)
    assert str(UNLIMITED) not in finding.diagnosis + str(finding.evidence)


@pytest.mark.parametrize(
    "name, processes, severity",
    [
        ("*", 4, Severity.ok),
        ("*", None, Severity.ok),
        ("one", 1, Severity.ok),
        ("one", 4, Severity.advice),
        ("one", None, Severity.unknown),
    ],
)
def test_instance_id(name: str, processes: Optional[int], severity: Severity) -> None:
    server = Server("gunicorn", "", processes=processes)
    assert judge_instance_id(name, server, "app:main").severity is severity


def test_debug() -> None:
    assert judge_debug(True, "app:main").severity is Severity.error
    assert judge_debug(False, "app:main").severity is Severity.ok


@pytest.mark.parametrize("section, form", [("app:main", ""), ("DEFAULT", ""), ("app:main", "set ")])
def test_the_remedies_of_debug_and_instance_id_remove_the_findings(
    instance: Path, edit: Callable[[Path, str, str], None], section: str, form: str
) -> None:
    edit(instance, f"[{section}]\n", f"[{section}]\n{form}debug = true\n{form}instance_id = one\n")
    edit(instance, "use = egg:waitress#main", "use = egg:gunicorn#main\nworkers = 4")

    def found() -> Sequence[Finding]:
        return runner.run(load(str(instance)), [debug, instance_id], 10).findings

    worst, other = found()
    assert (worst.severity, other.severity) == (Severity.error, Severity.advice)
    assert str(worst.remedy) == f"set {form}debug = false in [{section}]"
    for finding in (worst, other):
        carry_out(finding.remedy, instance)
    assert [item.severity for item in found()] == [Severity.ok, Severity.ok]


def seen(threads: int) -> Worker:
    return Worker(Process(7, 1, ("gearbox",)), threads=threads)


@pytest.mark.parametrize(
    "kind, threads, workers, severity, confidence",
    [
        # The ini file is not what runs.
        ("waitress", 1, [seen(2)], Severity.ok, "high"),
        ("waitress", 1, [seen(3)], Severity.ok, "high"),
        ("waitress", 1, [seen(11)], Severity.error, "medium"),
        ("waitress", 10, [seen(11)], Severity.error, "high"),
        # Without a number in a file or on a command line, the threads are counted.
        ("gunicorn", None, [seen(1), seen(1)], Severity.ok, "medium"),
        ("gunicorn", None, [seen(1), seen(9)], Severity.error, "medium"),
        ("gunicorn", None, [seen(2)], Severity.unknown, "high"),
        ("gunicorn", 1, [seen(1)], Severity.ok, "high"),
        ("gunicorn", 1, [], Severity.ok, "low"),
        ("mod_wsgi", 15, [], Severity.error, "low"),
    ],
)
def test_what_runs_counts_more_than_what_is_written(
    kind: str,
    threads: Optional[int],
    workers: "list[Worker]",
    severity: Severity,
    confidence: str,
) -> None:
    served = Served(Server(kind, kind, threads=threads), tuple(workers))
    finding = judge_threads(served, Servers((served,)))
    assert (finding.severity, finding.confidence) == (severity, confidence)


def test_the_settings_of_a_real_ini_are_judged(
    instance: Path,
    gearbox: Callable[..., subprocess.CompletedProcess[str]],
    edit: Callable[[Path, str, str], None],
    tmp_path: Path,
) -> None:
    edit(
        instance,
        "use = egg:waitress#main",
        "use = egg:gunicorn#main\nworkers = 4\nworker_class = gthread",
    )
    edit(instance, "threads = 1", "threads = 3")
    edit(
        instance, "use = egg:kallithea\n", "use = egg:kallithea\ndebug = true\ninstance_id = one\n"
    )
    result = gearbox(
        "perf-check",
        "-c",
        instance,
        "--only",
        "serving",
        "--no-probes",
        "-f",
        "json",
        cwd=str(tmp_path),
    )
    findings = {item["check"]: item["severity"] for item in json.loads(result.stdout)}
    expected = {"WEB001": "error", "CFG001": "error", "CFG005": "advice"}
    assert expected.items() <= findings.items()
