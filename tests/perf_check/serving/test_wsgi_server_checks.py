"""What the settings of the server mean for Kallithea, in tables and with the real command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Callable, Mapping, Optional

import pytest
from carry_out import carry_out

from kallithea_tune.config.instance import load
from kallithea_tune.config.wsgi_server import UNLIMITED, Server
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.serving.wsgi_server_checks import (
    debug,
    instance_id,
    judge_debug,
    judge_instance_id,
    judge_threads,
)


@pytest.mark.parametrize(
    "kind, threads, severity, words",
    [
        ("waitress", 1, Severity.ok, ""),
        ("waitress", 4, Severity.error, "threads = 1 in [server:main]"),
        ("gunicorn", 1000, Severity.error, "worker_class = sync"),
        ("uwsgi", 2, Severity.error, "[uwsgi]"),
        ("gevent", UNLIMITED, Severity.error, "egg:waitress"),
        ("Paste", 10, Severity.error, "threadpool_workers = 1"),
        ("wsgiref", UNLIMITED, Severity.error, "wsgiref.threaded = false"),
        ("", None, Severity.unknown, ""),
    ],
)
def test_threads(kind: str, threads: Optional[int], severity: Severity, words: str) -> None:
    finding = judge_threads(Server(kind, "egg:" + kind, threads=threads))
    assert finding.severity is severity and words in finding.remedy
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
    assert judge_instance_id(name, server, "").severity is severity


def test_debug() -> None:
    assert judge_debug(True, "x").severity is Severity.error
    assert judge_debug(False, "x").severity is Severity.ok


@pytest.mark.parametrize("section", ["app:main", "DEFAULT"])
def test_the_remedies_of_debug_and_instance_id_remove_the_findings(
    instance: Path, edit: Callable[[Path, str, str], None], section: str
) -> None:
    planted = f"[{section}]\ndebug = true\ninstance_id = one\n"
    edit(instance, f"[{section}]\n", planted)
    edit(instance, "use = egg:waitress#main", "use = egg:gunicorn#main\nworkers = 4")

    def found() -> Mapping[str, Finding]:
        context = Context(load(str(instance)), Deadline(10))
        both = [*debug.findings(context), *instance_id.findings(context)]
        return {item.severity.name: item for item in both}

    before = found()
    assert set(before) == {"error", "advice"}
    assert str(before["error"].remedy) == f"set debug = false in [{section}]"
    for finding in before.values():
        carry_out(finding.remedy, instance)
    assert set(found()) == {"ok"}


def test_an_option_in_another_file_is_left_to_the_admin(instance: Path, tmp_path: Path) -> None:
    outer = instance.parent / "outer.ini"
    outer.write_text("[app:main]\nuse = config:my.ini\n")
    instance.write_text(instance.read_text().replace("[app:main]\n", "[app:main]\ndebug = true\n"))
    (finding,) = debug.findings(Context(load(str(outer)), Deadline(10)))
    assert finding.remedy == "set debug = false where the application's settings are"


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
    assert findings == {"WEB001": "error", "CFG001": "error", "CFG005": "advice"}
