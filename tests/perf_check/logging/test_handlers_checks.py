"""Log handlers: judged by tables, and looked at with real files, sockets and processes."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Callable, Optional

import pytest
from carry_out import carry_out
from servers.application import Kallithea

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.logging.handlers import (
    Handler,
    Handlers,
    address_of,
    look,
    used_handlers,
)
from kallithea_tune.perf_check.logging.handlers_checks import log_handlers
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, WARNING, ERROR = Severity.ok, Severity.advice, Severity.warning, Severity.error
FILE = "/var/log/k.log"


@pytest.mark.parametrize(
    "handler, processes, severity, words",
    [
        (Handler("a", "RotatingFileHandler", "", FILE), 3, WARNING, "3 processes rotate"),
        (Handler("a", "TimedRotatingFileHandler", "", FILE), 2, WARNING, "lines are lost"),
        (Handler("a", "RotatingFileHandler", "", FILE), 1, OK, ""),
        (Handler("a", "RotatingFileHandler", "", FILE), None, Severity.unknown, "how many"),
        (Handler("a", "WatchedFileHandler", "", FILE, size=999_999_999), 3, OK, ""),
        (Handler("", "", "", FILE, size=5_000_000_000), 3, ADVICE, "has 5 GB"),
        (Handler("m", "SMTPHandler", "ERROR", address="m:25", connect_ms=3.0), 3, OK, ""),
        (Handler("m", "SMTPHandler", "INFO", address="m:25", connect_ms=3.0), 3, ADVICE, "all"),
        (Handler("m", "SMTPHandler", "ERROR", address="m:25", connect_ms=300.0), 3, ADVICE, "m:25"),
        (
            Handler("m", "HTTPHandler", "ERROR", address="m:80", failure="no answer in 1 s"),
            1,
            ERROR,
            "lines of ERROR wait forever for m:80",
        ),
        (
            Handler("m", "SocketHandler", "", address="m:9", failure="Connection refused"),
            1,
            WARNING,
            "are lost: Connection refused",
        ),
    ],
)
def test_handlers(
    handler: Handler, processes: Optional[int], severity: Severity, words: str
) -> None:
    (finding,) = log_handlers.judge(Handlers((handler,), processes))
    assert finding.severity is severity and words in finding.diagnosis


@pytest.mark.parametrize(
    "kind, arguments, address",
    [
        ("SMTPHandler", "('mail', 'a@b', ['c@d'], 'x')", "mail:25"),
        ("SMTPHandler", "(('mail', 587), 'a@b', ['c@d'], 'x', ('u', 'p'))", "mail:587"),
        ("HTTPHandler", "('log:8080', '/x')", "log:8080"),
        ("SocketHandler", "('log', handlers.DEFAULT_TCP_LOGGING_PORT)", ""),
        ("SocketHandler", "('log', 9020)", "log:9020"),
        ("SysLogHandler", "(('log', 514),)", ""),
        ("SysLogHandler", "('/dev/log', 1)", ""),
        ("SMTPHandler", "(__import__('os').system('x'),)", ""),
        ("SMTPHandler", "not Python", ""),
    ],
)
def test_addresses(kind: str, arguments: str, address: str) -> None:
    assert address_of(kind, arguments) == address


def test_only_handlers_that_a_logger_uses_count() -> None:
    sections = {
        "loggers": {"keys": "root, other"},
        "logger_root": {"handlers": "file"},
        "handler_file": {"class": "handlers.RotatingFileHandler", "args": "('a.log', 'a', 9)"},
        "handler_unused": {"class": "handlers.RotatingFileHandler", "args": "('b.log',)"},
    }
    (handler,) = used_handlers(sections, "/srv")
    assert (handler.kind, handler.path) == ("RotatingFileHandler", "/srv/a.log")


def test_servers_that_do_not_answer_are_given_a_second(tmp_path: Path) -> None:
    with socket.socket() as full, socket.socket() as closed, socket.socket() as first:
        # Once its queue is full, the kernel answers no connection.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        closed.bind(("127.0.0.1", 0))
        waiting = []
        for _ in range(4):
            extra = socket.socket()
            extra.setblocking(False)
            extra.connect_ex(full.getsockname())
            waiting.append(extra)
        addresses = [f"127.0.0.1:{item.getsockname()[1]}" for item in (full, closed)]
        handlers = [Handler(text, "SMTPHandler", "", address=text) for text in addresses]
        silent, refused = look(handlers, 10)
        for extra in waiting:
            extra.close()
    assert silent.failure == "no answer in 1 s" and refused.failure == "Connection refused"


def test_workers_that_rotate_one_file_until_logrotate_does(
    instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    def found() -> Finding:
        (finding,) = log_handlers.findings(Context(load(str(instance)), Deadline(60)))
        return finding

    assert found().severity is OK
    path = instance.parent / "k.log"
    rotating = f"class = handlers.RotatingFileHandler\nargs = ('{path}', 'a', 1000, 2)\n"
    edit(instance, "[handler_console]\nclass = StreamHandler\nargs = (sys.stderr,)\n", "")
    instance.write_text(instance.read_text() + f"\n[handler_console]\n{rotating}")
    assert found().severity is OK
    edit(instance, "use = egg:waitress#main", "use = egg:gunicorn#main\nworkers = 3")
    edit(instance, "max_request_body_size = 107374182400\n", "")
    server = Kallithea(instance)
    try:
        server.start()
        before = found()
        server.stop()
        carry_out(before.remedy, instance)
        server.start()
        after = found()
        os.truncate(str(server.log), 3_000_000_000)
        large = found()
    finally:
        server.remove()
    assert before.severity is WARNING and before.diagnosis.startswith("3 processes")
    assert after.severity is OK and path.exists()
    assert large.severity is ADVICE and large.subject == str(server.log)
