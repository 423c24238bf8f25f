"""Loads the application in a child process and asks it for pages, with everything it would write kept in scratch."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional, Sequence
from urllib.parse import unquote_to_bytes

from kallithea_tune.engine import forbid_writing
from kallithea_tune.errors import NotMeasured
from kallithea_tune.instance import Changes, Instance, load
from kallithea_tune.probes import child
from kallithea_tune.probes.confine import confine
from kallithea_tune.probes.scratch import scratch

_STORES = re.compile(r"^(beaker\.)?(session|cache)\.(.*\.)?(?P<what>data_dir|lock_dir|type)$")
_LOCAL_STORES = frozenset({"memory", "file", "dbm", "cookie"})
# What would reach others: mail about errors, the message queue.
_SILENT = {
    "email_to": "", "trace_errors.error_email": "", "trace_errors.sentry_dsn": "", "trace_slowreqs.enable": "false",
    "celery.broker_url": "memory://",
}


class DoesNotLoad(NotMeasured):
    """The application could not be loaded; `kind` is the exception it ended with and `said` its words."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__("the application does not load")
        self.kind, self.said = kind, said


@dataclass(frozen=True)
class Request:
    """A GET request; `cold` empties the Beaker caches before it (inside the child, untimed); `keep` keeps the body.

    `prepare` names a ``module:function`` to call before it, likewise, with `arguments` (as JSON has them).
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cold: bool = False
    keep: bool = False
    prepare: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a request got: the last status, headers (lower case) and bytes, and the milliseconds of every round.

    `body` is the last one, where the request wanted it kept.
    `prepared` is what the last call of its `prepare` returned. Status 0 and no times where the time was over before it
    was asked.
    """

    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    body: str = ""
    ms: tuple[float, ...] = ()
    prepared: Any = None


@dataclass(frozen=True)
class Visit:
    """One life of the application: how long it took to load, and its answers in the order of the requests.

    `signed_in` says that pages asked for a login and were read as the first admin; `refused` names what the
    application tried to write outside the scratch directory.
    """

    start_ms: float
    signed_in: bool
    refused: tuple[str, ...]
    answers: tuple[Answer, ...]


def visit(
    instance: Instance, requests: Sequence[Request], seconds: float, rounds: int = 1,
    settings: Optional[Mapping[str, str]] = None,
) -> Visit:
    """Load the application and send it `requests`, the whole list `rounds` times, within `seconds`.

    `settings` override the application's. Sessions and caches live in a scratch directory inside cache_dir, so that
    they cost what they cost there; the database is read-only; nothing is mailed or queued. Raises DoesNotLoad, or
    NotMeasured when the child dies or does not come back.
    """
    if instance.sqlite_path and not os.path.exists(instance.sqlite_path):
        # SQLite would create it.
        raise DoesNotLoad("OperationalError", "the SQLite file %s does not exist" % instance.sqlite_path)
    with scratch(_existing(instance.directory("cache_dir") or os.path.dirname(instance.path))) as directory:
        # The child stops in time by itself; it is killed, and all answers are lost, only where it hangs.
        result = child.call(
            "kallithea_tune.probes.wsgi:visit_here", seconds * 1.2 + 1,
            location="%s#%s" % (instance.path, instance.name), changes=instance.changes, directory=directory,
            requests=[vars(request) for request in requests], rounds=rounds, within=seconds * 0.9,
            settings=dict(settings or {}))
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
    """Return the name of the most recently changed repository of each type (``hg``, ``git``), public ones first."""
    import sqlalchemy

    statement = sqlalchemy.text(
        "SELECT repo_type, repo_name FROM repositories WHERE repo_state = 'repo_state_created' "
        "ORDER BY private, updated_on DESC")
    found: dict[str, str] = {}
    with instance.engine().connect() as connection:
        for kind, name in connection.execute(statement):
            found.setdefault(kind, name)
    return found


def sandboxed(settings: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return the settings that keep caches, sessions, archives, mail and tasks of the application in `directory`."""
    changed = {"cache_dir": directory, "archive_cache_dir": os.path.join(directory, "archives")}
    changed.update({key: value for key, value in _SILENT.items() if key in settings})
    if settings.get("templating.mako.compiled_templates_dir"):
        changed["templating.mako.compiled_templates_dir"] = os.path.join(directory, "templates")
    for key, value in settings.items():
        match = _STORES.match(key)
        if match and match["what"] == "type":
            # A store elsewhere (memcached, database) would hold our sessions and entries among the real ones.
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
    location: str, changes: Changes, directory: str, requests: Sequence[Mapping[str, Any]], rounds: int,
    within: float, settings: Mapping[str, str],
) -> dict[str, Any]:
    """Do the work of `visit` in this process, which is never the same again: for `probes.child` only."""
    end = time.monotonic() + within
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
        said = " ".join(words.said) if isinstance(error, SystemExit) else str(error).strip().split("\n")[0]
        return {"kind": type(error).__name__, "said": said}
    start_ms = (time.perf_counter() - began) * 1000
    browser = _Browser(app, instance)
    answers: list[dict[str, Any]] = [dict(vars(Answer(request["path"])), ms=[]) for request in requests]
    # Every answer is lost where the last comes too late, so none is asked for that may take longer than what is left.
    last = 0.0
    for _ in range(rounds):
        for request, answer in zip(requests, answers):
            began = time.monotonic()
            if began + last < end:
                if request["cold"]:
                    _empty_caches()
                if request["prepare"]:
                    answer["prepared"] = child.resolve(request["prepare"])(**request["arguments"])
                answer["ms"].append(browser.get(request, answer))
                last = time.monotonic() - began
    _close()
    return {"start_ms": start_ms, "signed_in": browser.signed_in, "refused": refused, "answers": answers}


def _application(instance: Instance, settings: Mapping[str, str]) -> Callable[..., Any]:
    """Make the WSGI application of the ini file, filters included, with `settings` instead of its own."""
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.url import make_url

    if instance.database_url:
        forbid_writing(Engine, make_url(instance.database_url).get_backend_name())
    whole, inner = instance.contexts()
    if inner.protocol != "paste.app_factory":
        raise NotMeasured("the application is a composite (%s), which is not loaded" % inner.protocol)
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


def _empty_caches() -> None:
    from beaker.cache import cache_managers

    for cache in list(cache_managers.values()):
        cache.clear()


def _close() -> None:
    """Close the database's files, so that SQLite removes the ones it made beside a WAL database."""
    import gc

    from sqlalchemy.engine import Engine

    for thing in gc.get_objects():
        if isinstance(thing, Engine):
            thing.dispose()


class _Browser:
    """Sends GET requests, keeping the session's cookie, and signs in when a page asks for that."""

    def __init__(self, app: Callable[..., Any], instance: Instance) -> None:
        self._app, self._instance = app, instance
        self._kept: dict[str, str] = {}
        self.signed_in = False

    def get(self, request: Mapping[str, Any], answer: dict[str, Any]) -> float:
        """Send one request, note what came in `answer`, and return the milliseconds until its last byte."""
        taken = self._send(request, answer)
        if answer["status"] == 302 and "/login" in answer["headers"].get("location", "") and not self.signed_in:
            key = self._admin_key()
            if key:
                self.signed_in = True
                self._kept["HTTP_AUTHORIZATION"] = "Bearer " + key
                self._send(request, answer)
                taken = self._send(request, answer)
        return taken

    def _send(self, request: Mapping[str, Any], answer: dict[str, Any]) -> float:
        def start_response(status: str, headers: Sequence[tuple[str, str]], exc_info: Any = None) -> Any:
            got.update(status=status, headers=headers)
            return body.append

        got: dict[str, Any] = {}
        body: list[bytes] = []
        environ = self._environ(request)
        began = time.perf_counter()
        try:
            chunks = self._app(environ, start_response)
            body.extend(chunks)
            getattr(chunks, "close", lambda: None)()
        except Exception:
            got = {"status": "500", "headers": []}
        taken = (time.perf_counter() - began) * 1000
        headers = {name.lower(): value for name, value in got["headers"]}
        if "set-cookie" in headers:
            self._kept["HTTP_COOKIE"] = headers.pop("set-cookie").split(";")[0]
        answer.update(status=int(got["status"][:3]), headers=headers, size=sum(map(len, body)))
        if request["keep"]:
            answer["body"] = b"".join(body).decode("utf-8", "replace")
        return taken

    def _environ(self, request: Mapping[str, Any]) -> dict[str, Any]:
        path, _, query = request["path"].partition("?")
        given = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in request["headers"].items()}
        return {
            "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query, "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "HTTP_ACCEPT": "text/html",
            "HTTP_USER_AGENT": "kallithea-tune", "CONTENT_LENGTH": "0", "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
            "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False, **self._kept, **given,
        }

    def _admin_key(self) -> str:
        """Return the API key of the first active admin; it never leaves this process."""
        import sqlalchemy

        statement = sqlalchemy.text(
            "SELECT api_key FROM users WHERE active = :yes AND admin = :yes ORDER BY user_id LIMIT 1")
        with self._instance.engine().connect() as connection:
            row = connection.execute(statement, {"yes": True}).fetchone()
        return str(row[0]) if row else ""
