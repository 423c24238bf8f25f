"""Whether the message broker answers, and whether the workers keep up."""

from __future__ import annotations

from functools import partial
from typing import Iterator

from kallithea_tune.perf_check.celery.broker import Answer, Broker, broker
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check

NEXT_STEPS = "Celery manual, Next Steps: more than twice the CPUs is rarely effective"
GUIDE = "Kallithea manual, Asynchronous tasks with Celery"
WAITING_PER_PROCESS = 10  # our judgement: tasks that each worker process has before it
PROCESSES_PER_CORE = 2


def judge_broker(answer: Answer) -> Finding:
    """A broker that does not answer makes every request that has a task fail."""
    if not answer.failed:
        return Finding(
            Severity.ok,
            "the message broker answers",
            evidence={"connect_ms": answer.connect_ms},
            source=GUIDE,
        )
    return Finding(
        Severity.error,
        "the message broker does not answer, so requests with a task fail",
        evidence={"said": answer.failed},
        threshold="it answers",
        source=GUIDE,
        remedy="start the broker, or correct celery.broker_url; until then set use_celery = false",
    )


@check(
    "CEL002",
    "celery-broker",
    "Message broker reachable",
    measures=(broker,),
    tags=("celery", "probe"),
    harm=Harm.access,
)
def reachable(measured: Broker) -> Iterator[Finding]:
    """The broker answers, where the application uses Celery."""
    if measured.answer:
        yield judge_broker(measured.answer)


def judge_workers(answer: Answer, cores: int, command: str) -> Finding:
    """Without a worker nothing is done; with too few tasks wait; too many compete for the cores.

    `command` starts a worker.
    """
    processes, waiting = sum(answer.workers.values()), answer.waiting
    finding = partial(
        Finding,
        evidence={
            "workers": len(answer.workers),
            "processes": processes,
            "waiting": waiting,
            "cores": cores,
        },
        source=GUIDE,
    )
    most = PROCESSES_PER_CORE * cores
    if not answer.workers:
        no_worker = "no Celery worker answers, so no task is ever run"
        return finding(Severity.error, no_worker, threshold="1 worker", remedy=command)
    if waiting > WAITING_PER_PROCESS * processes:
        return finding(
            Severity.warning,
            f"{waiting} tasks wait for {processes} worker processes",
            threshold=f"{WAITING_PER_PROCESS} waiting per process",
            source="our judgement",
            remedy=f"raise celery.worker_concurrency up to {most}, "
            "or find what the workers wait for",
        )
    limited = partial(finding, threshold=f"{PROCESSES_PER_CORE} x cores", source=NEXT_STEPS)
    if processes > most:
        return limited(
            Severity.advice,
            f"{processes} worker processes share {cores} cores",
            remedy=f"set celery.worker_concurrency = {cores}",
        )
    return limited(Severity.ok, "Celery's workers answer and keep up")


@check(
    "CEL003",
    "celery-workers",
    "Workers and their queue",
    measures=(broker,),
    tags=("celery", "probe"),
)
def workers(measured: Broker) -> Iterator[Finding]:
    """Workers answer, no queue builds up before them, and their processes fit the cores."""
    if measured.answer and not measured.answer.failed:
        yield judge_workers(measured.answer, measured.cores, measured.worker_command)
