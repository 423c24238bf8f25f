"""The curves of ``--load``: of processes and threads started from the ini, or of a URL."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Iterator, Optional

from kallithea_tune.app.owner import owner_of
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.load.access_log import AccessLog
from kallithea_tune.perf_check.load.actions import mix_of_instance
from kallithea_tune.perf_check.load.mix import Mix
from kallithea_tune.perf_check.load.run import Plan, Progress, levels_for, measure
from kallithea_tune.perf_check.results import Curve
from kallithea_tune.perf_check.servers.processes import cores
from kallithea_tune.system.account import acting_as


def mix_of(instance: Instance, log: Optional[AccessLog]) -> Mix:
    """Return the mix as the access log has it, else as `mix_of_instance` does; root reads the
    database as the owner of the data.
    """
    with acting_as(owner_of(instance).account):
        mix = mix_of_instance(instance)
    return mix.with_counts(log.kinds, "as in the access log") if log else mix


def unmeasured(subject: str, error: Exception) -> Curve:
    """Return a curve without levels that says why: what is not ours is an error of the database."""
    known = isinstance(error, (NotMeasured, TuneError))
    reason = str(error) if known else "the database: " + str(error).split("\n")[0]
    return Curve(subject, (), notes=(f"not measured: {reason}",))


def plans(mix: Mix, url: str, levels: tuple[int, ...]) -> Iterator[Plan]:
    """Yield the loads of one command: at `url`, or with processes and then with threads."""
    if url:
        yield Plan(mix, levels, url=url)
        return
    yield Plan(mix, levels)
    yield Plan(mix, levels, threads=True)


def curves(
    instance: Instance, url: str, progress: Progress, log: Optional[AccessLog] = None
) -> Iterator[Curve]:
    """Yield the curves for the mix of the instance, or of `log`, at `url` if there is one.

    What could not be measured is a curve without levels, with the reason as its note.
    """
    from sqlalchemy.exc import SQLAlchemyError

    levels = levels_for(cores(os.getpid()))
    mix: Optional[Mix] = None
    for plan in plans(Mix({}), url, levels):
        try:
            mix = mix or mix_of(instance, log)
            yield measure(instance, replace(plan, mix=mix), progress)
        except (NotMeasured, TuneError, SQLAlchemyError) as error:
            yield unmeasured(plan.subject, error)
