"""The curves of ``--load``: of processes and threads started from the ini, or of a URL."""

from __future__ import annotations

import os
from typing import Iterator, Optional

from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.load.actions import mix_of_instance
from kallithea_tune.perf_check.load.mix import Mix
from kallithea_tune.perf_check.load.run import Plan, Progress, levels_for, measure
from kallithea_tune.perf_check.results import Curve
from kallithea_tune.perf_check.servers.processes import cores


def plans(mix: Mix, url: str, levels: tuple[int, ...]) -> Iterator[Plan]:
    """Yield the loads of one command: at `url`, or with processes and then with threads."""
    if url:
        yield Plan(mix, levels, url=url)
        return
    yield Plan(mix, levels)
    yield Plan(mix, levels, threads=True)


def curves(
    instance: Instance, url: str, progress: Progress, mix: Optional[Mix] = None
) -> Iterator[Curve]:
    """Yield the curves for the `mix`, by default that of the instance, at `url` if there is one.

    What could not be measured is a curve without levels, with the reason as its note. Raises
    SQLAlchemyError where the database cannot be read.
    """
    wanted = mix or mix_of_instance(instance)
    for plan in plans(wanted, url, levels_for(cores(os.getpid()))):
        try:
            yield measure(instance, plan, progress)
        except NotMeasured as error:
            yield Curve(plan.subject, (), notes=(f"not measured: {error}",))
