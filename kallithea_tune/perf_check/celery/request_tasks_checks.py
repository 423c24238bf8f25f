"""Tasks that web requests wait for."""

from __future__ import annotations

from typing import Iterator

from kallithea_tune.perf_check.celery.request_tasks import RequestTasks, request_tasks
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.text import counted


@check(
    "CEL001",
    "celery-unused",
    "Tasks inside web requests",
    measures=(request_tasks,),
    tags=("celery", "probe"),
)
def in_requests(measured: RequestTasks) -> Iterator[Finding]:
    """Tasks are handed to Celery, so that no user waits for one inside a request."""
    if measured.uses_celery:
        yield Finding(Severity.ok, "tasks are handed to Celery")
        return
    tasks = counted(len(measured.names), "kind")
    yield Finding(
        Severity.advice,
        f"without Celery, web requests wait for {tasks} of tasks",
        evidence={"tasks": list(measured.names)},
        threshold="0",
        source="Kallithea manual, Asynchronous tasks with Celery",
        remedy=f"set use_celery = true and celery.broker_url, and run: {measured.worker_command}",
    )
