"""How many processes serve requests, held against the cores they share and the pulls they are asked
for.
"""

from __future__ import annotations

import math
from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.config.wsgi_server import Server, server_of
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.serving import page_times_checks
from kallithea_tune.system import child
from kallithea_tune.text import figure

ENOUGH = 8
SOURCE = "RhodeCode manual: 2 x cores + 1, no more than 8 to 12 a server; gunicorn manual; lower limit: our judgement"


def processes_of(server: Server, seen: Mapping[str, Any]) -> Optional[int]:
    """Return how many processes there are: those that run, where more do than the ini file says."""
    known = [count for count in (server.processes, seen["running"]) if count]
    return max(known) if known else None


def judge_processes(server: Server, seen: Mapping[str, Any]) -> Finding:
    """One process answers one request at a time; beyond twice the cores they only take turns, and
    memory.
    """
    processes, cores = processes_of(server, seen), seen["cores"]
    evidence: dict[str, Any] = {
        "cores": cores,
        "configured": server.processes or "not said",
        "running": seen["running"],
    }
    if seen["resident_mb"]:
        evidence["resident_mb"] = seen["resident_mb"]
    least, most = min(math.ceil(cores), ENOUGH), 2 * math.ceil(cores) + 1
    common: dict[str, Any] = {
        "evidence": evidence,
        "source": SOURCE,
        "threshold": "%d to %d processes" % (max(2, least), most),
    }
    if processes is None:
        return Finding(
            Severity.unknown,
            "not measured: how many processes serve requests is not said",
            **common,
        )
    if processes == 1:
        return Finding(
            Severity.warning,
            "one process serves requests: a clone keeps everybody waiting",
            remedy=_MORE.get(server.kind, _BALANCE) % min(most, 12),
            **common,
        )
    if processes < least:
        return Finding(
            Severity.advice,
            "%d processes serve requests, and there are %s cores" % (processes, figure(cores)),
            remedy=_MORE.get(server.kind, _BALANCE) % min(most, 12),
            **common,
        )
    if processes > most:
        return Finding(
            Severity.advice,
            "%d processes share %s cores" % (processes, figure(cores)),
            remedy=_MORE.get(server.kind, _BALANCE) % most,
            **common,
        )
    return Finding(
        Severity.ok,
        "%d processes serve requests on %s cores" % (processes, figure(cores)),
        **common,
    )


_BALANCE = "serve with gunicorn or uWSGI, or run %d instances behind the web server"
_MORE = {
    "gunicorn": "set workers = %d in [server:main]",
    "uwsgi": "set workers = %d in [uwsgi]",
}


@check(
    "WEB002",
    "serving-processes",
    "Server processes against cores",
    "serving",
    seconds=0.5,
    tags=("probe",),
)
def processes(context: Context) -> Iterator[Finding]:
    """Count the processes that serve requests, in the ini file and running, and the cores they may
    use.

    Cores are those that the running processes are bound to, or less where a control group's CPU
    quota says so (this command's own where none runs). One process is a warning: with one thread
    each, as Kallithea needs, a clone of a minute holds up every other request for a minute. Fewer
    processes than cores, up to 8, is advice, and so are more than 2 x cores + 1. Processes that run
    with another ini file are not counted.
    """
    yield judge_processes(server_of(context.instance), _processes(context))


def _processes(context: Context) -> Mapping[str, Any]:
    seen: Mapping[str, Any] = context.once(
        "processes",
        lambda: child.call(
            "kallithea_tune.perf_check.serving.processes:survey",
            5 + context.deadline.left,
            ini=context.instance.path,
        ),
    )
    return seen


# With seven tenths of the time taken, one waits for more than two others before it: queueing
# theory, M/M/1.
BUSY = 0.7


def judge_load(server: Server, seen: Mapping[str, Any], acts: int, pull_ms: float) -> Finding:
    """What the log's busiest minute asked for, had each act been the smallest pull: so many
    processes at least.
    """
    processes, busy = processes_of(server, seen), acts * pull_ms / 60000
    common: dict[str, Any] = {
        "evidence": {
            "busy_processes": busy,
            "acts_in_a_minute": acts,
            "pull_ms": pull_ms,
            "processes": processes or "not said",
        },
        "threshold": f"{BUSY:g} of the processes",
        "source": "queueing theory, M/M/1; limit: our judgement",
    }
    if processes is None:
        return Finding(
            Severity.unknown,
            "not measured: how many processes serve requests is not said",
            **common,
        )
    if busy <= BUSY * processes:
        return Finding(
            Severity.ok,
            "the busiest minute kept %s of %d processes busy at least" % (figure(busy), processes),
            **common,
        )
    return Finding(
        Severity.advice,
        "the busiest minute kept %s of %d processes busy at least" % (figure(busy), processes),
        remedy=_MORE.get(server.kind, _BALANCE) % math.ceil(busy / BUSY),
        **common,
    )


@check(
    "WEB010",
    "serving-load",
    "Processes against the busiest minute",
    "serving",
    seconds=page_times_checks.SECONDS,
    writes="cache_dir",
    needs=("ini", "database", "app"),
    tags=("probe", "app"),
    shares=page_times_checks.SHARED,
)
def load(context: Context) -> Iterator[Finding]:
    """Multiply the log's busiest minute by what the smallest pull takes: so much time the processes
    had to spend.

    The busiest minute is that of the newest 1,000 rows of user_logs, which get one for each pull,
    push and administrative act. The pull is that of WEB005, in-process, which brings nothing new;
    real ones take longer, and page views are not in the log, so that this is a lower limit. More
    than seven tenths of the processes is advice.
    """
    log = context.measure(database_facts).log
    acts = log.busiest_minute if log else None
    seen = page_times_checks.visited(context)
    # The first imports what the following ones need not.
    pulls = [
        min(answer.ms[0] for answer in answers)
        for name, answers in seen.items()
        if name.startswith("clone ")
    ]
    if not pulls:
        raise NotMeasured("there is no repository to pull from, or no time was left")
    if acts:
        yield judge_load(server_of(context.instance), _processes(context), acts, max(pulls))
