"""Whether the number of processes that serve requests fits the cores."""

from __future__ import annotations

import functools
import math
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.remedy import Remedy
from kallithea_tune.perf_check.servers import remedies
from kallithea_tune.perf_check.servers.served import Servers, servers
from kallithea_tune.text import figure

ENOUGH, MOST = 8, 12
SOURCE = (
    "RhodeCode manual: 2 x cores + 1, no more than 8 to 12 a server; gunicorn manual; "
    "lower limit: our judgement"
)


@check(
    "WEB002",
    "serving-processes",
    "Server processes against cores",
    measures=(servers,),
    source=SOURCE,
    tags=("probe",),
)
def process_count(measured: Servers) -> Iterator[Finding]:
    """Judge the number of processes, as configured or as they run, by the cores they may use."""
    yield judge_processes(measured)


def set_processes(measured: Servers, count: int) -> Remedy:
    """Return the remedy that makes `count` processes serve requests."""
    return remedies.processes(measured.first, count, measured.ini, measured.pooled)


def judge_processes(measured: Servers) -> Finding:
    """One process serves one request at a time; beyond twice the cores they only take turns."""
    server, running = measured.first, measured.processes
    count, cores = running.count_for(server), math.ceil(running.cores)
    least, most = min(cores, ENOUGH), 2 * cores + 1
    finding = functools.partial(
        Finding,
        evidence={
            "cores": running.cores,
            "configured": server.processes or "not set",
            "running": running.running,
            **({"resident_mb": running.resident_mb} if running.resident_mb else {}),
        },
        threshold=f"{max(2, least)} to {most} processes",
        confidence=measured.confidence,
    )
    if count is None:
        return finding(
            Severity.unknown, "not measured: it is unknown how many processes serve requests"
        )
    if count == 1:
        return finding(
            Severity.warning,
            "one process serves requests: a clone keeps everybody waiting",
            remedy=set_processes(measured, min(most, MOST)),
        )
    if count < least:
        return finding(
            Severity.advice,
            f"{count} processes serve requests, and there are {figure(running.cores)} cores",
            remedy=set_processes(measured, min(most, MOST)),
        )
    if count > most:
        return finding(
            Severity.advice,
            f"{count} processes share {figure(running.cores)} cores",
            remedy=set_processes(measured, most),
        )
    return finding(
        Severity.ok,
        f"{count} processes serve requests on {figure(running.cores)} cores{measured.unseen}",
    )
