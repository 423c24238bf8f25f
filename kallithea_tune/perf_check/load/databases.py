"""The same load with another database: whether it serves more, fewer, or as many requests."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Optional, Sequence

from kallithea_tune.app.owner import owner_of
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.load import comparison
from kallithea_tune.perf_check.load.access_log import AccessLog
from kallithea_tune.perf_check.load.curves import mix_of, unmeasured
from kallithea_tune.perf_check.load.run import Plan, Progress, levels_for, measure
from kallithea_tune.perf_check.results import Curve, Level
from kallithea_tune.perf_check.servers.processes import cores
from kallithea_tune.system.account import acting_as

_REPOSITORIES = "SELECT repo_name FROM repositories ORDER BY repo_name"


def beside(
    instance: Instance, other: Instance, progress: Progress, log: Optional[AccessLog] = None
) -> tuple[Curve, ...]:
    """Return a curve for the database of each of two instances that differ in nothing else.

    The second has a note on their difference. What could not be measured is a curve without levels,
    with the reason as its note.
    """
    from sqlalchemy.exc import SQLAlchemyError

    subject = f"processes with --compare-db ({_engine(other)})"
    try:
        _require_same(instance, other)
        plan = Plan(mix_of(instance, log), levels_for(cores(os.getpid())))
        first, second = in_turns((instance, other), plan, progress)
    except (NotMeasured, TuneError, SQLAlchemyError) as error:
        return (unmeasured(subject, error),)
    first = replace(first, subject=f"processes with the database in use ({_engine(instance)})")
    second = replace(second, subject=subject)
    found = comparison.difference(first, second)
    note = comparison.text(found) if found else "the databases were not compared: too few repeats"
    return first, replace(second, notes=(*second.notes, note))


def in_turns(instances: Sequence[Instance], plan: Plan, progress: Progress) -> Sequence[Curve]:
    """Return a curve of each instance, repeat by repeat in turns.

    What slows the machine down for a while slows down one repeat of each.
    """
    parts: list[list[Curve]] = [[] for _ in instances]
    for _ in range(plan.repeats):
        for instance, own in zip(instances, parts):
            own.append(measure(instance, replace(plan, repeats=1), progress))
    return [joined(own) for own in parts]


def joined(repeats: Sequence[Curve]) -> Curve:
    """Return the curve that has the levels of all repeats; those that one lacks are left out."""
    levels = []
    for first in repeats[0].levels:
        same = [one for curve in repeats for one in curve.levels if one.workers == first.workers]
        if len(same) == len(repeats):
            levels.append(_level(same))
    notes = dict.fromkeys(note for curve in repeats for note in curve.notes)
    return replace(repeats[0], levels=tuple(levels), notes=tuple(notes))


def _level(same: Sequence[Level]) -> Level:
    return Level(
        workers=same[0].workers,
        requests_s=tuple(rate for one in same for rate in one.requests_s),
        latencies_ms=tuple(ms for one in same for ms in one.latencies_ms),
        requests=sum(one.requests for one in same),
        errors=sum(one.errors for one in same),
        generator_cpu=sum(one.generator_cpu for one in same) / len(same),
    )


def _engine(instance: Instance) -> str:
    return instance.database_url.partition(":")[0].partition("+")[0]


def _require_same(instance: Instance, other: Instance) -> None:
    """Raise NotMeasured where the databases do not describe the same repositories; root reads them
    as the owner of the data.
    """
    with acting_as(owner_of(instance).account):
        same = _repositories(instance.database_url) == _repositories(other.database_url)
    if not same:
        raise NotMeasured(
            "the database of --compare-db has other repositories; copy this one to it with "
            "gearbox db-migrate"
        )


def _repositories(url: str) -> Sequence[str]:
    import sqlalchemy

    with read_only_engine(url).connect() as connection:
        return [str(name) for (name,) in connection.execute(sqlalchemy.text(_REPOSITORIES))]
