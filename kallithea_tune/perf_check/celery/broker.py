"""The message broker, and the tasks that wait in its queue."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Mapping

from kallithea_tune.app.package import code
from kallithea_tune.perf_check.celery.request_tasks import tasks_in, uses_celery
from kallithea_tune.perf_check.celery.workers import (
    ANSWER_SECONDS,
    PAUSE_SECONDS,
    Worker,
    workers_of,
)
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child

if TYPE_CHECKING:
    from kombu import Connection

CONNECT_SECONDS = 2
READ = 1000  # waiting tasks whose names are read, where that is possible


@dataclass(frozen=True)
class Answer:
    """What a broker and the workers behind it answered.

    `connect_ms` is the time to connect, `waiting` the number of messages in `queue`, `names` those
    of the first `READ` tasks in it with their numbers, where they can be read without being taken
    out: from Redis only. `failed` is the broker's error, and nothing else is known then.
    """

    connect_ms: float = 0.0
    queue: str = "celery"
    waiting: int = 0
    names: Mapping[str, int] = field(default_factory=dict)
    workers: Mapping[str, Worker] = field(default_factory=dict)
    failed: str = ""

    @property
    def consumers(self) -> Mapping[str, Worker]:
        """The workers that consume the queue."""
        return {name: item for name, item in self.workers.items() if self.queue in item.queues}


@dataclass(frozen=True)
class Broker:
    """The application's tasks and the answer of its broker; `uses_celery` is whether it has one.

    `cores` are those that this command may use.
    """

    uses_celery: bool = False
    answer: Answer = Answer()
    cores: int = 0
    tasks: tuple[str, ...] = ()

    @property
    def examined(self) -> Examined:
        """Whether the broker answered, where there is one."""
        answered = int(self.uses_celery and not self.answer.failed)
        return Examined(answered, int(self.uses_celery), "message broker")


@measurement(seconds=3.5)
def broker(context: Context) -> Broker:
    """Connect to the broker of ``celery.broker_url`` as the application would."""
    instance = context.instance
    if not uses_celery(instance):
        return Broker()
    answer = _answer(
        instance.settings.get("celery.broker_url", "amqp://"),
        instance.settings.get("celery.task_default_queue", "celery"),
    )
    cores = len(os.sched_getaffinity(0))
    return Broker(True, answer, cores, tuple(tasks_in(code(instance.use))))


def _answer(broker_url: str, queue: str) -> Answer:
    try:
        answer = child.call(connect, 3 * CONNECT_SECONDS, broker_url=broker_url, queue=queue)
    except child.Ended as error:
        # Resolving its host may take as long as the resolver likes.
        return Answer(failed=str(error))
    if answer.failed:
        return answer
    # A worker that is about to end may leave a question unanswered.
    within = 4 * ANSWER_SECONDS + PAUSE_SECONDS + CONNECT_SECONDS
    return replace(answer, workers=child.call(workers_behind, within, broker_url=broker_url))


def connect(broker_url: str, queue: str) -> Answer:
    """Connect and count the messages in `queue`; for a child, since a connection may hang."""
    from kombu import Connection
    from kombu.exceptions import OperationalError

    connection = Connection(broker_url, connect_timeout=CONNECT_SECONDS)
    errors = (*connection.connection_errors, *connection.channel_errors, OperationalError, OSError)
    started = time.perf_counter()
    try:
        with connection:
            # Its method connect() waits two seconds before it tries once more.
            connection.ensure_connection(
                max_retries=1, interval_start=0, interval_step=0, timeout=CONNECT_SECONDS
            )
            connect_ms = (time.perf_counter() - started) * 1000
            return Answer(connect_ms, queue, _waiting(connection, queue), _names(connection, queue))
    except errors as error:
        cause = error.__cause__ or error
        return Answer(failed=f"{type(cause).__name__}: {cause}")


def workers_behind(broker_url: str) -> Mapping[str, Worker]:
    """Return the workers that answer through the broker; for a child."""
    from celery import Celery

    return workers_of(Celery(broker=broker_url, set_as_current=False))


def _waiting(connection: Connection, queue: str) -> int:
    """Return how many messages wait; a queue that no worker has made yet is empty."""
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0


def _names(connection: Connection, queue: str) -> Mapping[str, int]:
    """Count the names of waiting tasks; a list of Redis can be read, a queue of AMQP cannot."""
    if connection.transport.driver_type != "redis":
        return {}
    names: collections.Counter[str] = collections.Counter()
    with connection.channel() as channel:
        for message in channel.client.lrange(queue, 0, READ - 1):
            with contextlib.suppress(ValueError, LookupError, TypeError):
                names[str(json.loads(message)["headers"]["task"])] += 1
    return dict(names.most_common())
