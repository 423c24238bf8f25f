"""Whether the message broker answers, and whether the workers keep up."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterator, Mapping, Optional, Sequence

from kallithea_tune.perf_check.celery.broker import Answer, Broker, broker
from kallithea_tune.perf_check.celery.remote_control_checks import RESTART
from kallithea_tune.perf_check.celery.workers import PAUSE_SECONDS, RunningTask, Worker
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, IniEdit, Option, Remedy
from kallithea_tune.text import counted, first_of

NEXT_STEPS = "Celery manual, Next Steps: more than twice the CPUs is rarely effective"
GUIDE = "Kallithea manual, Asynchronous tasks with Celery"
OURS = "our judgement"
WAITING_PER_PROCESS = 10  # our judgement: tasks that each worker process has before it
PROCESSES_PER_CORE = 2
# A mail takes seconds; a fork or the search index of a large installation takes minutes.
MAIL_SECONDS, TASK_SECONDS = 60, 3600
NAMED = 10


def judge_broker(answer: Answer, section: str) -> Finding:
    """A broker that does not answer makes every request that has a task fail."""
    if not answer.failed:
        return Finding(
            Severity.ok,
            "the message broker answers",
            evidence={"connect_ms": answer.connect_ms},
            source=GUIDE,
        )
    without = Option(section, "use_celery", "false")
    until = "start the broker or correct celery.broker_url; until then, and restart Kallithea"
    return Finding(
        Severity.error,
        "the message broker does not answer, so requests with a task fail",
        evidence={"said": answer.failed},
        threshold="it answers",
        source=GUIDE,
        # Celery's tasks in requests are slower, and they work.
        remedy=IniEdit((without,), until, Effect.lasting) if section else until,
    )


@check(
    "CEL002",
    "celery-broker",
    "Message broker reachable",
    measures=(broker, configuration),
    tags=("celery", "probe"),
    harm=Harm.access,
)
def reachable(measured: Broker, settings: Configuration) -> Iterator[Finding]:
    """The broker answers, where the application uses Celery."""
    if measured.uses_celery:
        yield judge_broker(measured.answer, settings.instance.section)


def judge_workers(measured: Broker, command: Sequence[str], section: str) -> Iterator[Finding]:
    """Without a worker nothing is done; with too few tasks wait; too many compete for the cores.

    `command` starts a worker, `section` has the application's settings.
    """
    answer = measured.answer
    found = (
        _not_consumed(answer, command)
        or _stopped(answer.workers)
        or _held(answer.consumers)
        or _endless(answer.consumers)
        or _backlog(measured, section)
        or _crowded(measured, section)
        or Finding(
            Severity.ok,
            "Celery's workers answer and keep up",
            threshold=f"{WAITING_PER_PROCESS} waiting per process",
        )
    )
    yield replace(found, evidence=_evidence(measured), source=found.source or GUIDE)
    if answer.consumers:
        yield from _unknown(answer.consumers, measured.tasks)


def _processes(workers: Mapping[str, Worker]) -> int:
    return sum(worker.processes for worker in workers.values())


def _evidence(measured: Broker) -> Mapping[str, object]:
    answer = measured.answer
    evidence: dict[str, object] = {
        "workers": len(answer.workers),
        "processes": _processes(answer.workers),
        "waiting": answer.waiting,
        "cores": measured.cores,
    }
    running = [task for worker in answer.workers.values() for task in worker.running]
    if running:
        longest = sorted(running, key=lambda task: -task.seconds)[:NAMED]
        evidence["running_s"] = [f"{task.name} {task.seconds:.0f}" for task in longest]
    if answer.names:
        evidence["first_waiting"] = dict(list(answer.names.items())[:NAMED])
    return evidence


def _not_consumed(answer: Answer, command: Sequence[str]) -> Optional[Finding]:
    if answer.consumers:
        return None
    verb = "waits" if answer.waiting == 1 else "wait"
    waits = f"{counted(answer.waiting, 'task')} {verb} in '{answer.queue}', and "
    waits = waits if answer.waiting else ""
    if not answer.workers:
        diagnosis = waits + "no Celery worker answers, so no task is ever run"
    else:
        queues = sorted({queue for worker in answer.workers.values() for queue in worker.queues})
        those = f"they consume {first_of(queues)}" if queues else "they consume nothing"
        diagnosis = f"{waits}no worker consumes the queue '{answer.queue}': {those}"
    return Finding(
        Severity.error,
        diagnosis,
        threshold="1 worker that consumes it",
        remedy=Command(tuple(command), note="as a service", service=True),
    )


def _stopped(workers: Mapping[str, Worker]) -> Optional[Finding]:
    pids = [pid for worker in workers.values() for pid in worker.stopped]
    if not pids:
        return None
    return Finding(
        Severity.error,
        f"{len(pids)} of {counted(_processes(workers), 'worker process')} "
        f"{'is' if len(pids) == 1 else 'are'} stopped, and the tasks handed to them wait",
        threshold="0 stopped",
        source="proc(5), the state T",
        remedy=Command(("kill", "-CONT", *map(str, pids)), effect=Effect.reversible),
    )


def _held(workers: Mapping[str, Worker]) -> Optional[Finding]:
    held = {name: worker for name, worker in workers.items() if worker.held}
    if not held:
        return None
    tasks = counted(sum(worker.held for worker in held.values()), "task")
    return Finding(
        Severity.error,
        f"the processes of {first_of(list(held), 1)} do not work: {tasks} not started although "
        "processes are free",
        threshold=f"started within {PAUSE_SECONDS:g} s",
        source=OURS,
        remedy="restart the worker",
    )


def _limit(task: RunningTask) -> int:
    return MAIL_SECONDS if task.name == "send_email" else TASK_SECONDS


def _endless(workers: Mapping[str, Worker]) -> Optional[Finding]:
    running = [task for worker in workers.values() for task in worker.running]
    late = sorted((task for task in running if task.seconds > _limit(task)), key=_limit)
    if not late:
        return None
    longest = max(task.seconds for task in late)
    processes = counted(_processes(workers), "worker process")
    return Finding(
        Severity.error if len(late) == _processes(workers) else Severity.warning,
        f"{late[0].name} has run for {longest / 60:.0f} minutes in {len(late)} of {processes}",
        threshold=f"{_limit(late[0])} s",
        source=OURS,
        remedy="restart the workers; see MAIL001 for the mail server that send_email waits for",
    )


def _backlog(measured: Broker, section: str) -> Optional[Finding]:
    answer, most = measured.answer, PROCESSES_PER_CORE * measured.cores
    processes = _processes(answer.consumers)
    if answer.waiting <= WAITING_PER_PROCESS * processes:
        return None
    each = max(1, most // len(answer.consumers))
    more = processes < most and section
    return Finding(
        Severity.warning,
        f"{counted(answer.waiting, 'task')} wait for {counted(processes, 'worker process')}",
        threshold=f"{WAITING_PER_PROCESS} waiting per process",
        source=OURS,
        remedy=_concurrency(section, each) if more else "find out what the workers wait for",
    )


def _crowded(measured: Broker, section: str) -> Optional[Finding]:
    workers, cores = measured.answer.workers, measured.cores
    if _processes(workers) <= PROCESSES_PER_CORE * cores:
        return None
    each = max(1, cores // len(workers))
    return Finding(
        Severity.advice,
        f"{_processes(workers)} worker processes share {counted(cores, 'core')}",
        threshold=f"{PROCESSES_PER_CORE} x cores",
        source=NEXT_STEPS,
        remedy=_concurrency(section, each) if section else f"celery.worker_concurrency = {each}",
    )


def _concurrency(section: str, count: int) -> Remedy:
    option = Option(section, "celery.worker_concurrency", str(count))
    return IniEdit((option,), RESTART, restart=True)


def _unknown(workers: Mapping[str, Worker], tasks: Sequence[str]) -> Iterator[Finding]:
    """Another version or another application in a worker discards the tasks it does not know."""
    lacking = sorted({task for task in tasks for one in workers.values() if task not in one.tasks})
    if lacking:
        yield Finding(
            Severity.warning,
            f"a worker discards {counted(len(lacking), 'kind')} of tasks that it does not know: "
            f"{first_of(lacking)}",
            "tasks",
            {"unknown": lacking},
            "0",
            GUIDE,
            "restart the workers with this Kallithea and this ini file",
        )


@check(
    "CEL003",
    "celery-workers",
    "Workers and their queue",
    measures=(broker, configuration),
    tags=("celery", "probe"),
)
def workers(measured: Broker, settings: Configuration) -> Iterator[Finding]:
    """Workers answer, consume the application's queue and run its tasks, no queue builds up before
    them, and their processes fit the cores.
    """
    instance = settings.instance
    if measured.uses_celery and not measured.answer.failed:
        command = instance.program("kallithea-cli", "celery-run")
        yield from judge_workers(measured, command, instance.section)
