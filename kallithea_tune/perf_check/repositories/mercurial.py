"""Reads the state of a Mercurial repository from its files: format, revisions, branch cache, hooks,
and traces of a crash.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
import struct
from dataclasses import dataclass
from typing import BinaryIO, Collection, Mapping, NamedTuple, Optional

from kallithea_tune.perf_check.repositories import leftovers
from kallithea_tune.perf_check.repositories.leftovers import Leftovers
from kallithea_tune.system.files import (
    Broken,
    NotAFile,
    below,
    entries,
    entry,
    opened,
    size_of,
    text,
)

# Added by extensions, which Kallithea may have switched on.
_OF_EXTENSIONS = frozenset({"largefiles", "lfs"})
ABANDONED = "a transaction was abandoned; pushes fail"
_ENTRY = 64
_SLOW_PATH = re.compile(r"(?m)^\s*revlog\.persistent-nodemap\.slow-path\s*=\s*(\w+)")


@dataclass(frozen=True)
class BranchCache:
    """The last revision that any of the branch caches covers, -1 without one, and whether Kallithea
    can renew them.
    """

    revision: int
    writable: bool


@dataclass(frozen=True)
class HgRepository:
    """The state of a Mercurial repository.

    `revisions` is None where a format is unknown or a push is under way. `hooks` are those of its
    ``hgrc``; `slow_path` is the setting there for a persistent nodemap without Rust.
    """

    name: str
    bytes: int
    requires: tuple[str, ...]
    revisions: Optional[int]
    manifest_bytes: int
    branch_cache: BranchCache
    hooks: Mapping[str, str]
    slow_path: str = ""
    leftovers: Leftovers = Leftovers()

    @property
    def uncached(self) -> int:
        """How many revisions no branch cache covers, 0 where Kallithea can renew the caches."""
        if self.branch_cache.writable or self.revisions is None:
            return 0
        return self.revisions - 1 - self.branch_cache.revision


def supported() -> Optional[list[str]]:
    """Return the requirements that the Mercurial of this Python knows, None where it has no list of
    them.
    """
    for module, name in (
        ("mercurial.localrepo", "gathersupportedrequirements"),
        ("mercurial.repo.requirements", "gather_supported_requirements"),
    ):
        try:
            known = getattr(importlib.import_module(module), name)(
                importlib.import_module("mercurial.ui").ui()
            )
            return sorted(item.decode("ascii") for item in known)
        except (ImportError, AttributeError):
            continue
    return None


def has_rust() -> bool:
    """Whether the Mercurial of this Python has its Rust extensions, without which a persistent
    nodemap is a burden.
    """
    try:
        importlib.import_module("mercurial.rustext")
    except ImportError:
        return False
    return True


def size_hint(path: str) -> int:
    """Return the bytes of changelog and manifest: enough to tell large from small, for the price of
    four calls of stat.
    """
    return sum(
        size_of(path, f".hg/store/{name}")
        for name in ("00changelog.i", "00changelog.d", "00manifest.i", "00manifest.d")
    )


def examine(name: str, path: str, end: float, known: Optional[Collection[str]]) -> HgRepository:
    """Read requirements, count revisions and bytes, these until `end` of the monotonic clock.

    Raises Broken where a Mercurial that supports the requirements `known` would not open the
    repository; None stands for any.
    """
    requires, place = _layout(path)
    unknown = sorted(requires - set(known) - _OF_EXTENSIONS) if known is not None else []
    if unknown:
        raise Broken(f"it requires {', '.join(unknown)}, which this Mercurial does not support")
    store = entry(place.root, place.store) if place.store else None
    if place.store and not (store and store.is_directory):
        raise Broken("its store is missing")
    return HgRepository(
        name,
        requires=tuple(sorted(requires)),
        revisions=_revisions(path, place),
        bytes=sum(
            item.require_unblocking(os.path.relpath(item.path, path)).status.st_size
            for item in below(path, end, ".hg")
        ),
        manifest_bytes=sum(
            size_of(place.root, place.in_store("00manifest" + suffix)) for suffix in (".i", ".d")
        ),
        hooks=hooks_of(path),
        slow_path=_slow_path(path),
        branch_cache=_branch_cache(place),
        leftovers=leftovers.of_hg(path, place.root, place.store, end),
    )


class _Place(NamedTuple):
    """Where a repository has what it may share: names inside the directory `root`.

    `cache` belongs to the ``.hg`` that it shares, or its own, and `store` may be that itself.
    """

    root: str
    cache: str
    store: str

    def in_store(self, name: str) -> str:
        return os.path.join(self.store, name)


def _layout(path: str) -> tuple[set[str], _Place]:
    """Return the requirements, and where the repository at `path` has its store and caches."""
    requires = set(text(path, ".hg/requires").split())
    root, control = path, ".hg"
    if requires & {"shared", "relshared"}:
        shared = text(path, ".hg/sharedpath").rstrip("\n")
        root, control = os.path.normpath(os.path.join(path, ".hg", shared)), ""
    store = os.path.join(control, "store") if requires & {"store", "share-safe"} else control
    place = _Place(root, os.path.join(control, "cache"), store)
    return requires | set(text(root, place.in_store("requires")).split()), place


def _revisions(path: str, place: _Place) -> Optional[int]:
    """Count the revisions; a repository that is locked is not Broken, since a push is under way."""
    locked = entry(place.root, place.in_store("lock")) or entry(path, ".hg/wlock")
    if entry(place.root, place.in_store("journal")) and not locked:
        raise Broken(ABANDONED)
    try:
        revisions = count(place.root, place.in_store("00changelog.i"))
        count(place.root, place.in_store("00manifest.i"))
    except NotAFile:
        raise
    except Broken:
        if not locked:
            raise
        return None
    return revisions


def count(directory: str, index: str) -> Optional[int]:
    """Return the number of revisions of the revlog `index` in `directory`, None for a format other
    than 1.

    Raises Broken when the index ends within an entry, or its data file before the end of the last
    revision (mercurial/revlogutils/constants.py, INDEX_ENTRY_V1).
    """
    length = size_of(directory, index)
    if not length:
        return 0
    with opened(directory, index) as file:
        head = file.read(4)
        flags, version = struct.unpack(">HH", head) if len(head) == 4 else (0, 0)
        if version != 1:
            return None
        name = os.path.basename(index)
        if flags & 1:
            return _count_inline(file, length, name)
        if length % _ENTRY:
            raise Broken(f"{name} ends within an entry")
        file.seek(length - _ENTRY)
        offset, compressed = struct.unpack(">QI", file.read(12))
        start = offset >> 16 if length > _ENTRY else 0
    if size_of(directory, index[:-1] + "d") < start + compressed:
        raise Broken(f"{name[:-1]}d is shorter than its index says")
    return length // _ENTRY


def _count_inline(file: BinaryIO, length: int, name: str) -> int:
    position = revisions = 0
    while position < length:
        file.seek(position)
        entry = file.read(_ENTRY)
        if len(entry) < _ENTRY:
            break
        position += _ENTRY + int(struct.unpack(">I", entry[8:12])[0])
        revisions += 1
    if position != length:
        raise Broken(f"{name} ends within an entry")
    return revisions


def _branch_cache(place: _Place) -> BranchCache:
    newest = -1
    for item in entries(place.root, place.cache):
        # branch2, branch2-served, branch2-visible ...; the caches of smaller views serve the larger
        # ones.
        if item.name.startswith(("branch2", "branch3")):
            name = os.path.join(place.cache, item.name)
            words = text(place.root, name, 200).split("\n", 1)[0].split(" ")
            if len(words) > 1 and words[1].isdigit():
                newest = max(newest, int(words[1]))
    cache = entry(place.root, place.cache)
    there = place.cache if cache and cache.is_directory else os.path.dirname(place.cache)
    store = os.path.join(place.root, place.store)
    return BranchCache(newest, _writable(os.path.join(place.root, there), store))


def _writable(directory: str, store: str) -> bool:
    """Whether Kallithea can write to `directory`; run by root, who always can, it compares the
    owner with that of the store.
    """
    if os.geteuid():
        return os.access(directory, os.W_OK)
    status = os.stat(directory)
    return bool(status.st_mode & stat.S_IWUSR) and status.st_uid == os.stat(store).st_uid


def _slow_path(path: str) -> str:
    matches = _SLOW_PATH.findall(text(path, ".hg/hgrc"))
    return str(matches[-1]) if matches else ""


def hooks_of(path: str) -> Mapping[str, str]:
    """Return the hooks that the ``hgrc`` of a repository sets; includes are ignored."""
    section, hooks = "", {}
    for line in text(path, ".hg/hgrc").split("\n"):
        if line.startswith("["):
            section = line.strip().strip("[]")
        key, equals, value = line.partition("=")
        if section == "hooks" and equals and key.strip() and key[0] not in " \t#;":
            hooks[key.strip()] = value.strip()
    return hooks
