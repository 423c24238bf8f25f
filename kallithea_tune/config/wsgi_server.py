"""The server in an ini file: how many requests it serves at once, and how large they may be."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field, replace
from typing import Callable, Iterator, Mapping, Optional

from kallithea_tune.config import pastedeploy
from kallithea_tune.config.instance import Instance, as_bool

UNLIMITED = sys.maxsize
HG_HEADER = 1024
"""Bytes: the longest argument header that Mercurial's servers request (``httpheader=1024``)."""
HTTP_CLIENT_HEADERS, OTHER_HEADERS = 100, 10
"""Python's http.client accepts 100 headers; Mercurial's through a proxy has about 10 others."""

Options = Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """What one start of the server creates: `UNLIMITED` is no limit, None is not in the ini file.

    `header_bytes` is how much of Mercurial's arguments fits in the headers of a request, for which
    its option has to be `header_factor` times as much, `body_bytes` the largest push.
    `request_seconds` is the time after which a worker that is still serving one request is killed.
    `header_option`, `body_option` and `time_option` are the names of these settings. `section` is
    where they are: a section of the ini file in brackets, or something else as it is to be read,
    such as ``gunicorn's command line``. `chunks` is whether a body is accepted that is sent in
    chunks, without its length. `options` are all as they are written.
    """

    kind: str
    use: str
    section: str = "[server:main]"
    processes: Optional[int] = None
    threads: Optional[int] = None
    header_bytes: Optional[int] = None
    header_option: str = ""
    header_factor: int = 1
    body_bytes: Optional[int] = UNLIMITED
    body_option: str = ""
    request_seconds: Optional[int] = UNLIMITED
    time_option: str = ""
    chunks: bool = True
    options: Options = field(default_factory=dict)

    @property
    def ini_section(self) -> str:
        """The name of the section of the ini file that sets it up, empty for another place."""
        return self.section[1:-1] if self.section.startswith("[") else ""

    @property
    def preloads(self) -> bool:
        """Whether processes are forked from one that has loaded the application."""
        if self.kind == "uwsgi":
            return not any(as_bool(self.options.get(key, "")) for key in ("lazy", "lazy-apps"))
        return self.kind == "gunicorn" and (
            bool(self.ini_section) or as_bool(self.options.get("preload_app", ""))
        )


def server_of(instance: Instance) -> Server:
    """Return the server of `instance`: a section ``[uwsgi]``, as in Kallithea's template, wins."""
    if "uwsgi" in instance.sections:
        return uwsgi(instance.sections["uwsgi"])
    return default_server(instance)


def default_server(instance: Instance) -> Server:
    """Return the server that ``gearbox serve`` starts without further options."""
    name = instance.name if f"server:{instance.name}" in instance.sections else "main"
    return _of_section(instance.server, f"[server:{name}]")


def other_servers(instance: Instance) -> Iterator[Server]:
    """Yield the servers of the other sections, which ``--server-name`` may choose."""
    for section in instance.sections:
        kind, _, name = section.partition(":")
        if kind == "server" and f"[{section}]" != server_of(instance).section:
            yield named_server(instance, name)


def named_server(instance: Instance, name: str) -> Server:
    """Return the server of the section ``[server:NAME]``; the default one without a name."""
    if f"server:{name}" not in instance.sections:
        return default_server(instance)
    options = pastedeploy.server_options(instance.path, name, instance.changes)
    return _of_section(options, f"[server:{name}]")


def server_without_options(use: str) -> Server:
    """Return the server that a command line chose by its type, with its own defaults."""
    return replace(_of_section({"use": use}, ""), section="the command line")


def _of_section(options: Options, section: str) -> Server:
    use = options.get("use", "")
    for word, make in _KINDS.items():
        if word in use.lower():
            return replace(make(options, use), section=section, options=options)
    return Server(
        "",
        use or "no server section",
        section,
        threads=_number(options, "threads"),
        body_bytes=None,
        request_seconds=None,
        options=options,
    )


def gunicorn(options: Options, use: str = "gunicorn") -> Server:
    """Return a gunicorn whose command line, and its file, set `options`; no section is read."""
    return replace(_gunicorn(options, use), section="gunicorn's command line", options=options)


def uwsgi(options: Options, section: str = "[uwsgi]") -> Server:
    """Return a uWSGI with the `options` of a `section`."""
    plain = {key: value.partition(";")[0].strip() for key, value in options.items()}
    return replace(_uwsgi(plain, "[uwsgi]"), section=section, options=plain)


def _number(options: Options, key: str, default: Optional[int] = None) -> Optional[int]:
    """Read a whole number, with or without a comment (uWSGI's); None for others (``%k``)."""
    if key not in options:
        return default
    match = re.match(r"\s*(\d+)\s*(;.*)?$", options[key])
    return int(match[1]) if match else None


def _headers(count: Optional[int]) -> Optional[int]:
    return None if count is None else max(0, count - OTHER_HEADERS) * HG_HEADER


def _waitress(options: Options, use: str) -> Server:
    header, factor = _number(options, "max_request_header_size", 262144), 1
    if _counts_headers_twice():
        factor = 2
    return Server(
        "waitress",
        use,
        processes=1,
        threads=_number(options, "threads", 4),
        header_bytes=header and header // factor,
        header_option="max_request_header_size",
        header_factor=factor,
        body_bytes=_number(options, "max_request_body_size", 1 << 30),
        body_option="max_request_body_size",
    )


def _counts_headers_twice() -> bool:
    """Whether waitress, before 2.1, counts part of the headers twice (seen in its parser)."""
    from importlib import metadata

    try:
        version = metadata.version("waitress")
    except metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < (2, 1)


def _gunicorn(options: Options, use: str) -> Server:
    # A file of gunicorn's own may set what is missing in the section.
    def otherwise(value: int) -> Optional[int]:
        return None if options.get("config") else value

    threads = _number(options, "threads", otherwise(1))
    if options.get("worker_class", "sync") in ("gevent", "eventlet", "tornado"):
        threads = _number(options, "worker_connections", otherwise(1000))
    count = _number(options, "limit_request_fields", otherwise(100))
    size = _number(options, "limit_request_field_size", otherwise(8190))
    fits = size is None or size == 0 or size >= HG_HEADER
    # Only workers of the class sync cannot report that they are alive during a request.
    seconds = (
        _number(options, "timeout", otherwise(30))
        if options.get("worker_class", "sync") == "sync"
        else 0
    )
    return Server(
        "gunicorn",
        use,
        processes=_number(options, "workers", otherwise(1)),
        threads=threads,
        header_bytes=_headers(count) if fits else 0,
        header_option="limit_request_fields" if fits else "limit_request_field_size",
        request_seconds=UNLIMITED if seconds == 0 else seconds,
        time_option="timeout",
    )


def mod_wsgi(options: Options, section: str) -> Server:
    """Return the daemon processes that ``WSGIDaemonProcess`` sets up in the file `section`."""
    seconds = _number(options, "request-timeout", 0)
    return Server(
        "mod_wsgi",
        "mod_wsgi",
        section,
        processes=_number(options, "processes", 1),
        threads=_number(options, "threads", 15),
        header_bytes=_headers(HTTP_CLIENT_HEADERS),
        header_option="LimitRequestFields",
        body_bytes=None,
        request_seconds=UNLIMITED if seconds == 0 else seconds,
        time_option="request-timeout",
        options=options,
    )


def _uwsgi(options: Options, use: str) -> Server:
    processes = _number(options, "processes" if "processes" in options else "workers", 1)
    greenlets = _number(options, "gevent", _number(options, "async"))
    body, seconds = _number(options, "limit-post", 0), _number(options, "harakiri", 0)
    return Server(
        "uwsgi",
        use,
        use,
        processes,
        greenlets or _number(options, "threads", 1),
        header_bytes=_number(options, "buffer-size", 4096),
        header_option="buffer-size",
        body_bytes=UNLIMITED if body == 0 else body,
        body_option="limit-post",
        request_seconds=UNLIMITED if seconds == 0 else seconds,
        time_option="harakiri",
        chunks=not any(key in options for key in UWSGI_HTTP),
    )


# With these, uWSGI speaks HTTP itself and drops request bodies of unknown length (2.0.21, each).
UWSGI_HTTP = ("http", "http-socket", "http11-socket", "https", "https-socket")


def _paste(options: Options, use: str) -> Server:
    pool = as_bool(options.get("use_threadpool", "true"))
    threads = _number(options, "threadpool_workers", 10) if pool else UNLIMITED
    return Server(
        "Paste", use, processes=1, threads=threads, header_bytes=_headers(HTTP_CLIENT_HEADERS)
    )


def _wsgiref(options: Options, use: str) -> Server:
    # Kallithea's template sets threadpool_workers here, which this server ignores.
    threaded = as_bool(options.get("wsgiref.threaded", "false"))
    return Server(
        "wsgiref",
        use,
        processes=1,
        threads=UNLIMITED if threaded else 1,
        header_bytes=_headers(HTTP_CLIENT_HEADERS),
    )


def _gevent(options: Options, use: str) -> Server:
    return Server("gevent", use, processes=1, threads=UNLIMITED)


def _cherrypy(options: Options, use: str) -> Server:
    return Server("CherryPy", use, processes=1, threads=_number(options, "numthreads", 10))


_KINDS: Mapping[str, Callable[[Options, str], Server]] = {
    "waitress": _waitress,
    "gunicorn": _gunicorn,
    "#wsgiref": _wsgiref,
    "#gevent": _gevent,
    "#cherrypy": _cherrypy,
    "paste": _paste,
}
