"""How much of the traffic is automated, and whether the web server holds clones back."""

from __future__ import annotations

import functools
import statistics
from typing import Iterator

from kallithea_tune.perf_check.load.access_log import AccessLog, Agent
from kallithea_tune.perf_check.load.proxied_clones import Clones, ProxiedClones, proxied_clones
from kallithea_tune.perf_check.load.traffic import (
    HOURS_OF_PEOPLE,
    Actions,
    Traffic,
    traffic,
)
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.statistics import paired_difference
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure, percentage

# The larger part of what the workers do is for nobody, then: our judgement.
MUCH = 0.5
# Fewer say nothing about a server's usual load.
FEWEST = 100


@check(
    "WEB007",
    "serving-automated",
    "Share of automated traffic",
    measures=(traffic,),
    threshold=percentage(MUCH),
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
    diagnosis = f"{percentage(share)} of the requests are from robots and programs"
    if share <= MUCH:
        return finding(Severity.ok, diagnosis)
    return finding(
        Severity.advice,
        diagnosis,
        remedy="limit them in the web server: robots.txt, and requests per address (limit_req of "
        "nginx); what polls for changes may use a hook instead",
    )


def judge_actions(actions: Actions) -> Iterator[Finding]:
    """A guess from pulls and pushes: an account that is active day and night is a program."""
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
    diagnosis = f"{percentage(share)} of the actions are by programs"
    diagnosis += f", as a guess (active in more than {HOURS_OF_PEOPLE} hours of a day)"
    if share <= MUCH:
        yield finding(Severity.ok, diagnosis)
        return
    yield finding(
        Severity.advice,
        diagnosis,
        remedy="let them use hooks instead of polling; --access-log FILE shows more",
    )


# Users notice it at every pull: our judgement.
LATE_MS = 100
FEWEST_CLONES = 5


@check(
    "WEB004",
    "serving-first-byte",
    "First byte of a clone through the web server",
    measures=(proxied_clones,),
    threshold=f"{LATE_MS} ms later than direct",
    source="our judgement; nginx manual (proxy_buffering)",
    tags=("probe", "load"),
    harm=Harm.some_pages,
    disturbed_by=(Part.cpu,),
)
def first_byte(seen: ProxiedClones) -> Iterator[Finding]:
    """Judge how much later the first byte comes than from the application itself."""
    for clones in seen.clones:
        yield judge_clones(clones, seen.proxy)


def judge_clones(clones: Clones, proxy: str) -> Finding:
    """The difference counts pair by pair, so that a busy machine slows down both."""
    if clones.failure:
        return Finding(Severity.unknown, f"not measured: {clones.failure}", subject=clones.kind)
    if len(clones.through) < FEWEST_CLONES:
        return Finding(
            Severity.unknown, "not measured: too few clones in the time", subject=clones.kind
        )
    through = [one.first_ms for one in clones.through]
    direct = [one.first_ms for one in clones.direct]
    later = paired_difference(through, direct)
    finding = functools.partial(
        Finding,
        subject=clones.kind,
        evidence={
            "first_byte_ms": statistics.median(through),
            "direct_ms": statistics.median(direct),
            "later_ms": [later.low, later.high],
            "bytes": clones.through[0].bytes,
        },
        impact_ms=later.estimate,
        impact_per="clone or pull",
        excess=max(0.0, later.estimate) / LATE_MS,
    )
    if later.low <= LATE_MS:
        return finding(
            Severity.ok, f"{clones.kind} clones begin as soon through {proxy} as without it"
        )
    return finding(
        Severity.warning,
        f"{proxy} holds {clones.kind} clones back: they begin {figure(later.estimate)} ms later",
        remedy="have it pass on answers as they come: proxy_buffering off in nginx, as gearbox "
        "static-export writes it",
    )
