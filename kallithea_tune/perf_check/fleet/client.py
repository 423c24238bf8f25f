"""The command's side: requests the checks of all workers, and collects their reports.

Functions with `broker_url` are for a child, since a broker may hang; they run one after the other
in the same one, which a reply that fills the memory cannot take further than `MEMORY`.
"""

from __future__ import annotations

import collections
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence, TypeVar

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.fleet import messages
from kallithea_tune.perf_check.fleet.messages import Answer, Request, State
from kallithea_tune.system import child, interruption

if TYPE_CHECKING:
    from celery.app.control import Control

T = TypeVar("T")
ANSWER_SECONDS = 3.0  # a free worker takes 0.03
PAUSE_SECONDS = 0.5
LATE_SECONDS = 20.0  # beyond the time that the checks have: starting them, and the messages
MEMORY = 2 << 30  # bytes: 1,000 reports of the largest size are 256 MB, and as much again decoded
MOST_WORKERS = 5000
NAME = 300  # characters of a worker's, as ``celery@`` and a host's, which has 253 at most
MOST_MISSED = 3  # answers in a row, of `ANSWER_SECONDS` each

Progress = Callable[[str, int, int], None]
_LOST = "it began, and then the broker stopped answering"
_SOLO = "its pool is solo and is running a task, or it is gone"


@dataclass(frozen=True)
class Reply:
    """What came from a worker: an answer, or the reason why there is none."""

    worker: str
    answer: Optional[Answer] = None
    reason: str = ""


def reports(broker_url: str, request: Request, progress: Progress) -> list[Reply]:
    """Return the last reply of each worker, when all have ended or the time is up.

    Raises NotMeasured where the broker does not answer, or no worker does.
    """
    with child.conversation() as broker:

        def call(function: Callable[..., T], **given: object) -> T:
            return broker.call(function, 3 * ANSWER_SECONDS, broker_url=broker_url, **given)

        names = call(present)
        if not names:
            raise NotMeasured(f"no Celery worker answered within {ANSWER_SECONDS:g} s")
        last = call(begun, workers=names, request=request)
        late = "it began, and did not finish in its time"
        end = time.monotonic() + request.seconds + LATE_SECONDS
        missed: collections.Counter[str] = collections.Counter()
        while time.monotonic() < end:
            running = [name for name in last if _waits_for(last[name], missed[name])]
            progress("machines of the fleet", len(names) - len(running), len(names))
            if not running:
                break
            interruption.check()
            time.sleep(PAUSE_SECONDS)
            try:
                found = call(collected, workers=running, token=request.token)
            except NotMeasured:
                # What has arrived stays.
                late = _LOST
                break
            last.update(found)
            missed.update(name for name in running if name not in found)
            missed.subtract({name: missed[name] for name in found})
    return [Reply(name, *_reply(last.get(name), missed[name], late)) for name in names]


def _waits_for(answer: Answer, missed: int) -> bool:
    return answer.state is State.running and missed < MOST_MISSED


def _reply(answer: Optional[Answer], missed: int, late: str) -> tuple[Optional[Answer], str]:
    if answer is None:
        return None, f"it answered a ping and nothing else: {_SOLO}"
    if answer.state is not State.running:
        return answer, ""
    if missed >= MOST_MISSED:
        return None, f"it began, and then stopped answering: {_SOLO}"
    return None, late


def present(broker_url: str) -> list[str]:
    """Return the names of the workers that answer a ping."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies = _control(broker_url).ping(timeout=ANSWER_SECONDS)
    return sorted(_by_worker(replies))[:MOST_WORKERS]


def begun(broker_url: str, workers: Sequence[str], request: Request) -> dict[str, Answer]:
    """Send a request to the workers; return the answers by worker."""
    return _answers(broker_url, messages.BEGIN, workers, request.arguments())


def collected(broker_url: str, workers: Sequence[str], token: str) -> dict[str, Answer]:
    """Return what has become of a request, by worker."""
    return _answers(broker_url, messages.COLLECT, workers, {"token": token})


def _answers(
    broker_url: str, command: str, workers: Sequence[str], arguments: Mapping[str, object]
) -> dict[str, Answer]:
    replies = _control(broker_url).broadcast(
        command,
        arguments=arguments,
        destination=list(workers),
        reply=True,
        timeout=ANSWER_SECONDS,
        # With the last answer there is nothing to wait for.
        limit=len(workers),
    )
    known = set(workers)
    return {
        name: answer_in(document) for name, document in _by_worker(replies).items() if name in known
    }


def _by_worker(replies: Sequence[object]) -> dict[str, object]:
    """Return what each worker sent; what is no reply at all is left out."""
    return {
        name: document
        for reply in replies
        if isinstance(reply, dict)
        for name, document in reply.items()
        if isinstance(name, str) and len(name) <= NAME
    }


def answer_in(document: object) -> Answer:
    """Return the answer in what a worker sent, whatever that is."""
    if isinstance(document, dict) and "error" in document:
        # Celery's own, for a command that it does not know.
        return Answer(State.refused, "celery.include does not load kallithea_tune.fleet there")
    answer = messages.answered(document)
    return answer or Answer(State.failed, "what it sent is not an answer to the request")


def _control(broker_url: str) -> Control:
    from celery import Celery

    app = Celery(broker=broker_url, set_as_current=False)
    # A worker that was taken over must not be able to have anything unpickled here.
    app.conf.accept_content = ["json"]
    app.conf.broker_connection_timeout = ANSWER_SECONDS
    return app.control
