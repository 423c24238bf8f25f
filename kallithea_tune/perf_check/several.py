"""Runs the checks at several instances; what is the same for them is measured once."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from kallithea_tune.app.owner import owner_of
from kallithea_tune.config.instance import Instance
from kallithea_tune.perf_check import runner
from kallithea_tune.perf_check.measurement import (
    NOTHING,
    Context,
    Deadline,
    Measurement,
    OnRequest,
    Outcome,
)
from kallithea_tune.perf_check.model import Check
from kallithea_tune.perf_check.results import Matrix, Place, PlacedRun, Results
from kallithea_tune.perf_check.scaling import comparison, programs
from kallithea_tune.perf_check.scaling import instances as scaling
from kallithea_tune.perf_check.scaling.instances import names

Outcomes = Mapping["Measurement[Any]", Outcome]


def with_one_redactor(instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return the instances, in each of which the secrets of all are masked."""
    redactor = instances[0].redactor.also(
        secret for instance in instances for secret in instance.redactor.secrets
    )
    return tuple(dataclasses.replace(instance, redactor=redactor) for instance in instances)


def run(
    instances: Sequence[Instance],
    checks: Sequence[Check],
    budget: float,
    compare_db: str = "",
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
    on_request: OnRequest = NOTHING,
) -> Results:
    """Run `checks` at each of the instances as alone, all within about `budget` seconds.

    Checks that compare instances compare these. Raises as `names` and `runner.run`.
    """
    together = tuple(instances) if len(instances) > 1 else ()
    deadline = Deadline(budget)
    taken: list[tuple[Instance, Outcomes]] = []
    runs = []
    for number, (name, instance) in enumerate(zip(names(instances), instances)):
        context = Context(
            instance,
            deadline,
            compare_db,
            _known(instance, taken),
            together=together,
            on_request=on_request,
        )
        left = deadline.left if number else budget
        share = left * _part(context, instances[number + 1 :], checks)
        context = dataclasses.replace(context, deadline=Deadline(share))
        report = _after(progress, number, len(instances))
        runs.append(PlacedRun(Place(name), runner.run_in(context, checks, share, report)))
        taken.append((instance, context.outcomes))
    return Results(tuple(runs), matrix=_matrix(taken[0][1]))


def _matrix(outcomes: Outcomes) -> Optional[Matrix]:
    wanted = (scaling.instances, programs.running_versions, programs.cron_jobs)
    found = [outcomes[one].result for one in wanted if one in outcomes]
    looks = [result.facts for result in found if result and result.facts]
    return comparison.matrix(*looks) if looks else None


def _known(
    instance: Instance, taken: Iterable[tuple[Instance, Outcomes]]
) -> dict[Measurement[Any], Outcome]:
    """Return what was measured at another instance with the same result; a failure is no result."""
    account = owner_of(instance).account
    return {
        measurement: outcome
        for other, outcomes in taken
        if owner_of(other).account == account
        for measurement, outcome in outcomes.items()
        if outcome.error is None and measurement.shared(instance, other)
    }


def _part(context: Context, later: Sequence[Instance], checks: Sequence[Check]) -> float:
    """Return the part of the time that an instance has, by what is left to measure there."""
    left = {
        one
        for item in checks
        if item.requested(context)
        for one in item.measurements
        if one not in context.outcomes
    }
    own = sum(one.seconds for one in left)
    rest = sum(
        one.seconds for other in later for one in left if not one.shared(context.instance, other)
    )
    return own / (own + rest) if own else 1 / (1 + len(later))


def _after(
    progress: Callable[[str, int, int], None], number: int, instances: int
) -> Callable[[str, int, int], None]:
    """Return the progress of one of several instances, as that of all."""
    return lambda title, done, total: progress(title, number * total + done, instances * total)
