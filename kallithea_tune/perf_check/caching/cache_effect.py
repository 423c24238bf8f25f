"""The same real request with Beaker's cache cold, warm and off, in the application itself."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from kallithea_tune.app import visit
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.statistics import Interval, paired_difference

# Fewer rounds than the first say nothing, than the second have no 95 % interval; more than the last
# add little.
FEWEST, ENOUGH, MOST = 3, 5, 8
STATES = ("cold", "warm", "off")


@dataclass(frozen=True)
class Page:
    """A page to ask for, the region and Beaker namespace it caches in, and what that holds: entries
    and bytes.
    """

    path: str
    region: str
    namespace: str
    entries: int = 0
    size: int = 0


@dataclass(frozen=True)
class Effect:
    """The median milliseconds of a page in each state, and the differences that matter with their
    intervals.

    `saved` is what a hit saves against no caching at all, `lost` what a miss costs more than that.
    From fewer than `ENOUGH` rounds these are whole ranges, and not `sure`.
    """

    cold_ms: float
    warm_ms: float
    off_ms: float
    saved: Interval
    lost: Interval
    rounds: int

    @property
    def sure(self) -> bool:
        """Whether there were rounds enough for 95 % intervals."""
        return self.rounds >= ENOUGH

    @property
    def break_even(self) -> float:
        """The share of hits, from 0 to 1, above which the cache saves time."""
        gain, loss = max(0.0, self.saved.estimate), max(0.0, self.lost.estimate)
        return loss / (gain + loss) if gain + loss else 0.0


def measure(instance: Instance, pages: Sequence[Page], seconds: float) -> list[list[visit.Answer]]:
    """Ask for each page cold, warm and with caching off, in turn, as often as `seconds` allow.

    Returns for each page its answers in threes of `STATES`. Each page in turn gets `FEWEST` rounds,
    then each as many more as make them `ENOUGH`; what time is left is shared. The caches live in a
    scratch directory inside cache_dir, filled with as much as the live ones hold.
    """
    # The first request for a page imports modules and compiles templates, and is not counted.
    plan = [(number, state) for number in range(len(pages)) for state in ("cold", *STATES * FEWEST)]
    plan += [
        (number, state) for number in range(len(pages)) for state in STATES * (ENOUGH - FEWEST)
    ]
    plan += [
        (number, state)
        for _ in range(ENOUGH, MOST)
        for number in range(len(pages))
        for state in STATES
    ]
    visits = visit.visit(
        instance, [_request(pages[number], state) for number, state in plan], seconds
    )
    return [
        [
            answer
            for (asked, _), answer in zip(plan, visits.answers)
            if asked == number and answer.status
        ][1:]
        for number in range(len(pages))
    ]


def _request(page: Page, state: str) -> visit.Request:
    return visit.Request(
        page.path,
        prepare=put_into,
        arguments={
            "state": state,
            "region": page.region,
            "namespace": page.namespace,
            "entries": page.entries,
            "size": page.size,
        },
    )


def effect_of(answers: Sequence[visit.Answer]) -> Effect:
    """Compare the answers for one page, as `measure` returns them.

    Raises NotMeasured where one was not answered with 200, or there are too few.
    """
    for answer in answers:
        if answer.status != 200:
            raise NotMeasured("%s was answered with status %d" % (answer.path, answer.status))
    rounds = len(answers) // len(STATES)
    if rounds < FEWEST:
        raise NotMeasured("there was time for %d rounds of %d" % (rounds, FEWEST))
    cold, warm, off = (
        [answer.ms[0] for answer in answers[start : rounds * len(STATES) : len(STATES)]]
        for start in range(len(STATES))
    )
    return Effect(
        statistics.median(cold),
        statistics.median(warm),
        statistics.median(off),
        _difference(off, warm),
        _difference(cold, off),
        rounds,
    )


def _difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Return the interval of `paired_difference`, or the whole range where there are too few pairs
    for that.
    """
    if len(first) >= ENOUGH:
        return paired_difference(first, second)
    ranked = sorted(one - other for one, other in zip(first, second))
    return Interval(ranked[0], statistics.median(ranked), ranked[-1])


def put_into(state: str, region: str, namespace: str, entries: int, size: int) -> None:
    """Make the cache cold, warm or off for the next request; in the child that holds the
    application only.

    Cold is a namespace of `entries` others and `size` bytes that lacks the request's own.
    """
    from beaker.cache import Cache, cache_regions

    if region not in cache_regions:
        raise NotMeasured(f"the application has no cache region {region}")
    settings: Mapping[str, Any] = dict(cache_regions[region], enabled=True)
    if state == "cold":
        _refill(Cache._get_cache(namespace, settings), entries, size)
    cache_regions[region] = dict(settings, enabled=state != "off")


def _refill(cache: Any, entries: int, size: int) -> None:
    """Empty the namespace, or bring it back to its seeded state."""
    from kallithea_tune.perf_check.caching import beaker_cost

    if not entries:
        cache.clear()
        return
    # Beaker replaces the file by rename(2), so the seeded one can be kept as a second link.
    kept = cache.namespace.file + ".seed"
    if not os.path.exists(kept):
        beaker_cost.seed(cache, entries, size)
        os.link(cache.namespace.file, kept)
    os.unlink(cache.namespace.file)
    os.link(kept, cache.namespace.file)
