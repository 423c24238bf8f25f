"""The Celery workers: which queues they consume, and what their processes do."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

if TYPE_CHECKING:
    from celery import Celery

ANSWER_SECONDS = 1.5  # that workers get; Celery's own default is 1
# A free process starts a task that its worker has within milliseconds.
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class RunningTask:
    """A task that a process of a worker runs, and for how many seconds so far."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Worker:
    """What a worker answered.

    `processes` is how many run its tasks, and `stopped` those of them that are stopped (by
    SIGSTOP or a debugger), which is seen on this machine only. `held` is how many tasks it did not
    start for a second, although processes were free. `tasks` are those that it knows.
    """

    processes: int
    queues: tuple[str, ...] = ()
    running: tuple[RunningTask, ...] = ()
    held: int = 0
    stopped: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ()


class _Workers:
    """Sends control messages to all workers, and reads their answers."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._names: Optional[Sequence[str]] = None

    def answers(self, command: str) -> Mapping[str, object]:
        """Return the answer of each worker; only the first time others may still come."""
        inspect = self._app.control.inspect(
            destination=self._names,
            timeout=ANSWER_SECONDS,
            limit=len(self._names) if self._names is not None else None,
        )
        found: Mapping[str, object] = getattr(inspect, command)() or {}
        if self._names is None:
            self._names = list(found)
        return found

    def lists(self, command: str, key: str) -> Mapping[str, Sequence[Mapping[str, object]]]:
        """Return a list of dictionaries for each worker, without those that lack `key`."""
        return {
            name: [item for item in answer if isinstance(item, dict) and key in item]
            for name, answer in self.answers(command).items()
            if isinstance(answer, list)
        }


def workers_of(app: Celery) -> Mapping[str, Worker]:
    """Return the workers that answer by name. They answer into a queue of this connection, which
    the broker deletes with it.
    """
    control = _Workers(app)
    statistics = control.answers("stats")
    if not statistics:
        return {}
    queues = control.lists("active_queues", "name")
    known = control.answers("registered")
    running, held = _activity(control, {name: _processes(s) for name, s in statistics.items()})
    now = time.time()
    return {
        name: Worker(
            processes=_processes(answer),
            queues=tuple(str(queue["name"]) for queue in queues.get(name, ())),
            running=tuple(_running(task, now) for task in running.get(name, ())),
            held=held.get(name, 0),
            stopped=_stopped(name, answer),
            tasks=_tasks(known.get(name)),
        )
        for name, answer in statistics.items()
    }


def _activity(
    control: _Workers, processes: Mapping[str, int]
) -> tuple[Mapping[str, Sequence[Mapping[str, object]]], Mapping[str, int]]:
    """Return the running tasks, and how many each worker holds while processes are free."""

    def waiting() -> Mapping[str, set[object]]:
        free = {name for name, count in processes.items() if len(running.get(name, ())) < count}
        return {
            name: {task["id"] for task in tasks}
            for name, tasks in control.lists("reserved", "id").items()
            if name in free and tasks
        }

    running = control.lists("active", "id")
    before = waiting()
    if not before:
        return running, {}
    time.sleep(PAUSE_SECONDS)
    running = control.lists("active", "id")
    return running, {
        name: len(tasks & before.get(name, set())) for name, tasks in waiting().items()
    }


def _pool(answer: object) -> Mapping[str, object]:
    pool = answer.get("pool") if isinstance(answer, dict) else None
    return pool if isinstance(pool, dict) else {}


def _processes(answer: object) -> int:
    count = _pool(answer).get("max-concurrency", 1)
    return count if isinstance(count, int) else 1


def _running(task: Mapping[str, object], now: float) -> RunningTask:
    started = task.get("time_start")
    seconds = max(0.0, now - started) if isinstance(started, (int, float)) else 0.0
    return RunningTask(str(task.get("name", "")), seconds)


def _tasks(answer: object) -> tuple[str, ...]:
    # A task with options is followed by them: "send_email [rate_limit=10/m]".
    names = answer if isinstance(answer, list) else []
    return tuple(str(name).split(" ")[0] for name in names)


def _stopped(name: str, answer: object) -> tuple[int, ...]:
    """Return the processes of a worker on this machine that are stopped."""
    if name.partition("@")[2] != socket.gethostname():
        return ()
    pids = _pool(answer).get("processes", [])
    return tuple(
        pid for pid in (pids if isinstance(pids, list) else []) if _state(pid) in ("T", "t")
    )


def _state(pid: int) -> str:
    """Return the state of a process of Celery as proc(5) has it, empty for any other."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"celery" not in file.read():
                return ""
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    return ""
