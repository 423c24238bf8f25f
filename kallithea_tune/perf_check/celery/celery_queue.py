"""Asks a message broker and the Celery workers behind it how they are."""

from __future__ import annotations

import time
from typing import Any

ANSWERS_WITHIN = 1.5  # seconds that workers get to answer; Celery's own default is 1


def look(broker_url: str, queue: str) -> dict[str, Any]:
    """Return milliseconds to connect, messages waiting in `queue`, and the processes of each worker
    that answers.

    A broker that does not answer gives its words under ``failed``. For `probes.child`: a connection
    may hang. Workers answer into a queue of this connection, which the broker deletes with it.
    """
    from celery import Celery
    from kombu.exceptions import OperationalError

    app = Celery(broker=broker_url, set_as_current=False)
    began = time.perf_counter()
    try:
        with app.connection_for_read() as connection:
            connection.connect()
            connect_ms = (time.perf_counter() - began) * 1000
            waiting = _waiting(connection, queue)
    except (OSError, OperationalError, *_broker_errors(broker_url)) as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    answers = app.control.inspect(timeout=ANSWERS_WITHIN).stats() or {}
    workers = {
        name: int(said.get("pool", {}).get("max-concurrency", 1)) for name, said in answers.items()
    }
    return {"connect_ms": connect_ms, "waiting": waiting, "workers": workers}


def _waiting(connection: Any, queue: str) -> int:
    """Return how many messages wait; a queue that no worker has made yet holds none."""
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0


def _broker_errors(broker_url: str) -> tuple[type[BaseException], ...]:
    from kombu import Connection

    connection = Connection(broker_url)
    found: tuple[type[BaseException], ...] = (
        connection.connection_errors + connection.channel_errors
    )
    return found
