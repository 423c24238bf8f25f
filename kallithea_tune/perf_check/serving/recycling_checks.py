"""What replaces, limits and reloads the processes of a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Iterator, Mapping, Optional

from kallithea_tune.config.instance import as_bool
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Remedy
from kallithea_tune.perf_check.servers import remedies
from kallithea_tune.perf_check.servers.served import Served, Servers, servers
from kallithea_tune.text import megabytes

FEW_REQUESTS, FEW_SECONDS, IDLE_SECONDS, CHANNEL_SECONDS = 100, 600, 300, 30
# A start takes 0.9 s and the first request of a page 0.1 to 0.3 s more (two idle cores).
START_MS = 1200.0
TYPICAL_RESIDENT, TYPICAL_VIRTUAL = 120_000_000, 400_000_000
ENOUGH_REQUESTS, ENOUGH_MB = 1000, 1000
# Files that a process has open without any connection: its own, those of a page, git's pipes.
FILES_OF_A_REQUEST = 60
ENOUGH_FILES = 4096
_REQUESTS = {
    "gunicorn": "max_requests",
    "uwsgi": "max-requests",
    "mod_wsgi": "maximum-requests",
}
# uWSGI's, in MB: whether it compares the virtual memory, and what it does then.
_MEMORY = {
    "reload-on-rss": (False, "is replaced after each request"),
    "reload-on-as": (True, "is replaced after each request"),
    "evil-reload-on-rss": (False, "is killed in the middle of a request"),
    "evil-reload-on-as": (True, "is killed in the middle of a request"),
    "limit-as": (True, "gets no more memory"),
}
_RELOAD = {"gunicorn": "reload", "uwsgi": "py-autoreload"}


@check(
    "WEB012",
    "serving-recycling",
    "Replaced and limited processes",
    measures=(servers,),
    threshold=f"{FEW_REQUESTS} requests; the memory of a process",
    source="gunicorn, uWSGI, mod_wsgi and waitress manuals; limits: our judgement",
    tags=("probe",),
    harm=Harm.some_pages,
)
def recycling(measured: Servers) -> Iterator[Finding]:
    """Judge how soon a process is replaced, and whether its limits leave room for a request."""
    for served in measured.judged:
        found = [finding for judge in _JUDGES for finding in judge(served)]
        for finding in found or [_nothing(served, measured)]:
            yield replace(finding, confidence=measured.confidence)


def _nothing(served: Served, among: Servers) -> Finding:
    return Finding(
        Severity.ok,
        f"no process is replaced early, or cut off by a limit{among.unseen}",
        subject=served.server.section,
    )


def judge_requests(served: Served) -> Iterator[Finding]:
    """Each process that is replaced costs its successor a start, and a user the wait for it."""
    server = served.server
    option = _REQUESTS.get(server.kind, "")
    count = whole(server.options, option)
    if not count or count >= FEW_REQUESTS:
        return
    yield Finding(
        Severity.warning,
        f"each process is replaced after {count} requests, and starts again"
        if count > 1
        else "each request gets a new process, and waits for its start",
        subject="requests",
        evidence={option: count},
        impact_ms=START_MS / count,
        impact_per="request",
        remedy=remedies.setting(server, {option: str(ENOUGH_REQUESTS)}),
    )


def judge_lifetime(served: Served) -> Iterator[Finding]:
    """The same by time: of a process, or of one that nobody needed for a while."""
    server = served.server
    idle = server.kind == "mod_wsgi"
    option = "inactivity-timeout" if idle else "max-worker-lifetime"
    seconds, least = whole(server.options, option), IDLE_SECONDS if idle else FEW_SECONDS
    if server.kind in ("mod_wsgi", "uwsgi") and seconds and seconds < least:
        kind = f"after {seconds} s without a request" if idle else f"every {seconds} s"
        yield Finding(
            Severity.advice,
            f"processes are replaced {kind}: a user waits for the start",
            subject="lifetime",
            evidence={option: seconds},
            threshold=f"{least} s",
            remedy=remedies.setting(server, {option: "3600"}),
        )


def judge_memory(served: Served) -> Iterator[Finding]:
    """A limit that an idle process is above already acts at each request."""
    server = served.server
    if server.kind != "uwsgi":
        return
    resident = max((item.resident for item in served.workers), default=0) or TYPICAL_RESIDENT
    virtual = max((item.virtual for item in served.workers), default=0) or TYPICAL_VIRTUAL
    for option, (is_virtual, consequence) in _MEMORY.items():
        limit, used = whole(server.options, option), virtual if is_virtual else resident
        if limit and limit * 1_048_576 < used:
            yield Finding(
                Severity.warning if option.startswith("reload") else Severity.error,
                f"a process takes {megabytes(used)} and {consequence}: {option} = {limit} MB",
                subject=option,
                evidence={"limit_mb": limit, "used_mb": used / 1e6, "seen": served.runs},
                threshold="the memory of a process",
                remedy=remedies.setting(server, {option: str(ENOUGH_MB * (1 + is_virtual))}),
            )


def judge_reload(served: Served) -> Iterator[Finding]:
    """Watching every module for changes is for developers: it takes time, and cuts requests off."""
    server = served.server
    option = _RELOAD.get(server.kind, "")
    by_command = any("--reload" in worker.process.words for worker in served.workers)
    if by_command:
        remedy: Remedy = "start the service without --reload"
    elif as_bool(server.options.get(option, "")) or whole(server.options, option):
        remedy = remedies.setting(server, {option: None})
    else:
        return
    yield Finding(
        Severity.warning,
        "the server watches all modules, and restarts when one of them changes",
        subject="reload",
        evidence={"command_line": by_command},
        threshold="off",
        remedy=remedy,
    )


def judge_channel(served: Served) -> Iterator[Finding]:
    """waitress closes a connection on which nothing arrives, also in the middle of a push."""
    server = served.server
    seconds = whole(server.options, "channel_timeout")
    if server.kind == "waitress" and seconds is not None and seconds < CHANNEL_SECONDS:
        yield Finding(
            Severity.warning,
            f"a push that pauses for {seconds} s is cut off",
            subject="channel_timeout",
            evidence={"channel_timeout_s": seconds},
            threshold=f"{CHANNEL_SECONDS} s; waitress's default is 120 s",
            remedy=remedies.setting(server, {"channel_timeout": "120"}),
        )


def judge_files(served: Served) -> Iterator[Finding]:
    """A process that may not open more files accepts no connection, and starts no git."""
    server = served.server
    connections = 1
    if server.kind == "waitress":
        connections = whole(server.options, "connection_limit") or 100
    elif server.kind == "gunicorn" and server.threads and server.threads > 1:
        connections = server.threads
    need = connections + FILES_OF_A_REQUEST
    limits = [worker.open_files for worker in served.workers if worker.open_files is not None]
    if limits and min(limits) < need:
        yield Finding(
            Severity.warning,
            f"a process may open {min(limits)} files, and serves up to {connections} connections",
            subject="open files",
            evidence={"limit": min(limits), "connections": connections},
            threshold=f"{need} files",
            source="getrlimit(2), RLIMIT_NOFILE; what a request opens: our judgement",
            remedy=f"set LimitNOFILE={ENOUGH_FILES} for the service (ulimit -n), and restart it",
        )


_JUDGES: tuple[Callable[[Served], Iterator[Finding]], ...] = (
    judge_requests,
    judge_lifetime,
    judge_memory,
    judge_reload,
    judge_channel,
    judge_files,
)


def whole(options: Mapping[str, str], name: str) -> Optional[int]:
    """Return the whole number that an option is set to, None where it is none."""
    value = options.get(name, "").strip()
    return int(value) if value.isdigit() else None
