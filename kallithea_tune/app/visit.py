"""Has the application answer requests in a child process, confined to scratch space."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import Iterator, Mapping, Optional, Sequence

from kallithea_tune.app import inside, loading
from kallithea_tune.app.exchange import Answer, Order, Outcome, Request, Served, Visit
from kallithea_tune.app.loading import DoesNotLoad, LoadFailure
from kallithea_tune.app.owner import owner_of
from kallithea_tune.app.slow_request import REACTION_S
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.system import child, typed_json
from kallithea_tune.system.account import acting_as
from kallithea_tune.system.scratch import scratch

__all__ = ["Answer", "DoesNotLoad", "Request", "Visit", "Visitor", "visit", "visitor"]

# Loading the application on a busy machine does not count against the time for the requests, but
# takes only this part of the time that is left for everything.
LOAD_PART = 0.6
# Requests that take long get this part of the time for all of them in addition, if no more.
OVERTIME = 0.3
# A child ends so many seconds before the wall: what it saw has to be passed on.
BEFORE_WALL_S, FAR_S = REACTION_S + 1, 86400.0
# Beyond the time of the requests, until an application that does not even react is killed.
HANGS_S = 8.0


def visit(
    instance: Instance,
    requests: Sequence[Request],
    seconds: float,
    rounds: int = 1,
    settings: Optional[Mapping[str, str]] = None,
    patience: float = 0.0,
) -> Visit:
    """Load the application and send it all `requests`, `rounds` times over, within `seconds`.

    The time starts when the application has loaded. One request is waited for as long as that, or
    for `patience` seconds if that is more, as far as the wall allows; the others get their time
    nevertheless, but not those that would wait for the same. `settings` override the application's.
    Sessions and caches live in a scratch directory inside cache_dir, so that they
    cost what they cost there; the database is read-only; nothing is mailed or queued. Root does it
    as the owner of the data.
    Raises DoesNotLoad, or NotMeasured when the child dies or does not answer.
    """
    with acting_as(owner_of(instance).account):
        order = Order(
            f"{instance.path}#{instance.name}",
            instance.changes,
            "",
            tuple(requests),
            rounds,
            min(loading.LOAD_SECONDS, child.left() * LOAD_PART),
            seconds * 0.9,
            max(seconds * OVERTIME, patience),
            time.monotonic() + min(child.left(), FAR_S) - BEFORE_WALL_S,
            _overrides(instance, settings),
        )
        return _visit(instance, order)


def _visit(instance: Instance, order: Order) -> Visit:
    _require_sqlite_file(instance)
    with scratch(_scratch_parent(instance)) as directory:
        outcome = _outcome(replace(order, directory=directory))
    if outcome.failure:
        raise DoesNotLoad(outcome.failure.kind, outcome.failure.message)
    assert outcome.visit
    answers = map(_with_typed_result, order.requests, outcome.visit.answers)
    return replace(outcome.visit, answers=tuple(answers))


def _require_sqlite_file(instance: Instance) -> None:
    """Raise DoesNotLoad where the application's SQLite file is missing: SQLite would create it."""
    path = sqlite_file(instance.database_url)
    if path and not os.path.exists(path):
        raise DoesNotLoad("OperationalError", f"the SQLite file {path} does not exist")


def _scratch_parent(instance: Instance) -> str:
    """Return where a scratch directory costs what the caches cost."""
    path = instance.directory("cache_dir") or os.path.dirname(instance.path)
    # A fresh instance has no cache_dir yet.
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _overrides(instance: Instance, settings: Optional[Mapping[str, str]] = None) -> dict[str, str]:
    """Return the settings that the child _overrides, `settings` and the address of the database.

    A relative SQLite file lies elsewhere for the child, which has another working directory.
    """
    url = {"sqlalchemy.url": instance.database_url} if instance.database_url else {}
    return {**url, **(settings or {})}


def _outcome(order: Order) -> Outcome:
    """Have a child do it; its end before the application has loaded is an outcome, too."""
    try:
        # The child stops in time by itself. It is killed, and all answers are lost, only if it
        # hangs.
        seconds = order.load_seconds + order.seconds + order.patience + 4
        return child.call(inside.visit_here, seconds, order=order)
    except child.Ended as error:
        failure = loading.ended(order.directory, order.load_seconds, error.reason)
        if not failure:
            raise
        return Outcome(failure=failure)


def _with_typed_result(request: Request, answer: Answer) -> Answer:
    function = request.walk or request.prepare
    if function is None or not answer.ms:
        return answer
    kind = typed_json.hints(function).get("return", object)
    return replace(answer, prepared=typed_json.load(kind, answer.prepared))


class Visitor:
    """A child that has imported the application of `instance`, and loads it at its first visit.

    One visit at a time, from any thread.
    """

    def __init__(
        self,
        instance: Instance,
        settings: Mapping[str, str],
        conversation: child.Conversation,
        directory: str,
    ) -> None:
        self._instance, self._settings = instance, _overrides(instance, settings)
        self._conversation, self._directory = conversation, directory
        self._loaded = False
        conversation.begin(inside.import_here, order=self._order((), 0.0))

    def visit(self, requests: Sequence[Request], seconds: float) -> Visit:
        """Send the requests; what is not answered within `seconds` together has the status 0.

        Raises DoesNotLoad, or NotMeasured when the child dies or does not answer.
        """
        if not self._loaded:
            self._load()
        order = self._order(tuple(requests), seconds)
        return self._conversation.call(inside.answer_here, seconds + HANGS_S, order=order)

    def serve(self) -> Served:
        """Have the application answer over HTTP until the child is killed; raises as `visit`."""
        if not self._loaded:
            self._load()
        return self._conversation.call(inside.serve_here, HANGS_S)

    def set_threads(self, count: int) -> None:
        """Have `serve` use `count` threads in place of one."""
        self._conversation.call(inside.threads_here, HANGS_S, count=count)

    def kill(self) -> None:
        """End the child now; a visit in another thread raises NotMeasured."""
        self._conversation.kill()

    def _load(self) -> None:
        _require_sqlite_file(self._instance)
        order = self._order((), 0.0)
        failure: Optional[LoadFailure]
        try:
            failure = self._conversation.call(
                inside.load_here, order.load_seconds + HANGS_S, order=order
            )
        except child.Ended as error:
            failure = loading.ended(self._directory, order.load_seconds, error.reason)
            if not failure:
                raise
        if failure:
            raise DoesNotLoad(failure.kind, failure.message)
        self._loaded = True

    def _order(self, requests: tuple[Request, ...], seconds: float) -> Order:
        return Order(
            location=f"{self._instance.path}#{self._instance.name}",
            changes=self._instance.changes,
            directory=self._directory,
            requests=requests,
            rounds=1,
            load_seconds=loading.LOAD_SECONDS,
            seconds=seconds,
            patience=0.0,
            end=time.monotonic() + FAR_S,
            settings=self._settings,
        )


@contextlib.contextmanager
def colleagues(
    instance: Instance, settings: Mapping[str, str], most: int
) -> Iterator[Iterator[Visitor]]:
    """Yield an iterator that starts up to `most` children which share sessions and caches.

    That is what several processes of one instance do. The rest is as in `visitor`.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch(_scratch_parent(instance)))
        yield (
            Visitor(instance, settings, stack.enter_context(child.conversation()), directory)
            for _ in range(most)
        )


@contextlib.contextmanager
def visitor(instance: Instance, settings: Mapping[str, str]) -> Iterator[Visitor]:
    """Start the child, which is killed at the end; `settings` override the application's.

    The rest is as in `visit`, but the caller acts as the owner of the data.
    """
    parent = _scratch_parent(instance)
    with scratch(parent) as directory, child.conversation() as conversation:
        yield Visitor(instance, settings, conversation, directory)
