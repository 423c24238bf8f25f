"""Whether Beaker's cache regions are configured as the application's code needs them."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from functools import partial
from typing import Callable, Iterable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.perf_check.caching.regions import (
    FILE_TYPES,
    PREFIXES,
    Backend,
    CacheDirectory,
    MemoryRegion,
    MemoryRegions,
    Region,
    RegionSettings,
    cache_directory,
    memory_regions,
    region_settings,
)
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Remedy, app_options
from kallithea_tune.perf_check.servers.served import Servers, configured_servers, servers

BEAKER = "Beaker 1.14, cache.py and container.py"
WEEK = "604800"
# Backends from elsewhere ("ext:...") accept options of any name.
_PLAIN_BACKENDS = (*FILE_TYPES, "memory")


def judge_region(
    region: Region, functions: Sequence[str], backend: Backend, settings: RegionSettings
) -> Finding:
    """Judge one configured region: is it used, complete, and are all its options known?"""
    section = settings.section
    finding = partial(
        Finding, subject=region.name, source=BEAKER, evidence=_evidence(region, functions)
    )
    severity = Severity.error if functions else Severity.advice
    broken = _judge_backend(region, backend, partial(finding, severity), section)
    if broken:
        return broken
    unknown = unknown_options(region, backend, settings.options)
    if unknown:
        return finding(
            Severity.warning,
            f"Beaker ignores the option {unknown[0]}",
            remedy=app_options(section, _corrected(unknown, backend, settings.options)),
        )
    if not functions:
        return finding(
            Severity.advice,
            f"the application does not use the cache region {region.name}",
            remedy=_without(region.name, settings),
        )
    if region.enabled and not region.expire:
        return finding(
            Severity.warning,
            f"entries of region {region.name} never expire",
            remedy=app_options(section, {f"beaker.cache.{region.name}.expire": WEEK}),
        )
    return finding(Severity.ok, f"region {region.name} is complete and in use")


def _judge_backend(
    region: Region, backend: Backend, finding: Callable[..., Finding], section: str
) -> Optional[Finding]:
    """Judge what keeps a region from working at all, by a `finding` that lacks the diagnosis."""
    in_files = {f"beaker.cache.{region.name}.type": "file"}
    if backend.failure:
        return finding(
            f"the cache type {region.type} does not work: {backend.failure}",
            evidence={"type": region.type},
            remedy=app_options(section, in_files, "or install what it needs"),
        )
    if backend.accepted is None:
        return finding(
            f"Beaker has no cache type '{region.type}': every use of region {region.name} fails",
            remedy=app_options(section, in_files),
        )
    if region.type in FILE_TYPES and not region.data_dir:
        return finding(
            f"region {region.name} stores files, but no directory is set: every use fails",
            remedy=app_options(section, {"cache_dir": "%(here)s/data"}),
        )
    return None


def _evidence(region: Region, functions: Sequence[str]) -> dict[str, object]:
    return {
        "type": region.type,
        "expire": region.expire,
        "enabled": region.enabled,
        "used_by": functions or "nothing",
    }


def unknown_options(region: Region, backend: Backend, options: Iterable[str]) -> list[str]:
    """Return those of `options` that are of a region and that Beaker ignores."""
    if region.type not in _PLAIN_BACKENDS or backend.accepted is None:
        return []
    ignored = region.options - backend.accepted
    names = {f"{prefix}{region.name}.{key}" for prefix in PREFIXES for key in ignored}
    return sorted(names.intersection(options))


def _corrected(
    unknown: Sequence[str], backend: Backend, options: Mapping[str, str]
) -> dict[str, Optional[str]]:
    """Return the edit that removes unknown options, or gives a missing one the value of what must
    be its misspelling.
    """
    values: dict[str, Optional[str]] = dict.fromkeys(unknown)
    for option in unknown:
        prefix, _, name = option.rpartition(".")
        for meant in difflib.get_close_matches(name, backend.accepted or (), 1, 0.8):
            if f"{prefix}.{meant}" not in options:
                values[f"{prefix}.{meant}"] = options[option]
    return values


def _without(name: str, settings: RegionSettings) -> Remedy:
    """Return the remedy that takes a region out of the list, with its options."""
    values: dict[str, Optional[str]] = {
        option: None
        for option in settings.options
        if option.startswith(tuple(f"{prefix}{name}." for prefix in PREFIXES))
    }
    listed = [region.name for region in settings.regions if region.name != name]
    return app_options(settings.section, {"beaker.cache.regions": ", ".join(listed), **values})


def judge_missing(name: str, functions: Sequence[str], settings: RegionSettings) -> Finding:
    """Code uses a region that is not configured: Beaker raises an exception at each use."""
    listed = [region.name for region in settings.regions]
    return Finding(
        Severity.error,
        f"region {name} is used by the code but not configured",
        subject=name,
        source=BEAKER,
        evidence={"used_by": functions, "exception": f"Cache region not configured: {name}"},
        remedy=app_options(
            settings.section,
            {
                "beaker.cache.regions": ", ".join([*listed, name]),
                f"beaker.cache.{name}.type": "file",
                f"beaker.cache.{name}.expire": WEEK,
            },
        ),
    )


def judge_stray(names: Sequence[str], section: str) -> Finding:
    """Options of a region that is not in the list of regions do nothing."""
    listed = ", ".join(names)
    return Finding(
        Severity.advice,
        f"options of a region that beaker.cache.regions does not list: {listed}",
        evidence={"options": len(names)},
        source=BEAKER,
        remedy=app_options(
            section, dict.fromkeys(names), "unless the region is missing from beaker.cache.regions"
        ),
    )


@check(
    "CAC008",
    "cache-regions",
    "Cache regions: missing, unused or incomplete",
    measures=(region_settings,),
    tags=("cache", "config"),
    harm=Harm.some_pages,
)
def regions(settings: RegionSettings) -> Iterator[Finding]:
    """Judge each configured region, each missing one, and options without a region."""
    if settings.refusal:
        yield Finding(
            Severity.error,
            f"Beaker refuses the cache settings: {settings.refusal}",
            source=BEAKER,
            remedy="correct the beaker.cache.* option given in the message",
        )
        return
    for region in settings.regions:
        functions = settings.uses.of(region.name)
        yield judge_region(region, functions, settings.backends[region.type], settings)
    used = {use.region for use in settings.uses.uses}
    for name in sorted(used - {region.name for region in settings.regions}):
        yield judge_missing(name, settings.uses.of(name), settings)
    if settings.stray:
        yield judge_stray(settings.stray, settings.section)


def judge_data_dir(configured: str, used: str, cache_dir: str, section: str = "") -> Finding:
    """TurboGears2 overrides ``beaker.cache.data_dir``, which was meant to move the cache."""
    finding = partial(
        Finding,
        evidence={"set_to": configured, "files_go_to": used},
        source="TurboGears2, configurator/components/caching.py",
    )
    if os.path.normpath(configured) == os.path.normpath(used):
        return finding(Severity.ok, "the file cache is where beaker.cache.data_dir says")
    if os.path.normpath(configured).startswith(os.path.normpath(cache_dir) + os.sep):
        return finding(
            Severity.ok, "beaker.cache.data_dir has no effect; the files are in cache_dir too"
        )
    return finding(
        Severity.warning,
        f"beaker.cache.data_dir has no effect: the cache is in {used}",
        remedy=app_options(section, {"cache.data_dir": configured}, "TurboGears2 uses another"),
    )


@check(
    "CAC009",
    "cache-directory",
    "Directory of the file cache",
    measures=(cache_directory,),
    tags=("cache", "config"),
)
def data_dir(directory: CacheDirectory) -> Iterator[Finding]:
    """Compare beaker.cache.data_dir with the directories that the file regions get."""
    if directory.configured:
        for used in directory.used:
            yield judge_data_dir(directory.configured, used, directory.cache_dir, directory.section)


# Kallithea keeps these for each revision, so without end; the others for each author.
_PER_REVISION = frozenset({"README"})


def judge_memory(region: MemoryRegion, memory: MemoryRegions) -> Finding:
    """A memory region never forgets, so its growth counts where each revision adds a key."""
    name, functions, recycled = region.name, region.functions, memory.recycled
    finding = partial(
        Finding,
        subject=name,
        source="Beaker 1.14, MemoryNamespaceManager: a dict that is never emptied",
        evidence={
            "used_by": functions,
            "recycled": recycled,
            "processes": memory.processes or "unknown",
        },
    )
    if recycled:
        return finding(Severity.ok, f"region {name} is in memory, and workers are recycled")
    if not _PER_REVISION & set(functions):
        return finding(Severity.ok, f"region {name} is in memory and grows slowly")
    return finding(
        Severity.warning,
        f"region {name} is in memory, grows with each push and is never freed",
        remedy=_in_files(name, memory.section, "or recycle workers (max_requests = 1000)"),
    )


@check(
    "CAC004",
    "cache-memory-growth",
    "Memory regions without worker recycling",
    measures=(memory_regions,),
    tags=("cache", "config"),
)
def memory_growth(memory: MemoryRegions) -> Iterator[Finding]:
    """Judge regions in the memory of workers that never end."""
    for region in memory.regions:
        yield judge_memory(region, memory)


def _in_files(name: str, section: str, note: str) -> Remedy:
    return app_options(section, {f"beaker.cache.{name}.type": "file"}, note)


def judge_shared(region: MemoryRegion, memory: MemoryRegions) -> Finding:
    """With several processes each fills a memory region of its own."""
    name, functions, processes = region.name, region.functions, memory.processes
    finding = partial(
        Finding,
        subject=name,
        evidence={"processes": processes or "unknown", "used_by": functions},
        threshold="1",
        source="Beaker 1.14, MemoryNamespaceManager: a dict of the process",
    )
    if processes == 1:
        return finding(Severity.ok, f"region {name} is in memory, and one process serves requests")
    if not _PER_REVISION & set(functions):
        return finding(
            Severity.ok,
            f"each process has its own region {name}, which is small and soon filled",
        )
    if processes is None:
        return finding(
            Severity.unknown,
            f"not measured: it is unknown how many processes share region {name}",
        )
    return finding(
        Severity.advice,
        f"each of {processes} processes renders its own entries of region {name}",
        remedy=_in_files(name, memory.section, "all processes share files"),
    )


@check(
    "CAC007",
    "cache-memory-shared",
    "Memory regions with several processes",
    measures=(memory_regions, servers),
    settings=(memory_regions, configured_servers),
    tags=("cache", "config"),
    harm=Harm.some_pages,
)
def memory_shared(memory: MemoryRegions, measured: Servers) -> Iterator[Finding]:
    """Judge regions in memory where several processes serve, as seen or as configured."""
    for region in memory.regions:
        yield judge_shared(region, replace(memory, processes=measured.count))
