"""Whether the cache is worth having, and whether cached feeds are up to date."""

from __future__ import annotations

from functools import partial
from typing import Iterator, Optional

from kallithea_tune.perf_check.caching.beaker_files import Namespace, Namespaces, live_namespaces
from kallithea_tune.perf_check.caching.cache_effect import CacheEffect, Effect, cache_effect
from kallithea_tune.perf_check.caching.regions import label
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Steps, app_options, steps_of
from kallithea_tune.perf_check.remedy import Effect as CommandEffect
from kallithea_tune.perf_check.statistics import Interval
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure

# What an admin calls a request for the page that shows a cached result.
REQUESTS = {"README": "README view", "feed": "feed request"}
MEASURED = "measured here; percentile bootstrap of paired differences (Efron and Tibshirani)"


def judge_effect(name: str, region: str, effect: Effect, section: str = "") -> Finding:
    """Judge by what a hit saves and a miss loses against no caching, with their 95 % intervals."""
    saved, lost, per = effect.saved, effect.lost, REQUESTS[name]
    finding = partial(
        Finding,
        subject=per,
        source=MEASURED,
        threshold="a saving above 0 ms",
        evidence=_evidence(effect),
    )
    remedy = app_options(
        section, {f"beaker.cache.{region}.enabled": "false"}, "unless CAC001 helps"
    )
    if saved.below_zero:
        slowdown = Interval(-saved.high, -saved.estimate, -saved.low)
        return finding(
            Severity.warning,
            f"a {per} from the cache is {figure(slowdown.estimate)} ms slower {_range(slowdown)}",
            remedy=remedy,
            impact_ms=slowdown.estimate,
            impact_per=per,
        )
    costly = partial(
        finding,
        Severity.advice,
        remedy=remedy,
        impact_ms=lost.estimate,
        impact_per=f"{per} that misses",
    )
    loss, saving = figure(lost.estimate), figure(saved.estimate)
    if not saved.above_zero and lost.above_zero and lost.estimate >= 1:
        return costly(f"no gain for a {per}; a miss costs {loss} ms {_range(lost)}")
    if not saved.above_zero:
        interval = _range(saved).strip("()")
        return finding(Severity.ok, f"no measurable effect of the cache on a {per}: {interval} ms")
    if lost.above_zero and effect.break_even > 0.5:
        share = f"{effect.break_even * 100:.0f} %"
        return costly(f"{per}: a hit saves {saving} ms, a miss loses {loss}: needs {share} hits")
    diagnosis = f"the cache saves a {per} {saving} ms {_range(saved)}"
    return finding(Severity.ok, diagnosis, impact_ms=-saved.estimate, impact_per=per)


def _range(interval: Interval) -> str:
    return f"({figure(interval.low)} to {figure(interval.high)})"


def _evidence(effect: Effect) -> dict[str, object]:
    return {
        "off_ms": effect.off_ms,
        "warm_ms": effect.warm_ms,
        "cold_ms": effect.cold_ms,
        "rounds": effect.rounds,
        "saved_ms": effect.saved.estimate,
        "saved_from_ms": effect.saved.low,
        "saved_to_ms": effect.saved.high,
        "lost_ms": effect.lost.estimate,
        "lost_from_ms": effect.lost.low,
        "lost_to_ms": effect.lost.high,
    }


@check(
    "CAC002",
    "cache-effect",
    "Effect of the cache on real requests",
    measures=(cache_effect,),
    tags=("cache", "probe", "app"),
    disturbed_by=(Part.cpu, Part.disk),
)
def effect(measured: CacheEffect) -> Iterator[Finding]:
    """Judge what the cache saves or costs for each page that uses it."""
    for item in measured.pages:
        if item.effect:
            yield judge_effect(item.page.label, item.page.region, item.effect, measured.section)
        else:
            yield Finding(
                Severity.unknown,
                f"not measured: {item.reason}",
                subject=REQUESTS[item.page.label],
            )


LATE_SECONDS = 3600


def judge_feed_key(
    kept: Optional[Namespace], expire: Optional[int], region: str, section: str = ""
) -> Finding:
    """A cache key without the revision serves the old feed until it expires, despite pushes."""
    finding = partial(
        Finding,
        threshold=f"{LATE_SECONDS} s",
        source="Kallithea 0.7.0, controllers/feed.py; limit: our judgement",
    )
    if not kept or not kept.entries:
        return finding(Severity.ok, "no feed is in the cache", evidence={"feeds_cached": 0})
    days = expire / 86400 if expire else None
    finding = partial(
        finding,
        evidence={
            "feeds_cached": kept.entries,
            "keys_with_revision": kept.revision_keys,
            "expire_days": days or "never",
        },
    )
    if kept.revision_keys == kept.entries or (expire and expire <= LATE_SECONDS):
        return finding(Severity.ok, "feeds show a push at once, or within the hour")
    age = f"{figure(days)} days" if days else "any number of days"
    hourly = app_options(section, {f"beaker.cache.{region}.expire": str(LATE_SECONDS)})
    once = Command(("find", kept.path, "-type", "f", "-delete"), effect=CommandEffect.deletes)
    return finding(
        Severity.warning,
        f"feeds are up to {age} old: their cache key does not include the revision",
        remedy=Steps((*steps_of(hourly), once)),
    )


@check(
    "CAC006",
    "cache-feed-key",
    "Age of cached feeds",
    measures=(live_namespaces,),
    tags=("cache", "probe"),
    harm=Harm.some_pages,
)
def feed_key(live: Namespaces) -> Iterator[Finding]:
    """Judge by the keys of the cached feeds whether a feed shows a push before it expires."""
    for item in live.uses:
        if label(item.use.function) == "feed":
            kept = live.of(item.use, item.region)
            yield judge_feed_key(kept, item.region.expire, item.use.region, live.section)
