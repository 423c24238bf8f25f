"""Background tasks: what runs in web requests without Celery; with it, the broker, the workers and
the queue.
"""

from __future__ import annotations

import ast
import os
from typing import Any, Iterator, Mapping, Optional, Sequence

from kallithea_tune.config.instance import Instance, as_bool
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check

NEXT_STEPS = "Celery manual, Next Steps: more than twice the CPUs is rarely effective"
GUIDE = "Kallithea manual, Asynchronous tasks with Celery"
WAITING_PER_PROCESS = 10  # our judgement: tasks that each worker process has before it


def uses_celery(instance: Instance) -> bool:
    """Whether the application hands tasks to Celery."""
    return as_bool(instance.settings.get("use_celery", "false"))


def tasks_in(directory: str) -> list[str]:
    """Return the names of the functions below `directory` that are decorated with Celery's
    ``task``, unimported.
    """
    found: set[str] = set()
    for folder, folders, names in os.walk(directory):
        folders[:] = [
            name for name in folders if name not in ("tests", "public", "i18n", "__pycache__")
        ]
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(folder, name), "rb") as file:
                    source = file.read()
                if b".task" in source:
                    found.update(_decorated(ast.parse(source)))
    return sorted(found)


def _decorated(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Attribute) and decorator.attr == "task":
                    yield node.name


def judge_in_requests(tasks: Sequence[str], mail: Mapping[str, Any], command: str) -> Finding:
    """Without Celery the user waits in the request until the task has ended; `command` starts a
    worker.
    """
    evidence: dict[str, Any] = {**mail, "tasks": list(tasks)}
    cost: dict[str, Any] = {}
    if "greeting_ms" in mail:
        cost = {"impact_ms": mail["greeting_ms"], "impact_per": "mail sent, before its text"}
    return Finding(
        Severity.advice,
        "without Celery, web requests wait for %d kinds of tasks" % len(tasks),
        evidence=evidence,
        threshold="0",
        source=GUIDE,
        remedy="set use_celery = true and celery.broker_url, and run: " + command,
        **cost,
    )


@check(
    "CEL001",
    "celery-unused",
    "Tasks inside web requests",
    "celery",
    seconds=0.6,
    tags=("celery", "probe"),
)
def in_requests(context: Context) -> Iterator[Finding]:
    """Without Celery, find the tasks that the application runs inside web requests, and time the
    mail server.

    The tasks are the functions that its source decorates as tasks: making and forking repositories,
    statistics, indexing, mail. Each mail waits for the mail server's greeting at least, which is
    timed, and no mail is sent.
    """
    from kallithea_tune.app.package import package_directory
    from kallithea_tune.system import child

    instance = context.instance
    if uses_celery(instance):
        yield Finding(Severity.ok, "tasks are handed to Celery")
        return
    tasks = tasks_in(package_directory(instance.use))
    mail: Mapping[str, Any] = {}
    host = instance.settings.get("smtp_server", "").strip()
    if host:
        port = instance.settings.get("smtp_port", "").strip()
        said = child.call(
            "kallithea_tune.perf_check.celery.mail_server:greet", 5, host=host, port=int(port or 25)
        )
        mail = {"mail_server": said["failed"]} if "failed" in said else said
    yield judge_in_requests(tasks, mail, instance.cli("celery-run"))


def queue_of(context: Context) -> dict[str, Any]:
    """Look at the broker once for all checks."""

    def ask() -> dict[str, Any]:
        from kallithea_tune.system import child

        settings = context.instance.settings
        answer: dict[str, Any] = child.call(
            "kallithea_tune.perf_check.celery.celery_queue:look",
            max(5.0, context.deadline.left),
            broker_url=settings.get("celery.broker_url", "amqp://"),
            queue=settings.get("celery.task_default_queue", "celery"),
        )
        return answer

    found: dict[str, Any] = context.once("celery-queue", ask)
    return found


def judge_broker(failed: str, connect_ms: Optional[float]) -> Finding:
    """A broker that does not answer makes every request that has a task fail."""
    if not failed:
        return Finding(
            Severity.ok,
            "the message broker answers",
            evidence={"connect_ms": connect_ms},
            source=GUIDE,
        )
    return Finding(
        Severity.error,
        "the message broker does not answer, so requests with a task fail",
        evidence={"said": failed},
        threshold="it answers",
        source=GUIDE,
        remedy="start the broker, or mend celery.broker_url; until then set use_celery = false",
    )


@check(
    "CEL002",
    "celery-broker",
    "Message broker reachable",
    "celery",
    seconds=2.5,
    tags=("celery", "probe"),
    shares="celery-queue",
)
def broker(context: Context) -> Iterator[Finding]:
    """Connect to the broker of ``celery.broker_url`` as the application would, when it uses
    Celery.
    """
    if uses_celery(context.instance):
        seen = queue_of(context)
        yield judge_broker(seen.get("failed", ""), seen.get("connect_ms"))


def judge_workers(workers: Mapping[str, int], waiting: int, cores: int, command: str) -> Finding:
    """No worker means that nothing is ever done; too few that it waits; too many that they take
    turns.

    `command` starts a worker.
    """
    processes = sum(workers.values())
    common: dict[str, Any] = {
        "evidence": {
            "workers": len(workers),
            "processes": processes,
            "waiting": waiting,
            "cores": cores,
        }
    }
    if not workers:
        return Finding(
            Severity.error,
            "no Celery worker answers, so no task is ever done",
            threshold="1 worker",
            source=GUIDE,
            remedy=command,
            **common,
        )
    if waiting > WAITING_PER_PROCESS * processes:
        return Finding(
            Severity.warning,
            "%d tasks wait for %d worker processes" % (waiting, processes),
            threshold="%d waiting per process" % WAITING_PER_PROCESS,
            source="our judgement",
            remedy="raise celery.worker_concurrency up to %d, or find what the workers wait for"
            % ((2 * cores,)),
            **common,
        )
    if processes > 2 * cores:
        return Finding(
            Severity.advice,
            "%d worker processes share %d cores" % (processes, cores),
            threshold="2 x cores",
            source=NEXT_STEPS,
            remedy="set celery.worker_concurrency = %d" % cores,
            **common,
        )
    return Finding(
        Severity.ok,
        "Celery's workers answer and keep up",
        threshold="2 x cores",
        source=NEXT_STEPS,
        **common,
    )


@check(
    "CEL003",
    "celery-workers",
    "Workers and their queue",
    "celery",
    seconds=2.5,
    tags=("celery", "probe"),
    shares="celery-queue",
)
def workers(context: Context) -> Iterator[Finding]:
    """Ask the workers for their number of processes, and the broker for the tasks that wait in the
    queue.

    Workers that do not answer a control message within 1.5 s count as gone. The cores are those
    this command may use: run it where the workers run.
    """
    if uses_celery(context.instance):
        seen = queue_of(context)
        if "failed" not in seen:
            cores = len(os.sched_getaffinity(0))
            yield judge_workers(
                seen["workers"], seen["waiting"], cores, context.instance.cli("celery-run")
            )
