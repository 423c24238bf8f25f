"""Loads the application in a child process and asks it for pages, with everything it would write
kept in scratch.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional, Sequence

from kallithea_tune.app.application import contexts
from kallithea_tune.app.browser import Browser
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.config.pastedeploy import Changes
from kallithea_tune.db.engine import forbid_writing, read_only_engine
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import child, typed_json
from kallithea_tune.system.confine import confine
from kallithea_tune.system.scratch import scratch

_STORES = re.compile(r"^(beaker\.)?(session|cache)\.(.*\.)?(?P<what>data_dir|lock_dir|type)$")
# What a busy machine may take to load the application, which is no part of what the requests may
# take.
LOAD_SECONDS = 15.0
_LOCAL_STORES = frozenset({"memory", "file", "dbm", "cookie"})
# What would reach others: mail about errors, the message queue.
_SILENT = {
    "email_to": "",
    "trace_errors.error_email": "",
    "trace_errors.sentry_dsn": "",
    "trace_slowreqs.enable": "false",
    "celery.broker_url": "memory://",
}


class DoesNotLoad(NotMeasured):
    """The application could not be loaded; `kind` is the exception it ended with and `said` its
    words.
    """

    def __init__(self, kind: str, said: str) -> None:
        super().__init__("the application does not load")
        self.kind, self.said = kind, said


@dataclass(frozen=True)
class Request:
    """A GET request; `keep` keeps the body of its answer.

    `prepare` names a ``module:function`` to call before it (inside the child, untimed) with
    `arguments` (as JSON has them). `walk` names one to call in its place, with the `Browser` and
    `path` before the `arguments`.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False
    prepare: str = ""
    walk: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a request got: the last status, headers (lower case) and bytes, and the milliseconds of
    every round.

    `body` is the last one, where the request wanted it kept. `statements` is how many SQL
    statements the last round sent, in `sql_ms` milliseconds; `failed` the exception that came
    instead of an answer. `prepared` is what the last call of its `prepare` or `walk` returned.
    Status 0 and no times where the time was over before it was asked.
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
    prepared: Any = None


@dataclass(frozen=True)
class Visit:
    """One life of the application: how long it took to load, and its answers in the order of the
    requests.

    `signed_in` says that pages asked for a login and were read as the first admin; `refused` names
    what the application tried to write outside the scratch directory.
    """

    start_ms: float
    signed_in: bool
    refused: tuple[str, ...]
    answers: tuple[Answer, ...]


def visit(
    instance: Instance,
    requests: Sequence[Request],
    seconds: float,
    rounds: int = 1,
    settings: Optional[Mapping[str, str]] = None,
) -> Visit:
    """Load the application and send it `requests`, the whole list `rounds` times, within `seconds`
    of its start.

    `settings` override the application's. Sessions and caches live in a scratch directory inside
    cache_dir, so that they cost what they cost there; the database is read-only; nothing is mailed
    or queued. Raises DoesNotLoad, or NotMeasured when the child dies or does not come back.
    """
    sqlite_path = sqlite_file(instance.database_url)
    if sqlite_path and not os.path.exists(sqlite_path):
        # SQLite would create it.
        raise DoesNotLoad("OperationalError", f"the SQLite file {sqlite_path} does not exist")
    with scratch(
        _existing(instance.directory("cache_dir") or os.path.dirname(instance.path))
    ) as directory:
        # The child stops in time by itself; it is killed, and all answers are lost, only where it
        # hangs.
        result = child.call(
            "kallithea_tune.app.visit:visit_here",
            LOAD_SECONDS + seconds * 1.2 + 1,
            location=f"{instance.path}#{instance.name}",
            changes=instance.changes,
            directory=directory,
            requests=[vars(request) for request in requests],
            rounds=rounds,
            within=seconds * 0.9,
            settings=dict(settings or {}),
        )
    if "kind" in result:
        raise DoesNotLoad(result["kind"], result["said"])
    answers = tuple(Answer(**dict(answer, ms=tuple(answer["ms"]))) for answer in result["answers"])
    return Visit(result["start_ms"], result["signed_in"], tuple(result["refused"]), answers)


def _existing(path: str) -> str:
    """Return `path` or its nearest ancestor that exists: a fresh instance has no cache_dir yet."""
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def repositories(instance: Instance) -> dict[str, str]:
    """Return the name of the most recently changed repository of each type (``hg``, ``git``),
    public ones first.
    """
    import sqlalchemy

    statement = sqlalchemy.text(
        "SELECT repo_type, repo_name FROM repositories WHERE repo_state = 'repo_state_created' "
        "ORDER BY private, updated_on DESC"
    )
    found: dict[str, str] = {}
    with read_only_engine(instance.database_url).connect() as connection:
        for kind, name in connection.execute(statement):
            found.setdefault(kind, name)
    return found


def sandboxed(settings: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return the settings that keep caches, sessions, archives, mail and tasks of the application
    in `directory`.
    """
    changed = {"cache_dir": directory, "archive_cache_dir": os.path.join(directory, "archives")}
    changed.update({key: value for key, value in _SILENT.items() if key in settings})
    if settings.get("templating.mako.compiled_templates_dir"):
        changed["templating.mako.compiled_templates_dir"] = os.path.join(directory, "templates")
    for key, value in settings.items():
        match = _STORES.match(key)
        if match and match["what"] == "type":
            # A store elsewhere (memcached, database) would hold our sessions and entries among the
            # real ones.
            changed[key] = value if value in _LOCAL_STORES else "file"
        elif match:
            changed[key] = os.path.join(directory, key)
    return changed


class _Words(logging.Handler):
    """Keeps what the application logs as errors: it says there why it calls sys.exit."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(" ".join(record.getMessage().split()))


def visit_here(
    location: str,
    changes: Changes,
    directory: str,
    requests: Sequence[Mapping[str, Any]],
    rounds: int,
    within: float,
    settings: Mapping[str, str],
) -> dict[str, Any]:
    """Do the work of `visit` in this process, which is never the same again: for `probes.child`
    only.
    """
    sys.dont_write_bytecode = True
    tempfile.tempdir = os.environ["TMPDIR"] = directory
    os.environ["GIT_OPTIONAL_LOCKS"] = "0"
    refused = confine(directory)
    words = _Words()
    logging.getLogger().addHandler(words)
    instance = load(location, changes)
    began = time.perf_counter()
    try:
        app = _application(instance, {**sandboxed(instance.settings, directory), **settings})
    except NotMeasured:
        raise
    except (Exception, SystemExit) as error:
        _raise_if_locked(error)
        said = str(error).strip().split("\n")[0]
        if isinstance(error, SystemExit) and (words.said or said.isdigit()):
            said = " ".join(words.said)
        return {"kind": type(error).__name__, "said": said}
    start_ms = (time.perf_counter() - began) * 1000
    end = time.monotonic() + within
    browser, statements = Browser(app, instance), _Statements()
    answers: list[dict[str, Any]] = [
        dict(vars(Answer(request["path"])), ms=[]) for request in requests
    ]
    # Every answer is lost where the last comes too late, so none is asked for that may take longer
    # than what is left.
    last = 0.0
    for _ in range(rounds):
        for request, answer in zip(requests, answers):
            began = time.monotonic()
            if began + last < end:
                _ask(browser, statements, request, answer)
                last = time.monotonic() - began
    _close()
    return {
        "start_ms": start_ms,
        "signed_in": browser.signed_in,
        "refused": refused,
        "answers": answers,
    }


def _application(instance: Instance, settings: Mapping[str, str]) -> Callable[..., Any]:
    """Make the WSGI application of the ini file, filters included, with `settings` instead of its
    own.
    """
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.url import make_url

    if instance.database_url:
        forbid_writing(Engine, make_url(instance.database_url).get_backend_name())
    whole, inner = contexts(instance)
    if inner.protocol != "paste.app_factory":
        raise NotMeasured(f"the application is a composite ({inner.protocol}), which is not loaded")
    inner.local_conf.update(settings)
    app: Callable[..., Any] = whole.create()
    # What a pull leaves in the database and calls in extensions.py is no part of a measurement.
    hooks = sys.modules.get("kallithea.lib.hooks")
    if hooks is not None:
        hooks.log_pull_action = lambda *words, **named: 0  # type: ignore[attr-defined]
    return app


def _raise_if_locked(error: BaseException) -> None:
    if "database is locked" in str(error):
        raise NotMeasured("the SQLite file was locked by another process for two seconds")


def _ask(
    browser: Browser, statements: _Statements, request: Mapping[str, Any], answer: dict[str, Any]
) -> None:
    if request["walk"]:
        began = time.perf_counter()
        answer["prepared"] = typed_json.resolve(request["walk"])(
            browser, request["path"], **request["arguments"]
        )
        answer["ms"].append((time.perf_counter() - began) * 1000)
        return
    if request["prepare"]:
        answer["prepared"] = typed_json.resolve(request["prepare"])(**request["arguments"])
    statements.count, statements.ms = 0, 0.0
    reply = browser.get(request["path"], request["headers"])
    answer["ms"].append(reply.ms)
    answer.update(
        status=reply.status,
        headers=reply.headers,
        size=len(reply.body),
        failed=reply.failed,
        statements=statements.count,
        sql_ms=statements.ms,
        body=reply.body.decode("utf-8", "replace") if request["keep"] else "",
    )


class _Statements:
    """Counts and times what any SQLAlchemy engine of this process sends; fetching of rows is no
    part of it.
    """

    def __init__(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        self.count, self.ms, self._began = 0, 0.0, 0.0
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)

    def _before(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def _after(self, *_: Any) -> None:
        self.count += 1
        self.ms += (time.perf_counter() - self._began) * 1000


def _close() -> None:
    """Close the database's files, so that SQLite removes the ones it made beside a WAL database."""
    import gc

    from sqlalchemy.engine import Engine

    for thing in gc.get_objects():
        if isinstance(thing, Engine):
            thing.dispose()
