"""Makes one result of what the machines of a fleet reported; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable, Optional, Union

from kallithea_tune.perf_check import saved_run
from kallithea_tune.perf_check.fleet.client import Reply
from kallithea_tune.perf_check.fleet.messages import Answer, Machine, State
from kallithea_tune.perf_check.results import Place, PlacedRun, Results, Silent
from kallithea_tune.perf_check.runner import Run, ranked

REASONS = {
    State.busy: "it carries out the checks of another command",
    State.forgotten: "it was started anew meanwhile",
}


def merged(results: Results, replies: Iterable[Reply], own: Machine) -> Results:
    """Return the results with what each machine reported, and those that did not with why.

    A worker whose machine and ini file are those of this command, or which left the request to
    another worker of its machine, adds nothing.
    """
    found = list(filter(None, (_of(reply, own) for reply in replies)))
    runs = [item for item in found if isinstance(item, PlacedRun)]
    runs.sort(key=lambda item: (item.place.machine, item.place.instance))
    silent = [item for item in found if isinstance(item, Silent)]
    return replace(results, runs=(*results.runs, *runs), silent=(*results.silent, *silent))


def _of(reply: Reply, own: Machine) -> Optional[Union[PlacedRun, Silent]]:
    answer = reply.answer
    if answer is None:
        return Silent(reply.worker, reply.reason)
    if answer.state is State.done:
        return None if answer.machine == own else _reported(reply.worker, answer)
    if answer.state is State.elsewhere:
        return None
    return Silent(reply.worker, REASONS.get(answer.state, answer.reason or answer.state.name))


def _reported(worker: str, answer: Answer) -> Union[PlacedRun, Silent]:
    try:
        (saved,) = saved_run.parse(answer.report).places
    except ValueError:
        return Silent(worker, "what it sent is no report of one instance")
    run = Run(ranked(saved.findings), 0.0, checks=tuple(sorted(saved.checks)))
    return PlacedRun(Place(saved.place.instance, answer.machine.host), run)
