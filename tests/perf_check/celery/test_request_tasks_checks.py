"""Tasks inside web requests, found in Kallithea's source."""

from __future__ import annotations

import subprocess
import sys

from kallithea_tune.app.package import package_directory
from kallithea_tune.perf_check.celery.request_tasks import RequestTasks, tasks_in
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


def test_tasks_inside_requests_are_listed_with_what_runs_them_elsewhere() -> None:
    (handed_over,) = in_requests.judge(RequestTasks(uses_celery=True))
    assert handed_over.severity is Severity.ok
    (inside,) = in_requests.judge(RequestTasks(False, ("send_email",), "celery-run"))
    assert (inside.severity, inside.evidence) == (Severity.advice, {"tasks": ["send_email"]})
    assert "wait for 1 kind of tasks" in inside.diagnosis
    assert str(inside.remedy).endswith("and run: celery-run")
