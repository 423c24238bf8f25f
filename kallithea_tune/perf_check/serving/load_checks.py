"""Whether there are enough processes for the busiest minute of the log."""

from __future__ import annotations

import functools
import math
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.facts import DatabaseFacts
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.servers.served import Servers, servers
from kallithea_tune.perf_check.serving.page_times import Visits, visits
from kallithea_tune.perf_check.serving.processes_checks import set_processes
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import counted, figure

# At this utilisation a request waits for more than two others before it (M/M/1).
BUSY = 0.7


@check(
    "WEB010",
    "serving-load",
    "Processes against the busiest minute",
    measures=(database_facts, visits, servers),
    threshold=f"{BUSY:g} of the processes",
    source="queueing theory, M/M/1; limit: our judgement",
    tags=("probe", "app"),
    disturbed_by=(Part.cpu, Part.disk),
)
def load(database: DatabaseFacts, visited: Visits, measured: Servers) -> Iterator[Finding]:
    """Judge how many processes the busiest minute needs if each action is the smallest pull."""
    # The first pull imports modules, which the others need not.
    pull_ms = [
        min(repository.pull_ms)
        for repository in visited.application.repositories
        if repository.pull_ms
    ]
    if not pull_ms:
        raise NotMeasured("there is no repository to pull from, or no time was left")
    if database.log:
        yield judge_load(measured, database.log.busiest_minute, max(pull_ms))


def judge_load(measured: Servers, actions: int, pull_ms: float) -> Finding:
    """The time of all actions in a minute is the number of processes that they keep busy."""
    count, busy = measured.processes.count_for(measured.first), actions * pull_ms / 60000
    finding = functools.partial(
        Finding,
        evidence={
            "busy_processes": busy,
            "acts_in_a_minute": actions,
            "pull_ms": pull_ms,
            "processes": count or "not set",
        },
        confidence=measured.confidence,
    )
    if count is None:
        return finding(
            Severity.unknown, "not measured: it is unknown how many processes serve requests"
        )
    diagnosis = f"the busiest minute kept at least {figure(busy)} of "
    diagnosis += f"{counted(count, 'process')} busy"
    if busy <= BUSY * count:
        return finding(Severity.ok, diagnosis)
    return finding(
        Severity.advice, diagnosis, remedy=set_processes(measured, math.ceil(busy / BUSY))
    )
