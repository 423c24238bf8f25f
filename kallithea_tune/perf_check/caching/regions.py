"""Beaker's cache regions as the settings configure them, and the functions that cache in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from kallithea_tune.app import beaker_config, package
from kallithea_tune.app.beaker_config import Use
from kallithea_tune.config.instance import Instance
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement

FILE_TYPES = ("file", "dbm")
# The same to Beaker.
PREFIXES = ("beaker.cache.", "cache.")


@dataclass(frozen=True)
class Region:
    """A configured region; `expire` is in seconds, None for entries that never expire.

    `options` are the names of all its options. Its directories are empty where none is set.
    """

    name: str
    type: str
    enabled: bool
    expire: Optional[int]
    data_dir: str
    lock_dir: str
    options: frozenset[str]


@dataclass(frozen=True)
class Regions:
    """All regions, in the order of the ini file."""

    regions: tuple[Region, ...]

    @property
    def examined(self) -> Examined:
        """All of them."""
        return Examined(len(self.regions), len(self.regions), "cache region")

    def get(self, name: str) -> Optional[Region]:
        """Return the region of that name, or None."""
        return next((region for region in self.regions if region.name == name), None)


@dataclass(frozen=True)
class Uses:
    """The functions of the application that cache their results."""

    uses: tuple[Use, ...]

    @property
    def examined(self) -> Examined:
        """All of them."""
        return Examined(len(self.uses), len(self.uses), "caching function")

    def of(self, region: str) -> list[str]:
        """Return what the functions of a region cache, as `label` calls it."""
        return [label(use.function) for use in self.uses if use.region == region]


def label(function: str) -> str:
    """Return what a caching function of Kallithea caches, as in ``README``."""
    name = function.replace("_get_", "").replace("_from_cache", "").strip("_")
    return {"readme": "README", "feed": "feed"}.get(name, name) or "unknown"


def region_of(name: str, parsed: Mapping[str, object]) -> Region:
    """Return a region from the options that Beaker's parser made of the settings."""
    expire = parsed.get("expire")
    return Region(
        name,
        str(parsed["type"]),
        bool(parsed.get("enabled")),
        expire if isinstance(expire, int) else None,
        str(parsed.get("data_dir") or ""),
        str(parsed.get("lock_dir") or ""),
        frozenset(parsed),
    )


def regions_of(instance: Instance) -> Regions:
    """Return the regions as the application gets them. Raises ValueError with Beaker's message."""
    parsed = beaker_config.regions(instance.settings)
    return Regions(tuple(region_of(name, options) for name, options in parsed.items()))


@measurement()
def cache_regions(context: Context) -> Regions:
    """Parse the regions with Beaker's own parser."""
    try:
        return regions_of(context.instance)
    except ValueError:
        raise NotMeasured("Beaker refuses the cache settings: see CAC008") from None


@measurement()
def cache_uses(context: Context) -> Uses:
    """Find ``cache_region(...)`` in the application's source, which is parsed and not imported."""
    return Uses(tuple(beaker_config.uses(package.code(context.instance.use))))


@dataclass(frozen=True)
class Backend:
    """The options that Beaker's backend of a type accepts; None where there is no such backend.

    `failure` is Beaker's message where the backend lacks something that is not installed.
    """

    accepted: Optional[frozenset[str]] = None
    failure: str = ""


def backend_of(type: str) -> Backend:
    """Look up Beaker's backend of a type."""
    try:
        return Backend(beaker_config.accepted_options(type))
    except NotMeasured as error:
        return Backend(failure=str(error))


@dataclass(frozen=True)
class RegionSettings:
    """The cache settings compared with the code that uses them.

    `refusal` is Beaker's message where it refuses the settings; nothing else is known then.
    `backends` are by type, `stray` the options of regions that are not listed, `section` is the
    section of the application and `options` has the values of all cache options, as they are named
    in the file.
    """

    refusal: str = ""
    section: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    uses: Uses = Uses(())
    backends: Mapping[str, Backend] = field(default_factory=dict)
    stray: tuple[str, ...] = ()

    @property
    def examined(self) -> Examined:
        """All regions."""
        return Examined(len(self.regions), len(self.regions), "cache region")


@measurement(uses=(cache_uses,))
def region_settings(context: Context) -> RegionSettings:
    """Compare the regions of the settings with those that the code uses."""
    settings = context.instance.settings
    try:
        regions = regions_of(context.instance).regions
    except ValueError as error:
        return RegionSettings(refusal=str(error))
    return RegionSettings(
        section=context.instance.section,
        options={key: value for key, value in settings.items() if key.startswith(PREFIXES)},
        regions=regions,
        uses=context.measure(cache_uses),
        backends={region.type: backend_of(region.type) for region in regions},
        stray=tuple(stray_options(settings, [region.name for region in regions])),
    )


def stray_options(settings: Mapping[str, str], regions: Sequence[str]) -> list[str]:
    """Return the options ``beaker.cache.REGION.option`` of regions that are not listed."""
    prefix = PREFIXES[0]
    names = {key: key[len(prefix) :] for key in settings if key.startswith(prefix)}
    return sorted(
        key for key, name in names.items() if "." in name and name.split(".")[0] not in regions
    )


@dataclass(frozen=True)
class CacheDirectory:
    """What ``beaker.cache.data_dir`` says, and the directories that the file regions get.

    `section` is that of the application.
    """

    configured: str
    used: tuple[str, ...]
    cache_dir: str
    section: str = ""

    @property
    def examined(self) -> Examined:
        """All directories of file regions."""
        return Examined(len(self.used), len(self.used), "directory of a file region")


@measurement(uses=(cache_regions,))
def cache_directory(context: Context) -> CacheDirectory:
    """Return the configured directory of the file cache beside the one that is used."""
    settings = context.instance.settings
    regions = context.measure(cache_regions).regions
    used = {region.data_dir for region in regions if region.type == "file"}
    return CacheDirectory(
        settings.get("beaker.cache.data_dir", ""),
        tuple(sorted(used)),
        settings.get("cache_dir", ""),
        context.instance.section,
    )


@dataclass(frozen=True)
class MemoryRegion:
    """A region in memory, and what the application caches in it."""

    name: str
    functions: tuple[str, ...]


@dataclass(frozen=True)
class MemoryRegions:
    """The regions in memory that are used, and the processes that each have their own.

    `processes` is None where the ini file does not say how many serve. `recycled` says whether
    worker processes end after some number of requests. `section` is that of the application.
    """

    regions: tuple[MemoryRegion, ...]
    processes: Optional[int]
    recycled: bool
    section: str = ""

    @property
    def examined(self) -> Examined:
        """All regions in memory."""
        return Examined(len(self.regions), len(self.regions), "region in memory")


@measurement(uses=(cache_regions, cache_uses))
def memory_regions(context: Context) -> MemoryRegions:
    """Find the enabled regions of type memory that the code uses."""
    regions, uses = context.measure(cache_regions), context.measure(cache_uses)
    used = tuple(
        MemoryRegion(region.name, tuple(uses.of(region.name)))
        for region in regions.regions
        if region.type == "memory" and region.enabled and uses.of(region.name)
    )
    instance = context.instance
    return MemoryRegions(used, server_of(instance).processes, recycled(instance), instance.section)


def recycled(instance: Instance) -> bool:
    """Whether worker processes end after some number of requests, as the ini file says."""
    uwsgi = instance.sections.get("uwsgi", {})
    limits = [instance.server.get("max_requests", "0")]
    limits += [
        uwsgi.get(key, "0") for key in ("max-requests", "max-worker-lifetime", "reload-on-rss")
    ]
    return any(limit.strip() not in ("", "0") for limit in limits)
