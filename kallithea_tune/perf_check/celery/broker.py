"""The message broker, and the Celery workers behind it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping, Optional

from kallithea_tune.perf_check.celery.request_tasks import uses_celery
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child

if TYPE_CHECKING:
    from kombu import Connection

ANSWER_SECONDS = 1.5  # that workers get; Celery's own default is 1


@dataclass(frozen=True)
class Answer:
    """What a broker and the workers behind it answered.

    `connect_ms` is the time to connect, `waiting` the number of messages in the queue, `workers`
    the processes of each worker that answered. `failed` is the broker's error, and nothing else is
    known then.
    """

    connect_ms: float = 0.0
    waiting: int = 0
    workers: Mapping[str, int] = field(default_factory=dict)
    failed: str = ""


@dataclass(frozen=True)
class Broker:
    """The answer of the broker, None where the application does not use Celery.

    `cores` are those that this command may use, and `worker_command` starts a worker.
    """

    answer: Optional[Answer] = None
    cores: int = 0
    worker_command: str = ""

    @property
    def examined(self) -> Examined:
        """Whether the broker answered, where there is one."""
        answered = int(self.answer is not None and not self.answer.failed)
        return Examined(answered, int(self.answer is not None), "message broker")


@measurement(seconds=2.5)
def broker(context: Context) -> Broker:
    """Connect to the broker of ``celery.broker_url`` as the application would."""
    if not uses_celery(context.instance):
        return Broker()
    settings = context.instance.settings
    answer = child.call(
        query,
        max(5.0, context.deadline.left),
        broker_url=settings.get("celery.broker_url", "amqp://"),
        queue=settings.get("celery.task_default_queue", "celery"),
    )
    return Broker(answer, len(os.sched_getaffinity(0)), context.instance.cli("celery-run"))


def query(broker_url: str, queue: str) -> Answer:
    """Connect, count the messages in `queue`, and request the statistics of the workers.

    For a child, since a connection may hang. Workers answer into a queue of this connection, which
    the broker deletes with it.
    """
    from celery import Celery
    from kombu.exceptions import OperationalError

    app = Celery(broker=broker_url, set_as_current=False)
    started = time.perf_counter()
    try:
        with app.connection_for_read() as connection:
            connection.connect()
            connect_ms = (time.perf_counter() - started) * 1000
            waiting = _waiting(connection, queue)
    except (OSError, OperationalError, *_broker_errors(broker_url)) as error:
        return Answer(failed=f"{type(error).__name__}: {error}")
    statistics = app.control.inspect(timeout=ANSWER_SECONDS).stats() or {}
    workers = {
        name: int(worker.get("pool", {}).get("max-concurrency", 1))
        for name, worker in statistics.items()
    }
    return Answer(connect_ms, waiting, workers)


def _waiting(connection: Connection, queue: str) -> int:
    """Return how many messages wait; a queue that no worker has made yet is empty."""
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0


def _broker_errors(broker_url: str) -> tuple[type[BaseException], ...]:
    from kombu import Connection

    connection = Connection(broker_url)
    return tuple(connection.connection_errors + connection.channel_errors)
