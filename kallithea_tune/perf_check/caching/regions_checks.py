"""Whether Beaker's cache regions are configured as the application's code needs them."""

from __future__ import annotations

import os
from functools import partial
from typing import Callable, Iterator, Optional, Sequence

from kallithea_tune.perf_check.caching.regions import (
    FILE_TYPES,
    Backend,
    CacheDirectory,
    MemoryRegions,
    Region,
    RegionSettings,
    cache_directory,
    memory_regions,
    region_settings,
)
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check

BEAKER = "Beaker 1.14, cache.py and container.py"
# Backends from elsewhere ("ext:...") accept options of any name.
_PLAIN_BACKENDS = (*FILE_TYPES, "memory")


def judge_region(region: Region, functions: Sequence[str], backend: Backend) -> Finding:
    """Judge one configured region: is it used, complete, and are all its options known?"""
    finding = partial(
        Finding, subject=region.name, source=BEAKER, evidence=_evidence(region, functions)
    )
    severity = Severity.error if functions else Severity.advice
    broken = _judge_backend(region, backend, partial(finding, severity))
    if broken:
        return broken
    unknown = unknown_options(region, backend)
    if unknown:
        options = ", ".join(unknown)
        return finding(
            Severity.warning,
            f"Beaker ignores the option {unknown[0]}",
            remedy=f"correct or remove {options}",
        )
    if not functions:
        return finding(
            Severity.advice,
            f"no code of the application uses the cache region {region.name}",
            remedy=f"take {region.name} out of beaker.cache.regions, with its options",
        )
    if region.enabled and not region.expire:
        return finding(
            Severity.warning,
            f"entries of region {region.name} never expire",
            remedy=f"set beaker.cache.{region.name}.expire = 604800",
        )
    if region.type not in _PLAIN_BACKENDS:
        diagnosis = f"not measured: whether the store of region {region.name} answers"
        return finding(Severity.unknown, diagnosis)
    return finding(Severity.ok, f"region {region.name} is complete and in use")


def _judge_backend(
    region: Region, backend: Backend, finding: Callable[..., Finding]
) -> Optional[Finding]:
    """Judge what keeps a region from working at all, by a `finding` that lacks the diagnosis."""
    if backend.failure:
        return finding(
            f"the cache type {region.type} does not work: {backend.failure}",
            evidence={"type": region.type},
            remedy="install what it needs, or set its type = file",
        )
    if backend.accepted is None:
        return finding(
            f"Beaker has no cache type '{region.type}': every use of region {region.name} fails",
            remedy=f"set beaker.cache.{region.name}.type = file",
        )
    if region.type in FILE_TYPES and not region.data_dir:
        return finding(
            f"region {region.name} keeps files, but no directory is set: its use fails",
            remedy="set cache_dir = %(here)s/data in the application's section",
        )
    return None


def _evidence(region: Region, functions: Sequence[str]) -> dict[str, object]:
    return {
        "type": region.type,
        "expire": region.expire,
        "enabled": region.enabled,
        "used_by": functions or "nothing",
    }


def unknown_options(region: Region, backend: Backend) -> list[str]:
    """Return the options of a region that Beaker ignores, with their prefix."""
    if region.type not in _PLAIN_BACKENDS or backend.accepted is None:
        return []
    return [
        f"beaker.cache.{region.name}.{key}" for key in sorted(region.options - backend.accepted)
    ]


def judge_missing(name: str, functions: Sequence[str]) -> Finding:
    """Code uses a region that is not configured: Beaker raises an exception at each use."""
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
    listed = ", ".join(names)
    return Finding(
        Severity.advice,
        f"options of a region that beaker.cache.regions does not list: {listed}",
        evidence={"options": len(names)},
        source=BEAKER,
        remedy="add the region to beaker.cache.regions, or remove these options",
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
            remedy="correct the beaker.cache.* option that the message names",
        )
        return
    for region in settings.regions:
        functions = settings.uses.of(region.name)
        yield judge_region(region, functions, settings.backends[region.type])
    used = {use.region for use in settings.uses.uses}
    for name in sorted(used - {region.name for region in settings.regions}):
        yield judge_missing(name, settings.uses.of(name))
    if settings.stray:
        yield judge_stray(settings.stray)


def judge_data_dir(configured: str, used: str, cache_dir: str) -> Finding:
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
        remedy=f"set cache.data_dir = {configured}, which TurboGears2 uses",
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
            yield judge_data_dir(directory.configured, used, directory.cache_dir)


# Kallithea keeps these for each revision, so without end; the others for each author.
_PER_REVISION = frozenset({"README"})


def judge_memory(
    name: str, functions: Sequence[str], processes: Optional[int], recycled: bool
) -> Finding:
    """A memory region never forgets, so its growth counts where each revision adds a key."""
    finding = partial(
        Finding,
        subject=name,
        source="Beaker 1.14, MemoryNamespaceManager: a dict that nothing empties",
        evidence={
            "used_by": functions,
            "recycled": recycled,
            "processes": processes or "unknown",
        },
    )
    if recycled:
        return finding(Severity.ok, f"region {name} is in memory, and workers are recycled")
    if not _PER_REVISION & set(functions):
        return finding(Severity.ok, f"region {name} is in memory and grows slowly")
    return finding(
        Severity.warning,
        f"region {name} is in memory, grows with each push and is never freed",
        remedy=f"set beaker.cache.{name}.type = file, or recycle workers (max_requests = 1000)",
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
        yield judge_memory(region.name, region.functions, memory.processes, memory.recycled)


def judge_shared(name: str, functions: Sequence[str], processes: Optional[int]) -> Finding:
    """With several processes each fills a memory region of its own."""
    finding = partial(
        Finding,
        subject=name,
        evidence={"processes": processes or "unknown", "used_by": functions},
        threshold="1",
        source="Beaker 1.14, MemoryNamespaceManager: a dict of the process",
    )
    if processes == 1:
        return finding(Severity.ok, f"region {name} is in memory, and one process serves")
    if not _PER_REVISION & set(functions):
        return finding(
            Severity.ok,
            f"each process has its own region {name}, which is small and soon filled",
        )
    if processes is None:
        return finding(
            Severity.unknown,
            f"not measured: the ini file does not say how many processes share region {name}",
        )
    return finding(
        Severity.advice,
        f"each of {processes} processes renders the entries of region {name} for itself",
        remedy=f"set beaker.cache.{name}.type = file, which all processes share",
    )


@check(
    "CAC007",
    "cache-memory-shared",
    "Memory regions with several processes",
    measures=(memory_regions,),
    tags=("cache", "config"),
    harm=Harm.some_pages,
)
def memory_shared(memory: MemoryRegions) -> Iterator[Finding]:
    """Judge regions in memory where the server section starts several processes."""
    for region in memory.regions:
        yield judge_shared(region.name, region.functions, memory.processes)
