"""Tasks that web requests wait for."""

from __future__ import annotations

from typing import Iterator

from kallithea_tune.perf_check.celery.request_tasks import RequestTasks, request_tasks
from kallithea_tune.perf_check.model import Finding, Severity, check


@check(
    "CEL001",
    "celery-unused",
    "Tasks inside web requests",
    measures=(request_tasks,),
    tags=("celery", "probe"),
)
def in_requests(found: RequestTasks) -> Iterator[Finding]:
    """Tasks are handed to Celery, so that no user waits for one inside a request."""
    if found.uses_celery:
        yield Finding(Severity.ok, "tasks are handed to Celery")
        return
    evidence: dict[str, object] = {}
    if found.mail and found.mail.failed:
        evidence["mail_server"] = found.mail.failed
    elif found.mail:
        evidence["greeting_ms"] = found.mail.ms
    yield Finding(
        Severity.advice,
        f"without Celery, web requests wait for {len(found.names)} kinds of tasks",
        evidence={**evidence, "tasks": list(found.names)},
        threshold="0",
        source="Kallithea manual, Asynchronous tasks with Celery",
        remedy=f"set use_celery = true and celery.broker_url, and run: {found.worker_command}",
        impact_ms=found.mail.ms if found.mail else None,
        impact_per="mail sent, before its text" if found.mail and found.mail.ms else "",
    )
