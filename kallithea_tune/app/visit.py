"""Loads the application in a child process, confined to scratch space, and sends it requests."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field, replace
from typing import Callable, Iterable, Mapping, Optional, Sequence, TypeVar, cast

from kallithea_tune.app import loading
from kallithea_tune.app.application import contexts
from kallithea_tune.app.browser import Browser
from kallithea_tune.app.loading import DoesNotLoad, LoadFailure
from kallithea_tune.app.owner import owner_of
from kallithea_tune.app.repository_settings import start_nothing
from kallithea_tune.app.sandbox import sandboxed
from kallithea_tune.app.slow_request import (
    REACTION_S,
    REPOSITORY_WORK,
    Interrupted,
    Observed,
    Unanswered,
)
from kallithea_tune.app.statement_counter import StatementCounter
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.config.pastedeploy import Changes
from kallithea_tune.db.engine import forbid_writing
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import child, typed_json
from kallithea_tune.system.account import acting_as
from kallithea_tune.system.confine import confine
from kallithea_tune.system.scratch import scratch

T = TypeVar("T")
WsgiApp = Callable[..., Iterable[bytes]]

# Loading the application on a busy machine does not count against the time for the requests, but
# takes only this part of the time that is left for everything.
LOAD_PART = 0.6
# Requests that take long get this part of the time for all of them in addition, if no more.
OVERTIME = 0.3
SLOW_S = 2.0
# A child ends so many seconds before the wall: what it saw has to be passed on.
BEFORE_WALL_S, FAR_S = REACTION_S + 1, 86400.0


@dataclass(frozen=True)
class Request:
    """A GET request; with `keep` its answer includes the body.

    `prepare` is a function of a module that the child calls, untimed, with `arguments` before the
    request. `walk` is called in place of the request, with the `Browser` and `path` before the
    `arguments`. Arguments and results are converted by the annotations of the function.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False
    prepare: Optional[Callable[..., object]] = None
    walk: Optional[Callable[..., object]] = None
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The answer to a request: status, headers (lower case) and size of the last round.

    `ms` has the milliseconds of every round. `body` is filled where the request had `keep`.
    `statements` is the number of SQL statements of the last round, which took `sql_ms`
    milliseconds; `failed` is the exception raised in place of an answer. `prepared` is what the
    request's `prepare` or `walk` returned last. `shares` has the parts of the last round by what
    was done, see `Unanswered`, where it took more than a second. Status 0 and no times mean that
    there was no answer in time.
    """

    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    body: str = ""
    ms: tuple[float, ...] = ()
    statements: int = 0
    sql_ms: float = 0.0
    failed: str = ""
    prepared: object = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def result_of(self, function: Callable[..., T]) -> T:
        """Return what `function`, the `prepare` or `walk` of the request, returned in the child.

        Raises NotMeasured where there was no time left for the request.
        """
        if not self.ms:
            raise NotMeasured("there was no time left for this request")
        return cast(T, self.prepared)


@dataclass(frozen=True)
class Visit:
    """One life of the application: how long it took to load, and its answers to the requests.

    `signed_in` tells that pages required a login and were read as the first admin; `refused` lists
    what the application tried to write outside the scratch directory; `unanswered` are the requests
    that had their time and no answer.
    """

    start_ms: float
    signed_in: bool
    refused: tuple[str, ...]
    answers: tuple[Answer, ...]
    unanswered: tuple[Unanswered, ...] = ()


@dataclass(frozen=True)
class Order:
    """What the child has to do: `load_seconds` limit the start of the application, `seconds` the
    requests, and `patience` a single one, but nothing lasts longer than until the monotonic time
    `end`. `settings` are overrides.
    """

    location: str
    changes: Changes
    directory: str
    requests: tuple[Request, ...]
    rounds: int
    load_seconds: float
    seconds: float
    patience: float
    end: float
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What the child reports: one of the two."""

    visit: Optional[Visit] = None
    failure: Optional[LoadFailure] = None


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
            _overrides(instance, settings or {}),
        )
        return _visit(instance, order)


def _visit(instance: Instance, order: Order) -> Visit:
    sqlite_path = sqlite_file(instance.database_url)
    if sqlite_path and not os.path.exists(sqlite_path):
        # SQLite would create it.
        raise DoesNotLoad("OperationalError", f"the SQLite file {sqlite_path} does not exist")
    cache_dir = instance.directory("cache_dir") or os.path.dirname(instance.path)
    with scratch(_existing(cache_dir)) as directory:
        outcome = _outcome(replace(order, directory=directory))
    if outcome.failure:
        raise DoesNotLoad(outcome.failure.kind, outcome.failure.message)
    assert outcome.visit
    answers = map(_with_typed_result, order.requests, outcome.visit.answers)
    return replace(outcome.visit, answers=tuple(answers))


def _overrides(instance: Instance, settings: Mapping[str, str]) -> dict[str, str]:
    # A relative SQLite file lies elsewhere for the child, which has another working directory.
    url = {"sqlalchemy.url": instance.database_url} if instance.database_url else {}
    return {**url, **settings}


def _outcome(order: Order) -> Outcome:
    """Have a child do it; its end before the application has loaded is an outcome, too."""
    try:
        # The child stops in time by itself. It is killed, and all answers are lost, only if it
        # hangs.
        seconds = order.load_seconds + order.seconds + order.patience + 4
        return child.call(visit_here, seconds, order=order)
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


def _existing(path: str) -> str:
    """Return `path` or its nearest existing ancestor: a fresh instance has no cache_dir yet."""
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def visit_here(order: Order) -> Outcome:
    """Do the work of `visit` in this process, which cannot be used for anything else afterwards."""
    sys.dont_write_bytecode = True
    tempfile.tempdir = os.environ["TMPDIR"] = order.directory
    refused = confine(order.directory)
    log = loading.ErrorLog()
    logging.getLogger().addHandler(log)
    instance = load(order.location, order.changes)
    instance = replace(instance, settings={**instance.settings, **order.settings})
    settings = {**sandboxed(instance.settings, order.directory), **order.settings}
    began = time.perf_counter()
    try:
        with loading.limited(order.directory, order.load_seconds):
            app = _application(instance, settings)
    except NotMeasured:
        raise
    except (Exception, SystemExit) as error:
        _raise_if_locked(error)
        return Outcome(failure=loading.failure_of(error, log.messages))
    start_ms = (time.perf_counter() - began) * 1000
    browser = Browser(app, instance)
    answers = [Answer(request.path) for request in order.requests]
    observed = Observed()
    if _answer(browser, order, answers, observed):
        _close()
    unanswered = tuple(observed.unanswered)
    return Outcome(Visit(start_ms, browser.signed_in, tuple(refused), tuple(answers), unanswered))


def _answer(browser: Browser, order: Order, answers: list[Answer], observed: Observed) -> bool:
    """Fill `answers` as far as there is time; return whether the last request has ended."""
    end, statements = time.monotonic() + order.seconds, StatementCounter()
    outcome: futures.Future[None] = futures.Future()

    def run() -> None:
        try:
            _send_all(browser, order, answers, observed, end, statements)
            outcome.set_result(None)
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    patience = max(order.seconds, order.patience)
    observed.watch(thread, patience, min(end + order.patience, order.end))
    if outcome.done():
        outcome.result()
    return outcome.done()


def _send_all(
    browser: Browser,
    order: Order,
    answers: list[Answer],
    observed: Observed,
    end: float,
    statements: StatementCounter,
) -> None:
    # A request is not sent when it took longer before than the time that is left.
    took: dict[str, float] = {}
    for _ in range(order.rounds):
        for number, request in enumerate(order.requests):
            now, path = time.monotonic(), request.path
            given_up = _is_given_up(request, order, observed.unanswered)
            if given_up or now + took.get(path, 0.0) > min(end, order.end):
                continue
            observed.current = this = number, now
            answer = Answer(path)
            with contextlib.suppress(Interrupted):
                answer = _send(browser, statements, request, answers[number])
            took[path] = time.monotonic() - now
            # A slow one does not take the time of the others.
            end += min(order.patience, took[path]) if took[path] > SLOW_S else 0.0
            # What was interrupted may have been answered with an error.
            if not observed.has_given_up(this):
                answers[number] = replace(answer, shares=observed.shares(this))


def _is_given_up(request: Request, order: Order, unanswered: Sequence[Unanswered]) -> bool:
    """Whether the page of a request did not answer before, or one above it whose time went into the
    repository that both show.
    """
    for late in unanswered:
        path = order.requests[late.number].path.rstrip("/")
        inside = path and request.path.startswith(f"{path}/") and late.work in REPOSITORY_WORK
        if inside or request.path.rstrip("/") == path:
            return True
    return False


def _application(instance: Instance, settings: Mapping[str, str]) -> WsgiApp:
    """Make the WSGI application of the ini file, filters included, with `settings` as overrides."""
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.url import make_url

    if instance.database_url:
        forbid_writing(Engine, make_url(instance.database_url).get_backend_name())
    outer, inner = contexts(instance)
    inner.local_conf.update(settings)
    start_nothing(instance.path)
    app: WsgiApp = outer.create()
    # What a pull writes to the database and calls in extensions.py does not belong to a
    # measurement.
    for name in ("kallithea.lib.hooks", "kallithea.lib.middleware.simplegit"):  # the latter in 0.6
        if name in sys.modules:
            vars(sys.modules[name])["log_pull_action"] = lambda *args, **kwargs: 0
    return app


def _raise_if_locked(error: BaseException) -> None:
    if "database is locked" in str(error):
        raise NotMeasured("the SQLite file was locked by another process for two seconds")


def _send(
    browser: Browser, statements: StatementCounter, request: Request, answer: Answer
) -> Answer:
    if request.walk:
        arguments = _arguments(request.walk, request)
        began = time.perf_counter()
        result = typed_json.dump(request.walk(browser, request.path, **arguments))
        ms = (time.perf_counter() - began) * 1000
        return replace(answer, prepared=result, ms=(*answer.ms, ms))
    result = None
    if request.prepare:
        result = typed_json.dump(request.prepare(**_arguments(request.prepare, request)))
    statements.count, statements.ms = 0, 0.0
    reply = browser.get(request.path, request.headers)
    return Answer(
        request.path,
        reply.status,
        reply.headers,
        len(reply.body),
        reply.body.decode("utf-8", "replace") if request.keep else "",
        (*answer.ms, reply.ms),
        statements.count,
        statements.ms,
        reply.failed,
        result,
    )


def _arguments(function: Callable[..., object], request: Request) -> dict[str, object]:
    kinds = typed_json.hints(function)
    return {
        name: typed_json.load(kinds.get(name, object), value)
        for name, value in request.arguments.items()
    }


def _close() -> None:
    """Close the database, so that SQLite removes the files that it made beside one in WAL mode."""
    import gc

    from sqlalchemy.engine import Engine

    for thing in gc.get_objects():
        if isinstance(thing, Engine):
            thing.dispose()
