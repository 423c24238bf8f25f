"""Whether the cache is worth having: what a real request takes with it and without it."""

from __future__ import annotations

from typing import Any, Iterator

from kallithea_tune.checks.caching import cache_regions, cache_uses, file_uses, label, live_namespaces
from kallithea_tune.checks.model import Context, Finding, Severity, check
from kallithea_tune.errors import NotMeasured
from kallithea_tune.probes import cache_effect, wsgi

# Where Kallithea's caching functions are reached, and what an admin calls such a request.
PAGES = {"README": ("/%s", "README view"), "feed": ("/%s/feed/atom", "feed request")}
MEASURED = "measured here; percentile bootstrap of paired differences (Efron and Tibshirani)"


def judge_effect(name: str, region: str, effect: cache_effect.Effect) -> Finding:
    """Judge by what a hit saves and a miss loses against no caching, with their 95 % intervals."""
    saved, lost, per = effect.saved, effect.lost, PAGES[name][1]
    common: dict[str, Any] = {
        "subject": per, "source": MEASURED, "threshold": "a saving above 0 ms",
        "evidence": {
            "off_ms": effect.off_ms, "warm_ms": effect.warm_ms, "cold_ms": effect.cold_ms, "saved_ms": saved.estimate,
            "saved_from_ms": saved.low, "saved_to_ms": saved.high, "lost_from_ms": lost.low, "lost_to_ms": lost.high,
            "rounds": effect.rounds},
    }
    remedy = "set beaker.cache.%s.enabled = false, or empty the cache: see CAC001" % region
    if saved.below_zero:
        return Finding(
            Severity.warning, "a %s from the cache is %.2g ms slower than without it" % (per, -saved.estimate),
            remedy=remedy, impact_ms=-saved.estimate, impact_per=per, **common)
    if not saved.above_zero:
        if lost.above_zero and lost.estimate >= 1:
            return Finding(
                Severity.advice, "the cache saves a %s nothing; a miss costs it %.3g ms" % (per, lost.estimate),
                remedy=remedy, impact_ms=lost.estimate, impact_per="%s that misses" % per, **common)
        return Finding(Severity.ok, "the cache has no measurable effect on a %s" % per, **common)
    if lost.above_zero and effect.break_even > 0.5:
        return Finding(
            Severity.advice, "%s: a hit saves %.2g ms, a miss loses %.3g: pays above %.0f %% hits" % (
                per, saved.estimate, lost.estimate, effect.break_even * 100),
            remedy=remedy, impact_ms=lost.estimate, impact_per="%s that misses" % per, **common)
    return Finding(
        Severity.ok, "the cache saves %.2g ms (%.2g to %.2g) per %s" % (saved.estimate, saved.low, saved.high, per),
        impact_ms=-saved.estimate, impact_per=per, **common)


@check("CAC002", "cache-effect", "Effect of the cache on real requests", "caching", seconds=5.0,
       writes="cache_dir", needs=("ini", "database", "app"), tags=("cache", "probe", "app"))
def effect(context: Context) -> Iterator[Finding]:
    """Ask the application, in-process, for a repository's summary page (README) and atom feed: cold, warm, and off.

    In each round each page is asked for with its cache entry missing, then present, then with the region switched off;
    the first round is not counted. The caches live in a scratch directory inside cache_dir, filled by Beaker with as
    many entries and bytes as the live ones hold. The repository is the one changed last. From the differences within
    each round come what a hit saves and what a miss loses against no caching, with 95 % bootstrap intervals.

    Where the interval holds zero, the cache has no measurable effect. A hit that is slower than no cache is a warning;
    a cache that loses more by a miss than it saves by a hit is worth a second thought.
    """
    pages, shown = [], []
    found = wsgi.repositories(context.instance)
    if not found:
        raise NotMeasured("there is no repository to ask for")
    repository = next(iter(found.values()))
    sizes = {kept["path"]: kept for kept in live_namespaces(context)}
    for use in cache_uses(context):
        region = cache_regions(context).get(use.region, {})
        name = label(use.function)
        if name not in PAGES or not region.get("enabled"):
            continue
        if region["type"] not in ("file", "memory", "dbm"):
            raise NotMeasured("the effect of a cache of type %s on another server" % region["type"])
        kept = sizes.get(use.file(region.get("data_dir") or ""), {"entries": 0, "bytes": 0})
        pages.append(cache_effect.Page(
            PAGES[name][0] % repository, use.region, use.namespace, kept["entries"], kept["bytes"]))
        shown.append((name, use.region))
    if pages:
        effects = cache_effect.measure(context.instance, pages, context.deadline.left)
        for (name, region_name), measured in zip(shown, effects):
            yield judge_effect(name, region_name, measured)


LATE_SECONDS = 3600


def judge_feed_key(entries: int, with_revision: int, expire: int, region: str) -> Finding:
    """A cache key without the revision serves the old feed until it expires, whatever was pushed since."""
    common: dict[str, Any] = {
        "evidence": {"feeds_cached": entries, "keys_with_revision": with_revision, "expire_days": expire / 86400},
        "threshold": "%d s" % LATE_SECONDS, "source": "Kallithea 0.7.0, controllers/feed.py; limit: our judgement"}
    if not entries:
        return Finding(Severity.ok, "no feed is in the cache", **common)
    if with_revision == entries or expire <= LATE_SECONDS:
        return Finding(Severity.ok, "feeds show a push at once, or within the hour", **common)
    return Finding(
        Severity.warning, "feeds show a push up to %.3g days late: their key has no revision" % (expire / 86400),
        remedy="set beaker.cache.%s.expire = %d, and empty the cache once" % (region, LATE_SECONDS), **common)


@check("CAC006", "cache-feed-key", "Age of cached feeds", "caching", seconds=0.5, tags=("cache", "probe"))
def feed_key(context: Context) -> Iterator[Finding]:
    """Look at the keys of the cached feeds, read from the pickle's opcodes: does one name a revision?

    Kallithea makes the key of a feed from the repository's name and the kind of feed only, and never invalidates it, so
    that readers see a push when the entry expires: after 7 days by default. An hour is our judgement. Where no feed is
    in the cache, nobody has asked for one.
    """
    sizes = {kept["path"]: kept for kept in live_namespaces(context)}
    for use, region in file_uses(context):
        if label(use.function) == "feed":
            kept = sizes.get(use.file(region["data_dir"]), {"entries": 0, "revision_keys": 0})
            yield judge_feed_key(kept["entries"], kept["revision_keys"], region.get("expire") or 10 ** 9, use.region)
