"""What the settings make of Beaker's cache regions, and whether that is what the application asks
for.
"""

from __future__ import annotations

import os
from typing import Any, Iterator, Mapping, Optional, Sequence

from kallithea_tune.app import beaker_config
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.caching.beaker_files_checks import cache_regions, cache_uses, label
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check

Region = Mapping[str, Any]
BEAKER = "Beaker 1.14, cache.py and container.py"
# Of backends from elsewhere ("ext:...") some options have free names, so only these are looked at.
_PLAIN_BACKENDS = ("file", "dbm", "memory")


def judge_region(
    name: str, region: Region, functions: Sequence[str], accepted: Optional[frozenset[str]]
) -> Finding:
    """Judge one configured region: is it used, complete, and does Beaker know all of its
    options?
    """
    seen: dict[str, Any] = {key: region.get(key) for key in ("type", "expire", "enabled")}
    seen["used_by"] = functions or "nothing"
    common: dict[str, Any] = {"subject": name, "source": BEAKER, "evidence": seen}
    prefix = f"beaker.cache.{name}."
    if accepted is None:
        return Finding(
            Severity.error if functions else Severity.advice,
            "Beaker has no cache type '{}': every use of region {} fails".format(
                region["type"], name
            ),
            remedy=f"set {prefix}type = file",
            **common,
        )
    if region["type"] in ("file", "dbm") and not region.get("data_dir"):
        return Finding(
            Severity.error if functions else Severity.advice,
            f"region {name} keeps files, but no directory is set: its use fails",
            remedy="set cache_dir = %(here)s/data in the application's section",
            **common,
        )
    unknown = sorted(set(region) - accepted) if region["type"] in _PLAIN_BACKENDS else []
    if unknown:
        return Finding(
            Severity.warning,
            f"Beaker ignores the option {prefix}{unknown[0]}",
            remedy="correct or remove {}".format(", ".join(prefix + key for key in unknown)),
            **common,
        )
    if not functions:
        return Finding(
            Severity.advice,
            f"no code of the application uses the cache region {name}",
            remedy=f"take {name} out of beaker.cache.regions, with its options",
            **common,
        )
    if region.get("enabled") and not region.get("expire"):
        return Finding(
            Severity.warning,
            f"what is in region {name} never expires",
            remedy=f"set {prefix}expire = 604800",
            **common,
        )
    if region["type"] not in _PLAIN_BACKENDS:
        return Finding(
            Severity.unknown, f"not measured: whether the store of region {name} answers", **common
        )
    return Finding(Severity.ok, f"region {name} is complete and in use", **common)


def judge_missing(name: str, functions: Sequence[str]) -> Finding:
    """Code asks for a region that is not configured: Beaker raises an exception at each use."""
    return Finding(
        Severity.error,
        f"region {name} is used by the code but not configured",
        subject=name,
        source=BEAKER,
        evidence={"used_by": functions, "exception": f"Cache region not configured: {name}"},
        remedy=f"add {name} to beaker.cache.regions, and beaker.cache.{name}.type = file",
    )


def judge_stray(names: Sequence[str]) -> Finding:
    """Options of a region that is not in the list of regions do nothing."""
    return Finding(
        Severity.advice,
        "options of a region that beaker.cache.regions does not list: {}".format(", ".join(names)),
        evidence={"options": len(names)},
        source=BEAKER,
        remedy="add the region to beaker.cache.regions, or remove these options",
    )


def stray_options(settings: Mapping[str, str], regions: Mapping[str, Region]) -> list[str]:
    """Return the cache options that read ``REGION.option`` with a region that is not listed."""
    found = []
    for key in settings:
        name = key[len("beaker.cache.") :] if key.startswith("beaker.cache.") else ""
        if "." in name and name.split(".")[0] not in regions:
            found.append(key)
    return sorted(found)


@check(
    "CAC008",
    "cache-regions",
    "Cache regions: missing, unused or incomplete",
    "caching",
    tags=("cache", "config"),
)
def regions(context: Context) -> Iterator[Finding]:
    """Parse every beaker.cache.* option with Beaker's own parser, and look for cache_region(...) in
    the code.

    A region that the code uses and the ini file does not list is an error: Beaker raises an
    exception at each use, and so do a cache type that does not exist and a file type without a
    directory. Options that Beaker does not know are ignored by it in silence, and a region without
    expire keeps its values for ever: warnings. Regions and options that nothing uses are worth
    removing. The application's source is parsed, not imported.
    """
    try:
        configured = beaker_config.regions(context.instance.settings)
    except ValueError as error:
        yield Finding(
            Severity.error,
            f"Beaker refuses the cache settings: {error}",
            source=BEAKER,
            remedy="correct the beaker.cache.* option that the message names",
        )
        return
    users: dict[str, list[str]] = {}
    for use in cache_uses(context):
        users.setdefault(use.region, []).append(label(use.function))
    for name, region in configured.items():
        try:
            accepted = beaker_config.accepted_options(region["type"])
        except NotMeasured as error:
            yield Finding(
                Severity.error if name in users else Severity.advice,
                "the cache type {} does not work: {}".format(region["type"], error),
                subject=name,
                source=BEAKER,
                evidence={"type": region["type"]},
                remedy="install what it needs, or set its type = file",
            )
            continue
        yield judge_region(name, region, users.get(name, []), accepted)
    for name in sorted(set(users) - set(configured)):
        yield judge_missing(name, users[name])
    stray = stray_options(context.instance.settings, configured)
    if stray:
        yield judge_stray(stray)


def judge_data_dir(wanted: str, used: str, cache_dir: str) -> Finding:
    """``beaker.cache.data_dir`` has no effect under TurboGears2, which matters where it was meant
    to move the cache.
    """
    common: dict[str, Any] = {
        "evidence": {"set_to": wanted, "files_go_to": used},
        "source": "TurboGears2, configurator/components/caching.py",
    }
    if os.path.normpath(wanted) == os.path.normpath(used):
        return Finding(Severity.ok, "the file cache is where beaker.cache.data_dir says", **common)
    if os.path.normpath(wanted).startswith(os.path.normpath(cache_dir) + os.sep):
        return Finding(
            Severity.ok,
            "beaker.cache.data_dir has no effect; the files are in cache_dir too",
            **common,
        )
    return Finding(
        Severity.warning,
        f"beaker.cache.data_dir has no effect: the cache is in {used}",
        remedy=f"set cache.data_dir = {wanted}, which TurboGears2 heeds",
        **common,
    )


@check(
    "CAC009", "cache-directory", "Directory of the file cache", "caching", tags=("cache", "config")
)
def data_dir(context: Context) -> Iterator[Finding]:
    """Compare beaker.cache.data_dir with the directory that the file regions get in the end.

    TurboGears2 adds cache.data_dir = cache_dir/cache to the settings, Beaker takes both names for
    the same option, and the later wins: whoever set beaker.cache.data_dir to a faster disk still
    has the cache in the old place.
    """
    settings = context.instance.settings
    wanted = settings.get("beaker.cache.data_dir", "")
    used = {
        str(region["data_dir"])
        for region in cache_regions(context).values()
        if region["type"] == "file"
    }
    if wanted:
        for directory in sorted(used):
            yield judge_data_dir(wanted, directory, settings.get("cache_dir", ""))


def recycled(instance: Instance) -> bool:
    """Whether worker processes end after some number of requests, as the ini file says."""
    uwsgi = instance.sections.get("uwsgi", {})
    limits = [instance.server.get("max_requests", "0")]
    limits += [
        uwsgi.get(key, "0") for key in ("max-requests", "max-worker-lifetime", "reload-on-rss")
    ]
    return any(limit.strip() not in ("", "0") for limit in limits)


# What Kallithea keeps per revision, and so without end; who a commit's author is, it keeps per
# author.
_PER_REVISION = frozenset({"README"})


def judge_memory(
    name: str, functions: Sequence[str], processes: Optional[int], is_recycled: bool
) -> Finding:
    """A memory region never forgets, so its growth counts where a key is made for each revision."""
    common: dict[str, Any] = {
        "subject": name,
        "source": "Beaker 1.14, MemoryNamespaceManager: a dict that nothing empties",
        "evidence": {
            "used_by": functions,
            "recycled": is_recycled,
            "processes": processes or "unknown",
        },
    }
    if is_recycled:
        return Finding(
            Severity.ok, f"region {name} is in memory, and workers are recycled", **common
        )
    if not _PER_REVISION & set(functions):
        return Finding(
            Severity.ok, f"region {name} is in memory; what it holds grows slowly", **common
        )
    return Finding(
        Severity.warning,
        f"region {name} is in memory, grows with each push and is never freed",
        remedy=f"set beaker.cache.{name}.type = file, or recycle workers (max_requests = 1000)",
        **common,
    )


@check(
    "CAC004",
    "cache-memory-growth",
    "Memory regions without worker recycling",
    "caching",
    tags=("cache", "config"),
)
def memory_growth(context: Context) -> Iterator[Finding]:
    """Look for regions of type memory in a server whose workers never end.

    Beaker's memory backend is a dict that nothing empties, expired values included. Kallithea's
    long_term region holds one small entry per commit author there, which does no harm. With
    long_term_file in memory, each push adds a rendered README that stays until the process ends.
    Recycling is read from max_requests (gunicorn) and max-requests, max-worker-lifetime or
    reload-on-rss (uWSGI); what mod_wsgi does is in Apache's configuration, and not seen.
    """
    for name, functions in _memory_regions(context):
        yield judge_memory(
            name, functions, server_of(context.instance).processes, recycled(context.instance)
        )


def judge_shared(name: str, functions: Sequence[str], processes: Optional[int]) -> Finding:
    """With several processes each fills a memory region of its own."""
    common: dict[str, Any] = {
        "subject": name,
        "evidence": {"processes": processes or "unknown", "used_by": functions},
        "threshold": "1",
        "source": "Beaker 1.14, MemoryNamespaceManager: a dict of the process",
    }
    if processes == 1:
        return Finding(Severity.ok, f"region {name} is in memory, and one process serves", **common)
    if not _PER_REVISION & set(functions):
        return Finding(
            Severity.ok,
            f"each process has its own region {name}, which is small and soon filled",
            **common,
        )
    if processes is None:
        return Finding(
            Severity.unknown,
            f"not measured: how many processes share region {name} is not said",
            **common,
        )
    return Finding(
        Severity.advice,
        "each of %d processes renders what region %s holds for itself" % (processes, name),
        remedy=f"set beaker.cache.{name}.type = file, which all processes share",
        **common,
    )


@check(
    "CAC007",
    "cache-memory-shared",
    "Memory regions with several processes",
    "caching",
    tags=("cache", "config"),
)
def memory_shared(context: Context) -> Iterator[Finding]:
    """Look for regions of type memory where the server section starts several processes.

    Each process then has a cache of its own: a README is rendered once in each after every push,
    and each holds a copy. The processes are those of the server or uwsgi section; separately
    started servers are not seen.
    """
    for name, functions in _memory_regions(context):
        yield judge_shared(name, functions, server_of(context.instance).processes)


def _memory_regions(context: Context) -> Iterator[tuple[str, list[str]]]:
    for name, region in cache_regions(context).items():
        if region["type"] == "memory" and region.get("enabled"):
            functions = [label(use.function) for use in cache_uses(context) if use.region == name]
            if functions:
                yield name, functions
