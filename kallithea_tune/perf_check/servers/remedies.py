"""How to set a server up otherwise: in its section of the ini file, or where else it is set up."""

from __future__ import annotations

import os
from typing import Iterator, Mapping, Optional

from kallithea_tune.config.instance import TRUE_WORDS
from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.remedy import Command, IniEdit, Option, Remedy
from kallithea_tune.system.programs import beside
from kallithea_tune.text import shell_word

# Options of a gunicorn's section whose arguments have other names (gunicorn 23, config.py), and
# those that the arguments below replace.
_ARGUMENTS = {
    "accesslog": "access-logfile",
    "errorlog": "error-logfile",
    "loglevel": "log-level",
    "logfile": "error-logfile",
    "proc_name": "name",
    "keepalive": "keep-alive",
    "pidfile": "pid",
}
_REPLACED = frozenset({"use", "host", "port", "bind", "workers", "preload_app", "preload", "paste"})
_ADDRESS = ("use", "host", "port")
_SECONDS = "3600"


def setting(server: Server, values: Mapping[str, Optional[str]], note: str = "") -> Remedy:
    """Return the remedy that sets options of a server, and removes those without a value."""
    if server.ini_section:
        section = server.ini_section
        options = tuple(Option(section, name, values[name]) for name in values)
        return IniEdit(options, note, restart=True)
    if server.kind == "gunicorn":
        words = " ".join(_words(values))
        return f"add {words} to {server.section}"
    parts = [f"{'remove' if value is None else 'set'} {Option('', name, value)}"
             for name, value in values.items()]  # fmt: skip
    return f"{', '.join(parts)} in {server.section}"


def _words(values: Mapping[str, Optional[str]]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None:
            yield f"--{name.replace('_', '-')}"
            yield shell_word(value)


def gunicorn(server: Server, ini: str, workers: int) -> tuple[str, ...]:
    """Return the command of a gunicorn in which each worker loads the ini file at `ini` itself.

    It has every setting of `server` that gunicorn knows, and the time that Kallithea's clones need.
    """
    options = server.options
    bind = options.get("bind") or f"{_host(options)}:{options.get('port') or 5000}"
    words = [
        beside("gunicorn"),
        *("--paste", ini),
        *("--workers", str(workers)),
        *("--bind", bind),
    ]
    kept = dict(options) if server.kind == "gunicorn" else {}
    for name, value in {"timeout": _SECONDS, **kept}.items():
        if name not in _REPLACED:
            words += _argument(name, value)
    return tuple(words)


def _host(options: Mapping[str, str]) -> str:
    host = options.get("host") or "127.0.0.1"
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _argument(name: str, value: str) -> list[str]:
    word = "--" + _ARGUMENTS.get(name, name.replace("_", "-"))
    if value.strip().lower() in ("false", "no", "off"):
        return []
    flag = value.strip().lower() in TRUE_WORDS - {"1"}
    return [word] if flag else [word, value]


def loads_in_workers(server: Server, ini: str, workers: int) -> Remedy:
    """Return the remedy after which no process is forked from one that has the application."""
    if server.kind == "uwsgi":
        return setting(server, {"lazy-apps": "true"})
    return _service(server, ini, workers)


def processes(server: Server, count: int, ini: str, pooled: bool) -> Remedy:
    """Return the remedy that makes `count` processes serve requests, without shared connections.

    `pooled` says that connections to the database stay open, as they do but for SQLite: processes
    that are forked from one that has loaded the application would share them.
    """
    if server.kind == "uwsgi":
        return setting(server, _uwsgi_processes(server, count, pooled))
    if server.kind == "gunicorn" and not (pooled and server.preloads):
        return setting(server, {"workers": str(count)})
    if server.kind == "mod_wsgi":
        return setting(server, {"processes": str(count), "threads": "1"})
    return _service(server, ini, count)


def _service(server: Server, ini: str, workers: int) -> Remedy:
    words = gunicorn(server, ini, workers)
    note = "have the service run" if os.path.isabs(words[0]) else "pip install gunicorn, and run"
    return Command(words, note=note, service=True)


def _uwsgi_processes(server: Server, count: int, pooled: bool) -> dict[str, Optional[str]]:
    options = server.options
    name = "processes" if "processes" in options else "workers"
    values: dict[str, Optional[str]] = {name: str(count)}
    if "master" not in options:
        values["master"] = "true"
    if pooled and server.preloads:
        values["lazy-apps"] = "true"
    cheaper = options.get("cheaper", "")
    if cheaper.isdigit() and int(cheaper) >= count:
        # uWSGI does not start with as many at least as at most.
        values["cheaper"] = str(max(1, count - 1))
    return values


def one_thread(server: Server) -> Remedy:
    """Return the remedy that has one thread serve requests in each process."""
    if server.kind == "gunicorn":
        return setting(server, {"worker_class": "sync", "threads": "1"}, "more workers instead")
    if server.kind == "uwsgi":
        given = [name for name in ("threads", "gevent", "async") if name in server.options]
        return setting(server, dict.fromkeys(given or ["threads"]), "more workers instead")
    if server.kind == "Paste":
        return setting(server, {"use_threadpool": "true", "threadpool_workers": "1"})
    if server.kind == "wsgiref":
        return setting(server, {"wsgiref.threaded": "false"})
    if server.kind in ("gevent", "CherryPy"):
        return waitress(server)
    note = "more processes instead"
    return setting(server, {"threads": "1"}, note)


def waitress(server: Server) -> Remedy:
    """Return the remedy that has waitress serve with one thread: it refuses others' options."""
    removed = dict.fromkeys(name for name in server.options if name not in _ADDRESS)
    return setting(server, {**removed, "use": "egg:waitress#main", "threads": "1"})
