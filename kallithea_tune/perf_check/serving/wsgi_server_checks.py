"""How the ini file has the application served: threads, debug mode, instance_id."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.config.wsgi_server import UNLIMITED, Server
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import app_options
from kallithea_tune.perf_check.serving.wsgi_server import ServerSettings, server_settings

_WAITRESS = "use = egg:waitress#main and threads = 1 in the server section"
_ONE_THREAD = {
    "gunicorn": "set worker_class = sync, threads = 1 in [server:main]; more workers instead",
    "uwsgi": "remove threads, gevent and async from [uwsgi]; more workers instead",
    "Paste": "set use_threadpool = true, threadpool_workers = 1 in [server:main]",
    "wsgiref": "set wsgiref.threaded = false in [server:main]",
    "gevent": _WAITRESS,
    "CherryPy": _WAITRESS,
}


@check(
    "WEB001",
    "serving-threads",
    "Threads per server process",
    measures=(server_settings,),
    threshold="1",
    source="Kallithea manual, 'Optimizing Kallithea performance', horizontal scaling",
    tags=("config",),
)
def threads(settings: ServerSettings) -> Iterator[Finding]:
    """Judge the number of threads, or greenlets, in which a server process serves requests."""
    yield judge_threads(settings.server)


def judge_threads(server: Server) -> Finding:
    """Neither Kallithea nor the Mercurial in it promises to be thread-safe."""
    if server.threads is None:
        return Finding(
            Severity.unknown,
            "not measured: the ini file does not set the number of threads",
            evidence={"use": server.use},
        )
    unlimited = server.threads == UNLIMITED
    finding = functools.partial(
        Finding,
        evidence={
            "use": server.use,
            "threads": "one per request" if unlimited else server.threads,
        },
    )
    if server.threads == 1:
        return finding(Severity.ok, "one thread serves requests in each process")
    count = "threads without limit" if unlimited else f"{server.threads} threads"
    more_processes = f"set threads = 1 in {server.section} and run more processes instead"
    return finding(
        Severity.error,
        f"{count} serve requests, and Kallithea is not thread-safe",
        remedy=_ONE_THREAD.get(server.kind, more_processes),
    )


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
        return finding(Severity.ok, "each process makes its own instance_id")
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
