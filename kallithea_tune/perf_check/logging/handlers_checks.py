"""Handlers that lose lines, keep requests waiting, or fill the disk."""

from __future__ import annotations

import os
from functools import partial
from typing import Iterator

from kallithea_tune.perf_check.logging.handlers import (
    CONNECT_SECONDS,
    Handler,
    Handlers,
    handlers,
)
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import IniEdit, Option
from kallithea_tune.text import megabytes

LARGE_BYTES, SLOW_MS = 1_000_000_000, 100.0
# How long each waits for a server that does not answer (Python's logging.handlers).
_WAITS = {
    "SMTPHandler": "5 s",
    "HTTPHandler": "forever",
    "SocketHandler": "1 s",
    "SysLogHandler": "forever",
}
_OFTEN = ("", "NOTSET", "DEBUG", "INFO")


@check(
    "CFG008",
    "logging-handlers",
    "Handlers with several processes",
    measures=(handlers,),
    source="Python, logging cookbook, logging to a single file from multiple processes",
    tags=("probe",),
    harm=Harm.some_pages,
)
def log_handlers(measured: Handlers) -> Iterator[Finding]:
    """No handler loses lines of other processes, waits for a dead server, or fills the disk."""
    found: list[Finding] = []
    for handler in measured.handlers:
        found += judge_rotation(handler, measured)
        found += judge_size(handler)
        found += judge_server(handler)
    yield from found
    if not found:
        yield Finding(
            Severity.ok, "no handler loses lines, waits for a server, or has a large file"
        )


def judge_rotation(handler: Handler, among: Handlers) -> Iterator[Finding]:
    """Each process renames the file for itself; the others go on writing to the renamed one."""
    if not handler.rotates or among.processes == 1:
        return
    finding = partial(
        Finding,
        subject=handler.path or handler.section,
        evidence={"class": handler.kind, "processes": among.processes or "not known"},
        threshold="1 process",
        confidence=among.confidence,
    )
    if among.processes is None:
        yield finding(Severity.unknown, "not measured: how many processes rotate the same log file")
        return
    path = handler.path.replace("%", "%%").replace("'", r"\\'")
    options = (
        Option(handler.section, "class", "handlers.WatchedFileHandler"),
        Option(handler.section, "args", f"('{path}', 'a')"),
    )
    yield finding(
        Severity.warning,
        f"{among.processes} processes rotate the same log file, and lines are lost",
        remedy=IniEdit(options, "have logrotate rotate it") if path else "rotate it with logrotate",
    )


def judge_size(handler: Handler) -> Iterator[Finding]:
    """Nobody reads a log of gigabytes, and one day it has filled the disk."""
    if handler.size >= LARGE_BYTES:
        yield Finding(
            Severity.advice,
            f"a log file has {megabytes(handler.size)}, and nothing rotates it",
            subject=handler.path,
            evidence={"size_mb": handler.size / 1e6},
            threshold=megabytes(LARGE_BYTES),
            source="our judgement",
            remedy=f"rotate {os.path.basename(handler.path)} with logrotate and copytruncate",
        )


def judge_server(handler: Handler) -> Iterator[Finding]:
    """A request that logs a line waits until the handler has sent it."""
    if not handler.address:
        return
    lines = f"lines of {handler.level}" if handler.level not in _OFTEN else "all lines"
    finding = partial(
        Finding,
        subject=handler.section,
        evidence={
            "class": handler.kind,
            "level": handler.level,
            **({} if handler.connect_ms is None else {"connect_ms": handler.connect_ms}),
            **({"failure": handler.failure} if handler.failure else {}),
        },
        threshold=f"it answers within {CONNECT_SECONDS:g} s",
        source="Python, logging.handlers",
    )
    section, disabled = handler.section, Option(handler.section, "class", "NullHandler")
    off = IniEdit((disabled, Option(section, "args", "()")), "until it answers")
    if handler.failure.startswith("no answer"):
        yield finding(
            Severity.error,
            f"requests that log {lines} wait {_WAITS[handler.kind]} for {handler.address}",
            remedy=off,
        )
    elif handler.failure:
        yield finding(
            Severity.warning,
            f"{lines} for {handler.address} are lost: {handler.failure}",
            remedy=off,
        )
    elif (handler.connect_ms or 0) > SLOW_MS or handler.level in _OFTEN and _connects(handler):
        yield finding(
            Severity.advice,
            f"requests that log {lines} wait for a connection to {handler.address} each time",
            remedy=IniEdit((Option(section, "level", "ERROR"),)),
        )


def _connects(handler: Handler) -> bool:
    """Whether the handler makes a new connection for each line."""
    return handler.kind in ("SMTPHandler", "HTTPHandler")
