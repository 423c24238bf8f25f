"""How much of the load is automated: robots, monitoring, programs that poll."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.perf_check.load.access_log import AccessLog, Agent
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.serving.traffic import (
    HOURS_OF_PEOPLE,
    Actions,
    Traffic,
    traffic,
)

# The larger part of what the workers do is for nobody, then: our judgement.
MUCH = 0.5
# Fewer say nothing about a server's usual load.
FEWEST = 100


@check(
    "WEB007",
    "serving-automated",
    "Share of automated traffic",
    measures=(traffic,),
    threshold=f"{MUCH:.0%}".replace("%", " %"),
    source="our judgement; Apache manual, 'Log Files' (combined format)",
    tags=("probe", "load"),
    harm=Harm.some_pages,
)
def automated(seen: Traffic) -> Iterator[Finding]:
    """Judge who makes the requests, by agent in the access log, by a guess without one."""
    if seen.log:
        yield judge_log(seen.log)
    elif seen.actions:
        yield from judge_actions(seen.actions)


def judge_log(log: AccessLog) -> Finding:
    """Robots and programs are those that say so: a lower limit."""
    agents = log.agents
    robots = agents.get(Agent.automated, 0)
    finding = functools.partial(
        Finding,
        evidence={
            "requests": log.requests,
            **{agent.value: agents[agent] for agent in Agent if agents.get(agent)},
            "most_frequent": [f"{name}: {count:,}" for name, count in log.robots.items()],
            "period": log.period,
            **({"of_the_log": "its end"} if log.partial else {}),
        },
    )
    if log.requests < FEWEST:
        return finding(
            Severity.unknown, f"not measured: the access log has fewer than {FEWEST} requests"
        )
    share = robots / log.requests
    diagnosis = f"{share:.0%} of the requests are by robots and programs".replace("%", " %")
    if share <= MUCH:
        return finding(Severity.ok, diagnosis)
    return finding(
        Severity.advice,
        diagnosis,
        remedy="limit them in the web server: robots.txt, and requests per address (limit_req of "
        "nginx); what polls for changes may use a hook in its place",
    )


def judge_actions(actions: Actions) -> Iterator[Finding]:
    """A guess from pulls and pushes: nobody who never rests at one address is a person."""
    if actions.count < FEWEST:
        return
    share = actions.sleepless / actions.count
    finding = functools.partial(
        Finding,
        subject="actions",
        evidence={
            "actions": actions.count,
            "programs": actions.programs,
            "page_views": "not known without --access-log",
        },
        confidence="low",
    )
    diagnosis = f"{share:.0%} of the actions are by programs".replace("%", " %")
    diagnosis += f", as a guess (active in more than {HOURS_OF_PEOPLE} hours of a day)"
    if share <= MUCH:
        yield finding(Severity.ok, diagnosis)
        return
    yield finding(
        Severity.advice,
        diagnosis,
        remedy="let them use hooks in place of polling; --access-log FILE shows more",
    )
