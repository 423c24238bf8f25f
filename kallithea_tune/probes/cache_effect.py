"""The same real request with its cache entry missing, present, and with caching off, in turn, in-process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.instance import Instance
from kallithea_tune.probes import wsgi
from kallithea_tune.probes.statistics import Interval, paired_difference

# Fewer pairs than this say nothing; more than this add nothing.
FEWEST, MOST = 6, 40
STATES = ("cold", "warm", "off")


@dataclass(frozen=True)
class Page:
    """A page to ask for, the region and Beaker namespace it caches in, and what that holds: entries and bytes."""

    path: str
    region: str
    namespace: str
    entries: int = 0
    size: int = 0


@dataclass(frozen=True)
class Effect:
    """The median milliseconds of a page in each state, and the differences that matter with their intervals.

    `saved` is what a hit saves against no caching at all, `lost` what a miss costs more than that. `keys` are the
    cache keys that the page made.
    """

    cold_ms: float
    warm_ms: float
    off_ms: float
    saved: Interval
    lost: Interval
    rounds: int
    keys: tuple[str, ...] = ()

    @property
    def break_even(self) -> float:
        """The share of hits, from 0 to 1, above which the cache saves time."""
        gain, loss = max(0.0, self.saved.estimate), max(0.0, self.lost.estimate)
        return loss / (gain + loss) if gain + loss else 0.0


def measure(instance: Instance, pages: Sequence[Page], seconds: float) -> list[Effect]:
    """Ask for each page cold, warm and with caching off, in turn, as often as `seconds` allow, and compare.

    The caches live in a scratch directory inside cache_dir, filled with as much as the live ones hold. Raises
    NotMeasured where a page is not answered with 200, or too few rounds were possible.
    """
    requests = [
        wsgi.Request(page.path, prepare="kallithea_tune.probes.cache_effect:put_into", arguments={
            "state": state, "region": page.region, "namespace": page.namespace, "entries": page.entries,
            "size": page.size})
        for page in pages for state in STATES]
    answers = wsgi.visit(instance, requests, seconds, rounds=MOST + 1).answers
    return [_effect(answers[start:start + len(STATES)]) for start in range(0, len(answers), len(STATES))]


def _effect(answers: Sequence[wsgi.Answer]) -> Effect:
    for answer in answers:
        if answer.status not in (0, 200):
            raise NotMeasured("%s was answered with status %d" % (answer.path, answer.status))
    # The first round imports modules and compiles templates.
    rounds = min(len(answer.ms) for answer in answers)
    if rounds <= FEWEST:
        raise NotMeasured("the time allowed %d rounds of %s only" % (rounds, answers[0].path))
    cold, warm, off = (answer.ms[1:rounds] for answer in answers)
    medians = [sorted(times)[len(times) // 2] for times in (cold, warm, off)]
    return Effect(
        medians[0], medians[1], medians[2], paired_difference(off, warm), paired_difference(cold, off), rounds - 1,
        tuple(answers[2].prepared))


def put_into(state: str, region: str, namespace: str, entries: int, size: int) -> list[str]:
    """Make the cache cold, warm or off for the next request; in the child that holds the application only.

    Cold is a namespace of `entries` others and `size` bytes that lacks the request's own. Returns the keys that
    requests have made since.
    """
    from beaker.cache import Cache, cache_regions

    if region not in cache_regions:
        raise NotMeasured("the application has no cache region %s" % region)
    settings: Mapping[str, Any] = dict(cache_regions[region], enabled=True)
    cache = Cache._get_cache(namespace, settings)
    keys = _keys(cache) if state == "off" else []
    if state == "cold":
        _refill(cache, entries, size)
    cache_regions[region] = dict(settings, enabled=state != "off")
    return keys


def _keys(cache: Any) -> list[str]:
    cache.namespace.acquire_read_lock()
    try:
        keys = [key.decode("ascii", "replace") for key in list(cache.namespace.keys())]
    finally:
        cache.namespace.release_read_lock()
    return [key for key in keys if not key.startswith("seed ")]


def _refill(cache: Any, entries: int, size: int) -> None:
    """Empty the namespace, or bring it back to its seeded state."""
    from kallithea_tune.probes import beaker_cost

    if not entries or not hasattr(cache.namespace, "file"):
        cache.clear()
        return
    # Beaker replaces the file by rename(2), so the seeded one can be kept as a second link.
    kept = cache.namespace.file + ".seed"
    if not os.path.exists(kept):
        beaker_cost.seed(cache, entries, size)
        os.link(cache.namespace.file, kept)
    os.unlink(cache.namespace.file)
    os.link(kept, cache.namespace.file)
