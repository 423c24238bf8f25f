"""The same real request with Beaker's cache cold, warm and off, in the application itself."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Sequence

from kallithea_tune.app import repositories, visit
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.application import visited
from kallithea_tune.perf_check.caching.beaker_files import live_namespaces
from kallithea_tune.perf_check.caching.regions import cache_regions, cache_uses, label
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.statistics import Interval, paired_difference

if TYPE_CHECKING:
    from beaker.cache import Cache

# The path at which each of Kallithea's caching functions is used; the first matters most.
PATHS = {"README": "/%s", "feed": "/%s/feed/atom"}
# Fewer rounds than the first have no 95 % interval; more than the last add little.
ENOUGH, MOST = 5, 8
STATES = ("cold", "warm", "off")


@dataclass(frozen=True)
class Page:
    """A page to request, and the region and Beaker namespace that its `label` is cached in.

    The live namespace has so many `entries` and `size` bytes.
    """

    label: str
    path: str
    region: str
    namespace: str
    entries: int = 0
    size: int = 0


@dataclass(frozen=True)
class Effect:
    """The median milliseconds of a page in each state, and the differences with their intervals.

    `saved` is what a hit saves compared with no caching, `lost` what a miss costs more than that.
    """

    cold_ms: float
    warm_ms: float
    off_ms: float
    saved: Interval
    lost: Interval
    rounds: int

    @property
    def break_even(self) -> float:
        """The share of hits, from 0 to 1, above which the cache saves time."""
        gain, loss = max(0.0, self.saved.estimate), max(0.0, self.lost.estimate)
        return loss / (gain + loss) if gain + loss else 0.0


@dataclass(frozen=True)
class PageEffect:
    """The effect of the cache on a page; None with the `reason` where it was not measured."""

    page: Page
    effect: Optional[Effect]
    reason: str = ""


@dataclass(frozen=True)
class CacheEffect:
    """The effect of the cache on each page that uses it; `section` is that of the application."""

    pages: tuple[PageEffect, ...]
    section: str = ""

    @property
    def examined(self) -> Examined:
        """The pages that were requested often enough."""
        measured = sum(page.effect is not None for page in self.pages)
        return Examined(measured, len(self.pages), "page with cached parts")


@measurement(
    seconds=20.0,
    writes="cache_dir",
    needs=("database", "app"),
    uses=(cache_regions, cache_uses, live_namespaces),
)
def cache_effect(context: Context) -> CacheEffect:
    """Request the pages of the last changed repository with the cache cold, warm and off."""
    newest = repositories.latest(context.instance)
    if not newest:
        raise NotMeasured("there is no repository to request")
    pages = cached_pages(context, next(iter(newest.values())))
    if not pages:
        return CacheEffect(())
    answers = measure(context, pages, context.deadline.left)
    return CacheEffect(tuple(map(_page_effect, pages, answers)), context.instance.section)


def cached_pages(context: Context, repository: str) -> list[Page]:
    """Return the page that shows the result of each function of `PATHS` whose region is enabled."""
    regions, live = context.measure(cache_regions), context.measure(live_namespaces)
    pages = []
    for use in context.measure(cache_uses).uses:
        region, name = regions.get(use.region), label(use.function)
        if name not in PATHS or region is None or not region.enabled:
            continue
        if region.type not in ("file", "memory", "dbm"):
            raise NotMeasured(f"the effect of a cache of type {region.type} on another server")
        kept = live.of(use, region) if region.type == "file" else None
        size = (kept.entries, kept.bytes) if kept else (0, 0)
        pages.append(Page(name, PATHS[name] % repository, use.region, use.namespace, *size))
    return sorted(pages, key=lambda page: list(PATHS).index(page.label))


def _page_effect(page: Page, answers: Sequence[visit.Answer]) -> PageEffect:
    try:
        return PageEffect(page, effect_of(answers))
    except NotMeasured as error:
        return PageEffect(page, None, str(error))


def measure(context: Context, pages: Sequence[Page], seconds: float) -> list[list[visit.Answer]]:
    """Request each page cold, warm and with caching off, in turn, as often as `seconds` allow.

    Returns for each page its answers in threes of `STATES`. Each page in turn gets `ENOUGH` rounds;
    the remaining time is shared. The caches are in a
    scratch directory inside cache_dir, filled as much as the live ones.
    """
    # The first request for a page imports modules and compiles templates, and is not counted.
    plan = [(number, state) for number in range(len(pages)) for state in ("cold", *STATES * ENOUGH)]
    plan += [
        (number, state)
        for _ in range(ENOUGH, MOST)
        for number in range(len(pages))
        for state in STATES
    ]
    visits = visited(context, [_request(pages[number], state) for number, state in plan], seconds)
    return [
        [
            answer
            for (requested, _), answer in zip(plan, visits.answers)
            if requested == number and answer.status
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
            raise NotMeasured(f"{answer.path} was answered with status {answer.status}")
    rounds = len(answers) // len(STATES)
    if rounds < ENOUGH:
        raise NotMeasured(f"there was time for {rounds} of {ENOUGH} rounds")
    cold, warm, off = (
        [answer.ms[0] for answer in answers[start : rounds * len(STATES) : len(STATES)]]
        for start in range(len(STATES))
    )
    return Effect(
        statistics.median(cold),
        statistics.median(warm),
        statistics.median(off),
        paired_difference(off, warm),
        paired_difference(cold, off),
        rounds,
    )


def put_into(state: str, region: str, namespace: str, entries: int, size: int) -> None:
    """Make the cache cold, warm or off for the next request, in the application's process.

    Cold is a namespace of `entries` others and `size` bytes that lacks the request's own.
    """
    from beaker.cache import Cache
    from beaker.cache import cache_regions as regions

    if region not in regions:
        raise NotMeasured(f"the application has no cache region {region}")
    settings = dict(regions[region], enabled=True)
    if state == "cold":
        _refill(Cache._get_cache(namespace, settings), entries, size)
    regions[region] = dict(settings, enabled=state != "off")


def _refill(cache: Cache, entries: int, size: int) -> None:
    """Empty the namespace, or restore its seeded state."""
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
