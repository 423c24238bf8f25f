"""How large the requests of Mercurial and Git clients get with the repositories there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional

from kallithea_tune.app import hg_heads
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.survey import survey
from kallithea_tune.system import child

HEADS_SECONDS = 1.0


@dataclass(frozen=True)
class LargestRepository:
    """The repository that takes the most bytes, of those that were examined."""

    name: str
    bytes: int


@dataclass(frozen=True)
class RequestSizes:
    """The heads of Mercurial repositories by name, and the largest repository of any kind.

    `total` is the number of Mercurial repositories whose heads were to be counted.
    """

    heads: Mapping[str, int]
    total: int
    largest: Optional[LargestRepository]

    @property
    def examined(self) -> Examined:
        """The repositories whose heads were counted."""
        return Examined(len(self.heads), self.total, "Mercurial repository")


@measurement(needs=("database",), uses=(survey,))
def request_sizes(context: Context) -> RequestSizes:
    """Count the heads of Mercurial repositories, the largest first, and find the largest one."""
    surveyed = context.measure(survey)
    names = [repository.name for repository in surveyed.hg]
    within = min(HEADS_SECONDS, max(0.2, context.deadline.left))
    heads = child.call(hg_heads.count, within + 5, root=surveyed.root, names=names, within=within)
    measured = [LargestRepository(name, size) for name, size in surveyed.sizes.items()]
    largest = max(measured, key=lambda repository: repository.bytes, default=None)
    return RequestSizes(heads, len(names), largest)
