"""Connections that the processes of one server share because it forked with them open."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.servers import remedies
from kallithea_tune.perf_check.servers.served import Served, Servers, servers
from kallithea_tune.perf_check.servers.shared import Shared, shared

SOURCE = (
    "SQLAlchemy manual, using connection pools with multiprocessing; "
    "Kallithea 0.7.0, ini template ('db connections can't be shared')"
)


@check(
    "WEB011",
    "serving-shared-connections",
    "Connections shared after a fork",
    measures=(servers,),
    threshold="none",
    source=SOURCE,
    tags=("probe",),
    harm=Harm.access,
)
def shared_connections(measured: Servers) -> Iterator[Finding]:
    """Judge whether processes of one server hold the same connections.

    Two processes that use one connection get each other's answers.
    """
    for served in measured.served:
        if served.runs:
            yield judge_running(served, measured)
        elif served.server.kind in ("gunicorn", "uwsgi") and served.server.ini_section:
            yield from judge_configured(served, measured)


def judge_running(served: Served, among: Servers) -> Finding:
    """Judge the sockets that were seen."""
    server, processes = served.server, (*served.masters, *served.workers)
    finding = functools.partial(
        Finding,
        subject=server.section,
        evidence={"workers": len(served.workers), "loads_before_fork": server.preloads},
    )
    hidden = sum(process.sockets is None for process in processes)
    if hidden:
        return finding(
            Severity.unknown,
            f"not measured: only root sees the sockets of {hidden} of {len(processes)} processes",
        )
    found = shared(served)
    if not found:
        return finding(Severity.ok, "no process holds a connection of another one")
    return finding(
        Severity.error if any(len(item.workers) > 1 for item in found) else Severity.warning,
        diagnosis(found),
        evidence={
            "connections": [item.remote for item in found],
            "processes": sorted({pid for item in found for pid in item.pids}),
            "loads_before_fork": server.preloads,
        },
        remedy=remedies.loads_in_workers(server, among.ini, max(2, len(served.workers))),
    )


def diagnosis(found: list[Shared]) -> str:
    """Say how many processes share how many connections, and what becomes of it."""
    count, processes = len(found), len({pid for item in found for pid in item.pids})
    number = "a connection" if count == 1 else f"{count} connections"
    return f"{processes} processes share {number}, and get each other's answers, or error 500"


def judge_configured(served: Served, among: Servers) -> Iterator[Finding]:
    """Judge what would be shared if it ran."""
    server = served.server
    if not (among.pooled and server.preloads and (server.processes or 1) > 1):
        return
    yield Finding(
        Severity.warning,
        f"{server.processes} workers would share the database connections of the process that "
        "forks them",
        subject=server.section,
        evidence={"workers": server.processes, "running": "not seen"},
        confidence="low",
        remedy=remedies.loads_in_workers(server, among.ini, server.processes or 2),
    )
