"""How the ini file has the application served: threads, limits of the server, debugging."""

from __future__ import annotations

from typing import Any, Iterator

from kallithea_tune.config.instance import as_bool
from kallithea_tune.config.wsgi_server import UNLIMITED, Server, server_of
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check

GUIDE = "Kallithea manual, 'Optimizing Kallithea performance', horizontal scaling"
TEMPLATE = "Kallithea 0.7.0, template of the ini file"


def judge_threads(server: Server) -> Finding:
    """More than one thread is an error: neither Kallithea nor its Mercurial promises thread
    safety.
    """
    if server.threads is None:
        return Finding(
            Severity.unknown,
            "not measured: how many threads serve requests is not said in the ini file",
            evidence={"use": server.use},
        )
    many = server.threads == UNLIMITED
    common: dict[str, Any] = {
        "evidence": {"use": server.use, "threads": "one per request" if many else server.threads},
        "threshold": "1",
        "source": GUIDE,
    }
    if server.threads == 1:
        return Finding(Severity.ok, "one thread serves requests in each process", **common)
    return Finding(
        Severity.error,
        "%s serve requests, and Kallithea is not thread-safe"
        % ("threads without limit" if many else "%d threads" % server.threads),
        remedy=_ONE_THREAD.get(
            server.kind, "set threads = 1 in %s and run more processes instead" % server.section
        ),
        **common,
    )


_WAITRESS = "use = egg:waitress#main and threads = 1 in the server section"
_ONE_THREAD = {
    "gunicorn": "set worker_class = sync, threads = 1 in [server:main]; more workers instead",
    "uwsgi": "remove threads, gevent and async from [uwsgi]; more workers instead",
    "Paste": "set use_threadpool = true, threadpool_workers = 1 in [server:main]",
    "wsgiref": "set wsgiref.threaded = false in [server:main]",
    "gevent": _WAITRESS,
    "CherryPy": _WAITRESS,
}


@check("WEB001", "serving-threads", "Threads per server process", "serving", tags=("config",))
def threads(context: Context) -> Iterator[Finding]:
    """Read the number of threads, or greenlets, of the server section, with the server's own
    default where not set.

    More than one is an error: Kallithea's guide says that it cannot promise to be thread-safe, and
    neither can the Mercurial inside it. Run several processes instead.
    """
    yield judge_threads(server_of(context.instance))


def judge_debug(debug: bool) -> Finding:
    """An interactive debugger in reach of the network lets anyone run code."""
    common: dict[str, Any] = {
        "evidence": {"debug": debug},
        "threshold": "false",
        "source": "TurboGears2 2.4, components/debugger.py",
    }
    if not debug:
        return Finding(Severity.ok, "debug mode is off", **common)
    return Finding(
        Severity.error,
        "debug = true: errors open an interactive debugger, which runs code for whoever sees it",
        remedy="set debug = false in the application's section",
        **common,
    )


@check("CFG001", "serving-debug", "Debug mode set", "serving", tags=("config", "security"))
def debug(context: Context) -> Iterator[Finding]:
    """Read whether ``debug`` is on for the application.

    It wraps the application in an interactive debugger and must never be on in production.
    """
    yield judge_debug(as_bool(context.instance.settings.get("debug", "false")))


def judge_instance_id(instance_id: str, server: Server) -> Finding:
    """All workers of one server read one ini file, so a fixed name is the name of all."""
    common: dict[str, Any] = {
        "evidence": {"instance_id": instance_id, "processes": server.processes or "not said"},
        "threshold": "*",
        "source": TEMPLATE + " ('You must set instance_id = *')",
    }
    if instance_id == "*":
        return Finding(Severity.ok, "each process makes its own instance_id", **common)
    if server.processes == 1:
        return Finding(Severity.ok, "one process has the instance_id %s" % instance_id, **common)
    if server.processes is None:
        return Finding(
            Severity.unknown,
            "not measured: how many processes share instance_id = %s" % instance_id,
            **common,
        )
    return Finding(
        Severity.advice,
        "all processes call themselves instance %s: pages don't tell which answered" % instance_id,
        remedy="remove instance_id, or set instance_id = * in the application's section",
        **common,
    )


@check(
    "CFG005",
    "serving-instance-id",
    "instance_id with several processes",
    "serving",
    tags=("config",),
)
def instance_id(context: Context) -> Iterator[Finding]:
    """Read ``instance_id``: ``*``, the default, stands for the host's name and the process id.

    Kallithea's template demands ``*`` with more than one worker. In 0.7.0 the value is only shown
    at the foot of each page (config/app_cfg.py, controllers/base.py, templates/base/base.html), so
    that a fixed one costs nothing but the knowledge which process answered: that is why it is
    advice, not an error.
    """
    yield judge_instance_id(
        context.instance.settings.get("instance_id", "").strip() or "*", server_of(context.instance)
    )
