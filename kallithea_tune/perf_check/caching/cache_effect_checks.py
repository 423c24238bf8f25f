"""Whether the cache is worth having: what a real request takes with it and without it."""

from __future__ import annotations

import shlex
from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.app import visit
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.caching import cache_effect
from kallithea_tune.perf_check.caching.beaker_files_checks import (
    cache_regions,
    cache_uses,
    file_uses,
    label,
    namespace_of,
)
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.text import figure

# Where Kallithea's caching functions are reached, and what an admin calls such a request; the first
# matters most.
PAGES = {"README": ("/%s", "README view"), "feed": ("/%s/feed/atom", "feed request")}
MEASURED = "measured here; percentile bootstrap of paired differences (Efron and Tibshirani)"


def judge_effect(name: str, region: str, effect: cache_effect.Effect) -> Finding:
    """Judge by what a hit saves and a miss loses against no caching, with their 95 % intervals."""
    saved, lost, per = effect.saved, effect.lost, PAGES[name][1]
    common: dict[str, Any] = {
        "subject": per,
        "source": MEASURED,
        "threshold": "a saving above 0 ms",
        "confidence": "high" if effect.sure else "low",
        "evidence": {
            "off_ms": effect.off_ms,
            "warm_ms": effect.warm_ms,
            "cold_ms": effect.cold_ms,
            "rounds": effect.rounds,
            "saved_ms": saved.estimate,
            "saved_from_ms": saved.low,
            "saved_to_ms": saved.high,
            "lost_ms": lost.estimate,
            "lost_from_ms": lost.low,
            "lost_to_ms": lost.high,
        },
    }
    remedy = f"empty it (CAC001), or set beaker.cache.{region}.enabled = false"
    if saved.below_zero:
        return Finding(
            Severity.warning,
            f"a {per} from the cache is {figure(-saved.estimate)} ms slower ({figure(-saved.high)} to {figure(-saved.low)})",
            remedy=remedy,
            impact_ms=-saved.estimate,
            impact_per=per,
            **common,
        )
    if not saved.above_zero:
        if lost.above_zero and lost.estimate >= 1:
            return Finding(
                Severity.advice,
                f"no gain for a {per}; a miss costs {figure(lost.estimate)} ms ({figure(lost.low)} to {figure(lost.high)})",
                remedy=remedy,
                impact_ms=lost.estimate,
                impact_per=f"{per} that misses",
                **common,
            )
        return Finding(
            Severity.ok,
            f"no measurable effect of the cache on a {per}: {figure(saved.low)} to {figure(saved.high)} ms",
            **common,
        )
    if lost.above_zero and effect.break_even > 0.5:
        return Finding(
            Severity.advice,
            f"{per}: a hit saves {figure(saved.estimate)} ms, a miss loses {figure(lost.estimate)}: needs {effect.break_even * 100:.0f} % hits",
            remedy=remedy,
            impact_ms=lost.estimate,
            impact_per=f"{per} that misses",
            **common,
        )
    return Finding(
        Severity.ok,
        f"the cache saves a {per} {figure(saved.estimate)} ms ({figure(saved.low)} to {figure(saved.high)})",
        impact_ms=-saved.estimate,
        impact_per=per,
        **common,
    )


@check(
    "CAC002",
    "cache-effect",
    "Effect of the cache on real requests",
    "caching",
    seconds=12.0,
    writes="cache_dir",
    needs=("ini", "database", "app"),
    tags=("cache", "probe", "app"),
)
def effect(context: Context) -> Iterator[Finding]:
    """Ask the application, in-process, for a repository's summary page (README) and atom feed:
    cold, warm, and off.

    In each round a page is asked for with its cache entry missing, then present, then with the
    region switched off. The caches live in a scratch directory inside cache_dir, filled by Beaker
    with as many entries and bytes as the live ones hold. The repository is the one changed last.
    From the differences within each round come what a hit saves and what a miss loses against no
    caching, with 95 % bootstrap intervals (the whole range where there was time for 3 or 4 rounds
    only; confidence is low then).

    Where the interval holds zero, the cache has no measurable effect. A hit that is slower than no
    cache is a warning; a cache that loses more by a miss than it saves by a hit is worth a second
    thought.
    """
    found = visit.repositories(context.instance)
    if not found:
        raise NotMeasured("there is no repository to ask for")
    pages = sorted(
        cached_pages(context, next(iter(found.values()))), key=lambda page: [*PAGES].index(page[0])
    )
    if not pages:
        return
    asked = cache_effect.measure(
        context.instance, [page for _, page in pages], context.deadline.left
    )
    for (name, page), answers in zip(pages, asked):
        try:
            yield judge_effect(name, page.region, cache_effect.effect_of(answers))
        except NotMeasured as error:
            yield Finding(Severity.unknown, f"not measured: {error}", subject=PAGES[name][1])


def cached_pages(context: Context, repository: str) -> Iterator[tuple[str, cache_effect.Page]]:
    """Yield what is cached, and the page that shows it, for each function of `PAGES` whose region
    is on.
    """
    for use in cache_uses(context):
        region = cache_regions(context).get(use.region, {})
        name = label(use.function)
        if name not in PAGES or not region.get("enabled"):
            continue
        if region["type"] not in ("file", "memory", "dbm"):
            raise NotMeasured(
                "the effect of a cache of type {} on another server".format(region["type"])
            )
        kept = namespace_of(context, use, region) if region["type"] == "file" else None
        yield (
            name,
            cache_effect.Page(
                PAGES[name][0] % repository,
                use.region,
                use.namespace,
                kept["entries"] if kept else 0,
                kept["bytes"] if kept else 0,
            ),
        )


LATE_SECONDS = 3600


def judge_feed_key(
    kept: Optional[Mapping[str, Any]], expire: Optional[int], region: str
) -> Finding:
    """A cache key without the revision serves the old feed until it expires, whatever was pushed
    since.
    """
    common: dict[str, Any] = {
        "threshold": "%d s" % LATE_SECONDS,
        "source": "Kallithea 0.7.0, controllers/feed.py; limit: our judgement",
    }
    if not kept or not kept["entries"]:
        return Finding(
            Severity.ok, "no feed is in the cache", evidence={"feeds_cached": 0}, **common
        )
    days = expire / 86400 if expire else None
    common["evidence"] = {
        "feeds_cached": kept["entries"],
        "keys_with_revision": kept["revision_keys"],
        "expire_days": days or "never",
    }
    if kept["revision_keys"] == kept["entries"] or expire and expire <= LATE_SECONDS:
        return Finding(Severity.ok, "feeds show a push at once, or within the hour", **common)
    return Finding(
        Severity.warning,
        "feeds are up to {} old: their cache key has no revision".format(
            f"{figure(days)} days" if days else "any number of days"
        ),
        remedy="set beaker.cache.%s.expire = %d; once: find %s/container_file -name '*.cache' -delete"
        % (region, LATE_SECONDS, shlex.quote(kept["data_dir"])),
        **common,
    )


@check(
    "CAC006",
    "cache-feed-key",
    "Age of cached feeds",
    "caching",
    seconds=0.5,
    tags=("cache", "probe"),
    shares="cache files",
)
def feed_key(context: Context) -> Iterator[Finding]:
    """Look at the keys of the cached feeds, read from the pickle's opcodes: does one name a
    revision?

    Kallithea makes the key of a feed from the repository's name and the kind of feed only, and
    never invalidates it, so that readers see a push when the entry expires: after 7 days by
    default. An hour is our judgement. Where no feed is in the cache, nobody has asked for one.
    """
    for use, region in file_uses(context):
        if label(use.function) == "feed":
            yield judge_feed_key(
                namespace_of(context, use, region), region.get("expire"), use.region
            )
