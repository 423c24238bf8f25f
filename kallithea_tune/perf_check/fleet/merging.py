"""Makes one result of what the machines of a fleet reported; pure."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Container, Iterable, Iterator, Optional, Sequence, Union

from kallithea_tune.perf_check import saved_run
from kallithea_tune.perf_check.fleet import facts
from kallithea_tune.perf_check.fleet.client import Reply
from kallithea_tune.perf_check.fleet.messages import Answer, Machine, State
from kallithea_tune.perf_check.model import Finding, all_checks
from kallithea_tune.perf_check.results import Place, PlacedRun, Results, Silent
from kallithea_tune.perf_check.runner import Run, labelled, ranked
from kallithea_tune.perf_check.scaling import comparison
from kallithea_tune.perf_check.scaling.instances import Facts, Value
from kallithea_tune.perf_check.scaling.instances_checks import finding, sqlite_on

ELSEWHERE = Value("", "", {}, "inodes of two machines cannot be compared")
NOT_SENT = Value("", "", {}, "the machine did not send it")
NAME = 60  # characters of an id or an area
REASONS = {
    State.elsewhere: "it left the request to another worker of its machine, which did not report",
    State.busy: "it carries out the checks of another command",
    State.forgotten: "it was restarted meanwhile",
}


@dataclass(frozen=True)
class Reported:
    """The run of one machine, which it was, and the facts of its instance."""

    run: PlacedRun
    machine: Machine
    facts: Facts


def merged(results: Results, replies: Iterable[Reply], own: Reported) -> Results:
    """Return the results with what each machine reported, and those that did not with why.

    `own` is this command's. A machine is listed once for each ini file, whatever workers it has:
    one whose machine and ini file are this command's, or which left the request to another worker
    of its machine, which reported, adds nothing.
    """
    reported = {own.machine: own}
    others, silent = [], []
    # Those last that rely on another one.
    for reply in sorted(replies, key=lambda reply: (_relies(reply), reply.worker)):
        found = _of(reply, reported)
        if isinstance(found, Reported):
            reported[found.machine] = found
            others.append(found)
        elif found:
            silent.append(found)
    others.sort(key=lambda item: (item.run.place.machine, item.run.place.instance))
    everybody = [own, *others]
    compared = comparable(everybody) if others else []
    runs = [item.run for item in everybody]
    if compared:
        runs = _with_breaks(everybody, compared)
    return replace(
        results,
        runs=(runs[0], *results.runs[1:], *runs[1:]),
        silent=(*results.silent, *silent),
        matrix=comparison.matrix(compared) if compared else results.matrix,
    )


def _relies(reply: Reply) -> bool:
    return reply.answer is not None and reply.answer.state is State.elsewhere


def _of(reply: Reply, known: Container[Machine]) -> Optional[Union[Reported, Silent]]:
    answer = reply.answer
    if answer is None:
        return Silent(reply.worker, reply.reason)
    if answer.state in (State.done, State.elsewhere) and answer.machine in known:
        return None
    if answer.state is State.done:
        return _reported(reply.worker, answer)
    return Silent(reply.worker, REASONS.get(answer.state, answer.reason or answer.state.name))


def _reported(worker: str, answer: Answer) -> Union[Reported, Silent]:
    try:
        (saved,) = saved_run.parse(answer.report).places
        known = facts.loaded(answer.facts)
        if not all(name.isprintable() and len(name) <= NAME for name in _names(saved)):
            raise ValueError
    except ValueError:
        return Silent(worker, "what it sent is not a report of one instance")
    if not saved.checks:
        return Silent(worker, "it ran none of the checks")
    run = Run(ranked(saved.findings), 0.0, checks=tuple(sorted(saved.checks)))
    return Reported(
        PlacedRun(Place(saved.place.instance, answer.machine.host), run), answer.machine, known
    )


def _names(saved: saved_run.SavedPlace) -> Iterator[str]:
    """Yield what reports show as it is, which no check of ours has otherwise."""
    yield from saved.checks
    for one in saved.findings:
        yield from (one.check, one.area, one.confidence)


def comparable(machines: Sequence[Reported]) -> list[Facts]:
    """Return the facts by place, each with its host; what means nothing elsewhere is unknown.

    Inodes tell directories apart as long as one kernel runs all machines. What the first has and
    another did not send is unknown there: none may keep a setting of the others from comparison.
    """
    several = len({item.machine.boot for item in machines}) > 1
    seen: set[Machine] = set()
    found = []
    for item in machines:
        values = {**dict.fromkeys(machines[0].facts.values, NOT_SENT), **item.facts.values}
        if several:
            values.update(
                {name: ELSEWHERE for name, value in values.items() if _local(name, value)}
            )
        system = replace(item.machine, ini="")
        host = item.machine.host
        values["host"] = Value(host, "" if system in seen else host, {})
        seen.add(system)
        name = str(item.run.place)
        found.append(
            replace(item.facts, name=name, uri=name, values=values, machine=item.machine.boot)
        )
    return found


def _local(name: str, value: Value) -> bool:
    """Whether a value is a place, which its machine knows by an inode; of databases, a file."""
    return name in facts.PLACES and (name != "sqlalchemy.url" or os.path.isabs(value.shown))


def _with_breaks(machines: Sequence[Reported], compared: Sequence[Facts]) -> list[PlacedRun]:
    """Add to each run what its instance has otherwise than the others."""
    checks = {check.id: check for check in all_checks()}
    several = len({one.machine for one in compared}) > 1
    hosts = [one.values["host"].shown for one in compared]
    runs = []
    for item, broken in zip(machines, comparison.all_breaks(compared)):
        added = [
            labelled(finding(one, item.facts.section), checks[one.requirement.check])
            for one in broken
        ]
        url = item.facts.values.get("sqlalchemy.url")
        if several and url and os.path.isabs(url.shown):
            added.append(labelled(sqlite_on(hosts), checks["SCA014"]))
        runs.append(_with(item.run, added))
    return runs


def _with(placed: PlacedRun, added: Sequence[Finding]) -> PlacedRun:
    run = placed.run
    named = dict.fromkeys([*run.checks, *(one.check for one in added)])
    findings = ranked([*run.findings, *added])
    return replace(placed, run=replace(run, findings=findings, checks=tuple(named)))
