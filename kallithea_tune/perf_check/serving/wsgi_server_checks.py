"""How the ini file has the application served: threads, debug mode, instance_id."""

from __future__ import annotations

import functools
from typing import Iterator, Optional

from kallithea_tune.config.wsgi_server import UNLIMITED, Server
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import app_options
from kallithea_tune.perf_check.servers import remedies
from kallithea_tune.perf_check.servers.served import (
    Served,
    Servers,
    configured_servers,
    servers,
)
from kallithea_tune.perf_check.serving.wsgi_server import ServerSettings, server_settings

# A process has so many others: of a driver, of monitoring (our judgement).
FEW_THREADS = 2


@check(
    "WEB001",
    "serving-threads",
    "Threads per server process",
    measures=(servers,),
    settings=(configured_servers,),
    threshold="1",
    source="Kallithea manual, 'Optimizing Kallithea performance', horizontal scaling",
    tags=("config",),
)
def threads(measured: Servers) -> Iterator[Finding]:
    """Judge the number of threads, or greenlets, in which a server process serves requests."""
    for served in measured.served:
        yield judge_threads(served, measured)


def judge_threads(served: Served, among: Servers) -> Finding:
    """Neither Kallithea nor the Mercurial in it promises to be thread-safe."""
    server, count = served.server, thread_count(served)
    unlimited = count == UNLIMITED
    finding = functools.partial(
        Finding,
        subject=server.section,
        evidence={
            "use": server.use,
            "threads": "one per request" if unlimited else "not known" if count is None else count,
            **_seen(served, among.looked),
        },
        confidence=among.confidence if server.threads == count else "medium",
    )
    if count is None:
        return finding(
            Severity.unknown, f"not measured: {server.section} does not set the number of threads"
        )
    if count <= 1:
        return finding(Severity.ok, f"one thread serves requests in each process{among.unseen}")
    number = "threads without limit" if unlimited else f"{count} threads"
    state = "serve requests" if served.runs or not among.looked else "are configured"
    if count != server.threads:
        return finding(
            Severity.error,
            f"{number} serve requests in a process, and Kallithea is not thread-safe",
            remedy=f"set one thread where the server is set up ({server.section}), and restart it",
        )
    return finding(
        Severity.error,
        f"{number} {state}, and Kallithea is not thread-safe",
        remedy=remedies.one_thread(server),
    )


def _seen(served: Served, looked: bool) -> dict[str, object]:
    if served.runs:
        pids = [worker.pid for worker in served.workers]
        return {"threads_seen": served.threads_seen, "processes": pids[:8]}
    return {"running": "not seen"} if looked else {}


def thread_count(served: Served) -> Optional[int]:
    """Return the threads that serve requests: those set, or those seen where that is more.

    waitress starts all of them at once, beside the main thread. Of other servers, more than a few
    are those of requests only where nothing says how many there are.
    """
    configured, seen = served.server.threads, served.threads_seen
    if not served.runs:
        return configured
    if configured is None:
        return None if 0 < seen <= FEW_THREADS else max(1, seen)
    exact = served.server.kind == "waitress"
    return max(configured, seen) if exact and seen > configured + FEW_THREADS - 1 else configured


@check(
    "CFG001",
    "serving-debug",
    "Debug mode set",
    measures=(server_settings,),
    threshold="false",
    source="TurboGears2 2.4, components/debugger.py",
    tags=("config", "security"),
    harm=Harm.loss,
)
def debug(settings: ServerSettings) -> Iterator[Finding]:
    """Judge whether ``debug`` wraps the application in an interactive debugger."""
    yield judge_debug(settings.debug, settings.section)


def judge_debug(enabled: bool, section: str) -> Finding:
    """An interactive debugger lets everyone who reaches it run code."""
    finding = functools.partial(Finding, evidence={"debug": enabled})
    if not enabled:
        return finding(Severity.ok, "debug mode is off")
    return finding(
        Severity.error,
        "debug = true: an error opens an interactive debugger, where any visitor can run code",
        remedy=app_options(section, {"debug": "false"}),
    )


@check(
    "CFG005",
    "serving-instance-id",
    "instance_id with several processes",
    measures=(server_settings,),
    threshold="*",
    source="Kallithea 0.7.0, template of the ini file ('You must set instance_id = *')",
    tags=("config",),
    harm=Harm.some_pages,
)
def instance_id(settings: ServerSettings) -> Iterator[Finding]:
    """Judge whether several processes share one ``instance_id``."""
    yield judge_instance_id(settings.instance_id, settings.server, settings.section)


def judge_instance_id(instance_id: str, server: Server, section: str) -> Finding:
    """All workers of one server read one ini file, so they share a fixed name."""
    finding = functools.partial(
        Finding,
        evidence={"instance_id": instance_id, "processes": server.processes or "not set"},
    )
    if instance_id == "*":
        return finding(Severity.ok, "each process generates its own instance_id")
    if server.processes == 1:
        return finding(Severity.ok, f"one process has the instance_id {instance_id}")
    if server.processes is None:
        return finding(
            Severity.unknown,
            f"not measured: how many processes share instance_id = {instance_id}",
        )
    return finding(
        Severity.advice,
        f"all processes share instance_id = {instance_id}: pages do not show which one answered",
        remedy=app_options(section, {"instance_id": "*"}),
    )
