"""Whether locks exclude one another on the storage of an instance, and of several through the path
of each; and how late one path sees what another has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Generic, Iterator, Mapping, Sequence, Tuple, TypeVar

from kallithea_tune.app.directories import configured
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.measurement import (
    BY_NOTHING,
    Context,
    Deadline,
    Examined,
    measurement,
)
from kallithea_tune.perf_check.repositories.root import repositories_root
from kallithea_tune.perf_check.scaling.contention import LEAST_S, Contest, Mechanism, contests
from kallithea_tune.perf_check.scaling.instances import Instances, instances
from kallithea_tune.perf_check.scaling.same_storage import spot
from kallithea_tune.perf_check.scaling.sameness import Spot
from kallithea_tune.perf_check.scaling.visibility import Delay, delays
from kallithea_tune.perf_check.storage import disk
from kallithea_tune.system import child

T = TypeVar("T")

# Those in which Kallithea, Mercurial, git, Beaker and Whoosh take locks.
SETTINGS = ("repositories", "cache_dir", "index_dir", "session.data_dir", "beaker.cache.lock_dir")
LOOK_SECONDS = 3.0

Group = Tuple[str, Sequence[str]]


@dataclass(frozen=True)
class Storage:
    """One storage: the settings that lead there, and the different paths by which they do."""

    settings: tuple[str, ...]
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """The settings, as in ``repositories, cache_dir``."""
        return ", ".join(self.settings)


@dataclass(frozen=True)
class Tried(Generic[T]):
    """What came of a storage, or the `failure`, why nothing was tried."""

    storage: Storage
    results: tuple[T, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Locks:
    """The contests for locks on each storage."""

    tried: tuple[Tried[Contest], ...]

    @property
    def examined(self) -> Examined:
        """The storages on which locks could be tried."""
        return Examined(sum(not one.failure for one in self.tried), len(self.tried), "storage")


@dataclass(frozen=True)
class Delays:
    """What was seen late on each storage that has several paths."""

    tried: tuple[Tried[Delay], ...]

    @property
    def examined(self) -> Examined:
        """The storages with several paths where files could be changed."""
        return Examined(sum(not one.failure for one in self.tried), len(self.tried), "storage")


@measurement(
    seconds=3.0,
    writes="four small files in each storage",
    needs=("database",),
    uses=(instances, repositories_root),
    decided_by=BY_NOTHING,
)
def locks(context: Context) -> Locks:
    """Have two processes and more contend for each kind of lock."""

    def contend(storage: Storage, deadline: Deadline) -> tuple[Contest, ...]:
        seconds = max(len(Mechanism) * LEAST_S, deadline.left)
        first, *others = storage.paths
        return disk.run(contests, first, seconds, others=others)

    storages, unknown = _storages(context)
    return Locks((*_each(context, storages, contend), *_not_tried(unknown)))


@measurement(
    seconds=4.5,
    writes="two small files in each storage with several paths",
    needs=("database",),
    uses=(instances, repositories_root),
    decided_by=BY_NOTHING,
)
def visibility(context: Context) -> Delays:
    """Change files through each path, and look through the others."""

    def wait(storage: Storage, deadline: Deadline) -> tuple[Delay, ...]:
        first, *others = storage.paths
        return disk.run(delays, first, max(0.5, deadline.left), others=others)

    storages, unknown = _storages(context)
    several = [storage for storage in storages if len(storage.paths) > 1]
    return Delays((*_each(context, several, wait), *_not_tried(unknown)))


def _not_tried(unknown: Mapping[str, str]) -> Iterator[Tried[T]]:
    for name, reason in unknown.items():
        yield Tried(Storage((name,), ()), failure=reason)


def _each(
    context: Context,
    storages: Sequence[Storage],
    probe: Callable[[Storage, Deadline], tuple[T, ...]],
) -> tuple[Tried[T], ...]:
    """Probe each storage; the time left is shared among those still to come."""
    tried: list[Tried[T]] = []
    for number, storage in enumerate(storages):
        deadline = Deadline(context.deadline.left / (len(storages) - number))
        try:
            tried.append(Tried(storage, probe(storage, deadline)))
        except NotMeasured as error:
            tried.append(Tried(storage, failure=str(error)))
    return tuple(tried)


def _storages(context: Context) -> tuple[tuple[Storage, ...], dict[str, str]]:
    """Return the storages, and by setting why it is not known where it leads."""
    groups, unknown = (
        _of_several(context.measure(instances)) if context.together else _of_one(context)
    )
    paths = sorted({path for _, group in groups for path in group})
    seen = child.call(spots, LOOK_SECONDS, paths=paths)
    failed = ((name, seen[path].failure) for name, group in groups for path in group)
    unknown.update((name, failure) for name, failure in failed if failure)
    return merged(groups, seen), unknown


def _of_one(context: Context) -> tuple[list[Group], dict[str, str]]:
    own, unknown = configured(context.instance), {}
    names = {"session.data_dir": "sessions", "beaker.cache.lock_dir": "cache locks"}
    found = {name: own.get(names.get(name, name), "") for name in SETTINGS}
    try:
        found["repositories"] = context.measure(repositories_root).path
    except (NotMeasured, TuneError) as error:
        unknown["repositories"] = str(error)
    return [(name, (path,)) for name, path in found.items() if path], unknown


def _of_several(found: Instances) -> tuple[list[Group], dict[str, str]]:
    """Group by setting the paths that lead to the same storage; others are apart."""
    groups: dict[tuple[str, str], dict[str, None]] = {}
    unknown: dict[str, str] = {}
    for facts in found.facts:
        for name in SETTINGS:
            value = facts.values[name]
            if value.failure:
                unknown[name] = value.failure
            elif value.shown:
                groups.setdefault((name, value.identity), {})[value.shown] = None
    return [(name, tuple(paths)) for (name, _), paths in groups.items()], unknown


def merged(groups: Sequence[Group], spots: Mapping[str, Spot]) -> tuple[Storage, ...]:
    """Put together what is on the same file systems, as what is measured in one is true for all.

    Of several paths that are below one mount, the first is tried; for a directory that is not there
    yet, the nearest above.
    """
    found: dict[tuple[int, ...], Storage] = {}
    for name, paths in groups:
        by_device: dict[int, str] = {}
        for one in map(spots.__getitem__, paths):
            if not one.failure:
                by_device.setdefault(one.device, one.directory)
        if by_device:
            key = tuple(sorted(by_device))
            before = found.get(key, Storage((), tuple(by_device.values())))
            names = tuple(dict.fromkeys((*before.settings, name)))
            found[key] = Storage(names, before.paths)
    return tuple(found.values())


def spots(paths: Sequence[str]) -> dict[str, Spot]:
    """Return where each path leads; for a child."""
    return {path: spot(path) for path in paths}
