"""What the load consists of: kinds of requests, each with its share, and repositories."""

from __future__ import annotations

import enum
import math
import random
from dataclasses import dataclass, field, replace
from typing import Mapping, Optional

from kallithea_tune.text import percentage


class Kind(enum.Enum):
    """A kind of request; the value is what a report calls it."""

    front = "front page"
    summary = "summary"
    changelog = "changelog"
    files = "files"
    raw = "raw file"
    feed = "feed"
    hg = "hg clone"
    git = "git clone"


CLONES = {"hg": Kind.hg, "git": Kind.git}
# Our judgement, of what crawlers, readers and build servers do to a public server; what this
# instance's users do is better where there is an access log.
SHARES: Mapping[Kind, float] = {
    Kind.front: 0.10,
    Kind.summary: 0.20,
    Kind.changelog: 0.20,
    Kind.files: 0.20,
    Kind.raw: 0.10,
    Kind.feed: 0.10,
    Kind.hg: 0.05,
    Kind.git: 0.05,
}
ASSUMED = "assumed shares"
# So many requests have the shares of the mix almost exactly, in an order that is always the same.
DECK = 100


@dataclass(frozen=True)
class Mix:
    """The share of each kind of request, in all 1; `source` says where they are from.

    `repositories` has one name by type, ``hg`` or ``git``.
    """

    repositories: Mapping[str, str]
    shares: Mapping[Kind, float] = field(default_factory=lambda: dict(SHARES))
    source: str = ASSUMED

    @property
    def text(self) -> str:
        """The shares for a report, the largest first: ``summary 20 %, hg clone 5 %``."""
        ordered = sorted(self.shares.items(), key=lambda item: -item[1])
        return ", ".join(f"{kind.value} {percentage(share)}" for kind, share in ordered)

    def with_counts(self, counts: Mapping[Kind, int], source: str) -> Mix:
        """Return the mix with shares as in `counts` of all kinds of requests, from an access log.

        What nothing here can be sent for, as clones of a type without a repository, is left out.
        """
        return replace(self, shares=_shares(counts, self.repositories), source=source)

    def with_pulls(self, pulls: Mapping[str, int]) -> Mix:
        """Return the mix with clones by type as in `pulls`, which the log of actions counts.

        It has no pages, so their share, and that of all clones, stay assumed.
        """
        total = sum(pulls.get(kind, 0) for kind in self.repositories)
        if not total:
            return self
        clones = sum(share for kind, share in self.shares.items() if kind in CLONES.values())
        shares = dict(self.shares)
        for kind in self.repositories:
            shares[CLONES[kind]] = clones * pulls.get(kind, 0) / total
        return replace(self, shares=shares, source=f"{ASSUMED}, clones as in the log of actions")


def mix_of(repositories: Mapping[str, str], pulls: Optional[Mapping[str, int]] = None) -> Mix:
    """Return the mix for `repositories` by type, with assumed shares but for `pulls` by type."""
    return Mix(repositories, _shares(SHARES, repositories)).with_pulls(pulls or {})


def deck(mix: Mix) -> tuple[Kind, ...]:
    """Return `DECK` kinds in the mix's shares, in an order that is the same for the same mix.

    Every level of a load gets the same requests then: a clone more or less moves the result more
    than a process. A kind with any share occurs once at least.
    """
    cards = [
        kind
        for kind in Kind
        for _ in range(
            max(math.ceil(mix.shares.get(kind, 0)), round(mix.shares.get(kind, 0) * DECK))
        )
    ]
    random.Random(1).shuffle(cards)
    return tuple(cards)


def _shares(counts: Mapping[Kind, float], repositories: Mapping[str, str]) -> dict[Kind, float]:
    absent = {clone for kind, clone in CLONES.items() if kind not in repositories}
    left = {kind: count for kind, count in counts.items() if kind not in absent and count > 0}
    if not repositories:
        left = {kind: count for kind, count in left.items() if kind is Kind.front}
    total = sum(left.values())
    return {kind: count / total for kind, count in left.items()} if total else {Kind.front: 1.0}
