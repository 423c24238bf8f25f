"""Times how Mercurial lists the branches of a repository whose branch cache Kallithea cannot
renew.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Sequence

from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.survey import survey
from kallithea_tune.system import child
from kallithea_tune.system.confine import confine
from kallithea_tune.system.scratch import scratch

BRANCH_SECONDS = 0.7
ROUNDS = 3


@dataclass(frozen=True)
class BranchListing:
    """The milliseconds of each listing of the branches of `repository`, the furthest behind of
    `stale` ones; its name is empty where there are none.
    """

    stale: int
    repository: str = ""
    uncached: int = 0
    ms: tuple[float, ...] = ()

    @property
    def examined(self) -> Examined:
        """One repository stands for all with a stale branch cache."""
        examined = min(self.stale, 1)
        return Examined(examined, examined, "stale branch cache")


@measurement(
    seconds=BRANCH_SECONDS,
    writes="the system's temporary directory",
    needs=("database",),
    uses=(survey,),
    decided_by=("sqlalchemy.*",),
)
def branch_listing(context: Context) -> BranchListing:
    """Have Mercurial list the branches of the repository whose branch cache is furthest behind."""
    surveyed = context.measure(survey)
    stale = [repository for repository in surveyed.hg if repository.uncached > 0]
    if not stale:
        return BranchListing(0)
    worst = max(stale, key=lambda repository: repository.uncached)
    within = max(0.1, min(BRANCH_SECONDS, context.deadline.left))
    with scratch(tempfile.gettempdir()) as directory:
        ms = child.call(
            list_branches,
            within + 8,
            path=surveyed.path(worst.name),
            directory=directory,
            within=within,
        )
    return BranchListing(len(stale), worst.name, worst.uncached, tuple(ms))


def list_branches(path: str, directory: str, within: float) -> Sequence[float]:
    """Return the milliseconds that each of up to `ROUNDS` views needs for the branches of the
    repository at `path`.

    Mercurial opens it in this process, without the repository's own configuration, and can write
    only in `directory`: a cache that is stale stays so. For a child process, whose environment
    excludes that configuration.
    """
    sys.dont_write_bytecode = True
    end = time.monotonic() + within
    hg, ui = importlib.import_module("mercurial.hg"), importlib.import_module("mercurial.ui").ui
    confine(directory)
    ms: list[float] = []
    while len(ms) < ROUNDS and (not ms or time.monotonic() + ms[-1] / 1000 < end):
        repository = hg.repository(ui.load(), os.fsencode(path)).unfiltered()
        began = time.perf_counter()
        repository.branchmap()
        ms.append((time.perf_counter() - began) * 1000)
    return ms
