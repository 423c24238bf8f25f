"""How the application is served: server section, threads, workers, debugging."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.checks.model import Context, Finding, Severity, check
from kallithea_tune.instance import as_bool

GUIDE = "Kallithea, 'Optimizing Kallithea performance', horizontal scaling"


def thread_count(server: Mapping[str, str]) -> Optional[int]:
    """Return how many threads serve requests in one process, or None where the server is not known."""
    use = server.get("use", "")
    if "waitress" in use:
        return _whole(server.get("threads", "4"))
    if "gunicorn" in use:
        return _whole(server.get("threads", "1"))
    if "paste" in use.lower() and as_bool(server.get("use_threadpool", "true")):
        return _whole(server.get("threadpool_workers", "10"))
    return _whole(server["threads"]) if "threads" in server else None


def _whole(text: str) -> Optional[int]:
    try:
        return int(text)
    except ValueError:
        return None


def judge_threads(threads: Optional[int], use: str) -> Finding:
    """More than one thread is an error: neither Kallithea nor its Mercurial promises thread safety."""
    if threads is None:
        return Finding(
            Severity.unknown, "not measured: how many threads serve requests is not said in the server section",
            evidence={"use": use})
    common: dict[str, Any] = {"evidence": {"use": use, "threads": threads}, "threshold": "1", "source": GUIDE}
    if threads == 1:
        return Finding(Severity.ok, "one thread serves requests in each process", **common)
    return Finding(
        Severity.error, "%d threads serve requests, and Kallithea is not thread-safe" % threads,
        remedy="set threads = 1 in the server section and run more processes instead", **common)


@check("WEB001", "serving-threads", "Threads per server process", "serving", tags=("config",))
def threads(context: Context) -> Iterator[Finding]:
    """Read the number of threads of the server section, with the server's own default where it is not set.

    More than one is an error: Kallithea's guide says that it cannot promise to be thread-safe, and neither can the
    Mercurial inside it. Run several processes instead.
    """
    server = context.instance.server
    yield judge_threads(thread_count(server), server.get("use", "no server section"))


def judge_debug(debug: bool) -> Finding:
    """An interactive debugger in reach of the network lets anyone run code."""
    common: dict[str, Any] = {
        "evidence": {"debug": debug}, "threshold": "false", "source": "TurboGears2 manual, error reporting"}
    if not debug:
        return Finding(Severity.ok, "debug mode is off", **common)
    return Finding(
        Severity.error, "debug = true: errors open an interactive debugger, which runs code for whoever sees it",
        remedy="set debug = false in the application's section", **common)


@check("CFG001", "serving-debug", "Debug mode and interactive debugger", "serving", tags=("config", "security"))
def debug(context: Context) -> Iterator[Finding]:
    """Read whether ``debug`` is on for the application.

    It opens an interactive debugger on every error, slows requests down, and must never be on in production.
    """
    yield judge_debug(as_bool(context.instance.settings.get("debug", "false")))
