"""Tasks inside web requests: found in Kallithea's source, and a real mail server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

from kallithea_tune.app.package import package_directory
from kallithea_tune.perf_check.celery.request_tasks import Greeting, RequestTasks, tasks_in
from kallithea_tune.perf_check.celery.request_tasks_checks import in_requests
from kallithea_tune.perf_check.model import Severity


def test_the_tasks_are_those_that_kallithea_registers_with_celery() -> None:
    names = subprocess.run(
        [
            sys.executable,
            "-c",
            "import kallithea, kallithea.model.async_tasks, kallithea.model.repo,"
            "kallithea.model.notification, kallithea.lib.indexers.daemon;"
            "print(' '.join(n for n in kallithea.CELERY_APP.tasks if not n.startswith('celery.')))",
        ],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout
    assert tasks_in([package_directory()]) == sorted(names.split())


def test_the_cost_of_a_mail_is_that_of_the_greeting() -> None:
    (handed_over,) = in_requests.judge(RequestTasks(uses_celery=True))
    assert handed_over.severity is Severity.ok
    (slow,) = in_requests.judge(RequestTasks(False, ("send_email",), Greeting(150.0), "run"))
    assert slow.impact == "+150 ms per mail sent, before its text"
    assert slow.evidence == {"greeting_ms": 150.0, "tasks": ["send_email"]}
    (down,) = in_requests.judge(RequestTasks(False, (), Greeting(failed="refused"), "run"))
    assert down.impact == "" and down.evidence == {"mail_server": "refused", "tasks": []}


def test_without_celery_the_mail_server_is_timed_and_gets_no_mail(
    gearbox: Callable[..., Any], instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    from servers.server import free_port

    def evidence() -> Any:
        done = gearbox(
            "perf-check", "-c", instance, "--only", "celery", "-f", "json", cwd=str(instance.parent)
        )
        assert done.returncode in (0, 1, 5), done.stderr
        return {item["check"]: item for item in json.loads(done.stdout)}["CEL001"]["evidence"]

    port = free_port()
    edit(instance, "\nsmtp_server =", "\nsmtp_server = 127.0.0.1")
    edit(instance, "\nsmtp_port =", f"\nsmtp_port = {port}")
    assert "refused" in evidence()["mail_server"].lower()
    server = subprocess.Popen(
        [
            *(sys.executable, "-u", "-W", "ignore", "-m", "smtpd", "-n", "-c", "DebuggingServer"),
            f"127.0.0.1:{port}",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        give_up = time.monotonic() + 60
        while "greeting_ms" not in evidence():
            assert time.monotonic() < give_up
    finally:
        server.terminate()
        output, _ = server.communicate()
    assert output == b""
