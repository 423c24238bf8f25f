"""The handlers of the ini file that are in use: where they write, or what they send to."""

from __future__ import annotations

import ast
import contextlib
import os
import socket
import time
from dataclasses import dataclass, replace
from typing import Optional

from kallithea_tune.config.instance import as_bool
from kallithea_tune.perf_check.logging.log_files import configured
from kallithea_tune.perf_check.logging.loggers import Sections
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.servers.served import Servers, servers
from kallithea_tune.system import child, files

# Handlers that rename their file while others write to it, and those that wait for a server.
ROTATING = ("RotatingFileHandler", "TimedRotatingFileHandler")
REMOTE = ("SMTPHandler", "HTTPHandler", "SocketHandler", "SysLogHandler")
# The port of each that its first argument may leave out.
_PORTS = {"SMTPHandler": 25, "HTTPHandler": 80}
CONNECT_SECONDS = 1.0


@dataclass(frozen=True)
class Handler:
    """A handler of the ini file that a logger uses.

    `kind` is the class without its module, `path` that of its file. `address` is what it sends to
    over TCP; `connect_ms` how long that took, or `failure` why it failed.
    """

    name: str
    kind: str
    level: str
    path: str = ""
    size: int = 0
    address: str = ""
    connect_ms: Optional[float] = None
    failure: str = ""

    @property
    def section(self) -> str:
        """The section that sets it up."""
        return f"handler_{self.name}"

    @property
    def rotates(self) -> bool:
        """Whether it renames its own file."""
        return self.kind in ROTATING


@dataclass(frozen=True)
class Handlers:
    """The handlers in use, and how many processes write to their files; None if unknown."""

    handlers: tuple[Handler, ...]
    processes: Optional[int]
    confidence: str = "high"

    @property
    def examined(self) -> Examined:
        """All handlers that a logger uses."""
        return Examined(len(self.handlers), len(self.handlers), "log handler")


@measurement(seconds=CONNECT_SECONDS, uses=(servers,))
def handlers(context: Context) -> Handlers:
    """Look at the files of the handlers in use, and connect to what they send to."""
    found, instance = context.measure(servers), context.instance
    used = used_handlers(instance.sections, os.path.dirname(instance.path))
    used += written(found)
    within = max(context.deadline.left, CONNECT_SECONDS)
    looked = child.call(look, 3 + within + CONNECT_SECONDS, handlers=used, within=within)
    count = found.processes.count_for(found.first)
    if count and as_bool(instance.settings.get("use_celery", "false")):
        # Its worker reads the same ini file.
        count += 1
    return Handlers(tuple(looked), count, found.confidence)


def written(found: Servers) -> list[Handler]:
    """Return what the output of running servers is redirected to, as a handler without a class."""
    paths = {
        path
        for served in found.served
        for worker in served.workers
        for number, path in (worker.paths or {}).items()
        if number in ("1", "2") and not path.startswith("/dev/")
    }
    return [Handler("", "", "", path) for path in sorted(paths)]


def used_handlers(sections: Sections, here: str) -> list[Handler]:
    """Return the handlers that some logger of an ini file in the directory `here` uses."""
    loggers = [
        sections.get(f"logger_{name.strip()}", {})
        for name in sections.get("loggers", {}).get("keys", "").split(",")
    ]
    names = [name.strip() for logger in loggers for name in logger.get("handlers", "").split(",")]
    found = []
    for name in dict.fromkeys(filter(None, names)):
        section = sections.get(f"handler_{name}", {})
        kind = section.get("class", "").rpartition(".")[2]
        paths = configured({f"handler_{name}": section}, here)
        address = address_of(kind, section.get("args", "")) if kind in REMOTE else ""
        level = section.get("level", "NOTSET").strip().upper()
        found.append(Handler(name, kind, level, paths[0] if paths else "", address=address))
    return found


def address_of(kind: str, arguments: str) -> str:
    """Return the address in the arguments of a handler, as ``host:25``.

    Empty for UDP and the machine's own log daemon, which wait for nobody, and for what is no plain
    value.
    """
    if kind == "SysLogHandler" and "SOCK_STREAM" not in arguments:
        return ""
    try:
        body = ast.parse(arguments.strip(), mode="eval").body
        items = body.elts if isinstance(body, ast.Tuple) else [body]
        values = [ast.literal_eval(item) for item in items[:2]]
    except (SyntaxError, ValueError):
        return ""
    first = values[0] if values else ""
    if isinstance(first, tuple) and len(first) == 2:
        return f"{first[0]}:{first[1]}"
    if kind == "SocketHandler" and len(values) == 2:
        return f"{first}:{values[1]}"
    if not isinstance(first, str) or not first or first.startswith("/"):
        # The machine's own log daemon takes a line at once.
        return ""
    return first if ":" in first else f"{first}:{_PORTS.get(kind, 0)}"


def look(handlers: list[Handler], within: float) -> list[Handler]:
    """Measure the files of handlers, and connect to their servers; for a child."""
    end, found = time.monotonic() + within, []
    for handler in handlers:
        if handler.path:
            directory, name = os.path.split(os.path.realpath(handler.path))
            with contextlib.suppress(OSError, files.Broken):
                handler = replace(handler, size=files.size_of(directory, name))
        if handler.address and time.monotonic() < end:
            handler = _connected(handler)
        found.append(handler)
    return found


def _connected(handler: Handler) -> Handler:
    started = time.perf_counter()
    try:
        _connect(handler.address)
    except socket.timeout:
        return replace(handler, failure=f"no answer in {CONNECT_SECONDS:g} s")
    except OSError as error:
        return replace(handler, failure=error.strerror or str(error))
    return replace(handler, connect_ms=(time.perf_counter() - started) * 1000)


def _connect(address: str) -> None:
    """Connect and close; nothing is sent."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
