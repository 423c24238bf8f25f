"""The inside of the process in which the application is loaded, and sent requests."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import tempfile
import threading
import time
from concurrent import futures
from dataclasses import replace
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from kallithea_tune.app import loading
from kallithea_tune.app.application import contexts
from kallithea_tune.app.browser import Browser
from kallithea_tune.app.exchange import Answer, Order, Outcome, Request, Served, Visit
from kallithea_tune.app.loading import LoadFailure
from kallithea_tune.app.repository_settings import start_nothing
from kallithea_tune.app.sandbox import sandboxed
from kallithea_tune.app.slow_request import (
    REPOSITORY_WORK,
    Interrupted,
    Observed,
    Unanswered,
)
from kallithea_tune.app.statement_counter import StatementCounter
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.db.engine import forbid_writing
from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import typed_json
from kallithea_tune.system.confine import confine

WsgiApp = Callable[..., Iterable[bytes]]

SLOW_S = 2.0


class _Inside:
    """What a child has: the application once it has loaded, and what it was refused to write."""

    refused: Optional[list[str]] = None
    start_ms = 0.0
    statements: StatementCounter
    app: WsgiApp
    server: Any  # of waitress, which has no types
    new_browser: Callable[[], Browser]


_inside = _Inside()


def import_here(order: Order) -> None:
    """Import the application in this process, as far as that takes no database.

    What fails here fails again in `load_here`, which can say so.
    """
    _confine(order)
    with contextlib.suppress(Exception, SystemExit):
        contexts(load(order.location, order.changes))


def _confine(order: Order) -> None:
    if _inside.refused is None:
        sys.dont_write_bytecode = True
        tempfile.tempdir = os.environ["TMPDIR"] = order.directory
        _inside.refused = confine(order.directory)


def visit_here(order: Order) -> Outcome:
    """Do the work of `visit` in this process, which cannot be used for anything else afterwards."""
    failure = load_here(order)
    return Outcome(failure=failure) if failure else Outcome(answer_here(order))


def load_here(order: Order) -> Optional[LoadFailure]:
    """Load the application in this process, for `answer_here`; return why that failed."""
    _confine(order)
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
        return loading.failure_of(error, log.messages)
    _inside.start_ms = (time.perf_counter() - began) * 1000
    _inside.app = app
    _inside.new_browser, _inside.statements = lambda: Browser(app, instance), StatementCounter()
    return None


def serve_here() -> Served:
    """Serve what `load_here` has loaded with waitress, which Kallithea itself requires.

    It has one thread, see `threads_here`. Raises NotMeasured without waitress.
    """
    try:
        waitress: Any = importlib.import_module("waitress")
    except ImportError:
        raise NotMeasured("waitress is not installed, which Kallithea requires") from None
    # Nobody reads what the application prints while it serves; a full pipe would stop it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _inside.server = waitress.create_server(
        _inside.app, host="127.0.0.1", port=0, threads=1, ident=None
    )
    threading.Thread(target=_inside.server.run, daemon=True).start()
    return Served(int(_inside.server.effective_port), os.getpid())


def threads_here(count: int) -> int:
    """Have the server of `serve_here` use `count` threads from now on; return that."""
    _inside.server.task_dispatcher.set_thread_count(count)
    return count


def answer_here(order: Order) -> Visit:
    """Have the application that `load_here` has loaded answer the requests of a new visitor."""
    browser = _inside.new_browser()
    answers = [Answer(request.path) for request in order.requests]
    observed = Observed(_inside.statements.cancel)
    if _answer(browser, order, answers, observed):
        _close()
    return Visit(
        _inside.start_ms,
        browser.signed_in,
        tuple(_inside.refused or ()),
        tuple(answers),
        tuple(observed.unanswered),
    )


def _answer(browser: Browser, order: Order, answers: list[Answer], observed: Observed) -> bool:
    """Fill `answers` as far as there is time; return whether the last request has ended."""
    end = time.monotonic() + order.seconds
    outcome: futures.Future[None] = futures.Future()

    def run() -> None:
        try:
            _send_all(browser, order, answers, observed, end)
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
                answer = _send(browser, request, answers[number])
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


def _send(browser: Browser, request: Request, answer: Answer) -> Answer:
    statements = _inside.statements
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
