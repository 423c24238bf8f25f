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
from typing import BinaryIO, Collection, Mapping, Optional

from kallithea_tune.system.files import Broken, below, entries, size, size_of, text

# Added by extensions, which Kallithea may have switched on.
_OF_EXTENSIONS = frozenset({"largefiles", "lfs"})
ABANDONED = "a transaction was abandoned; nobody can push"
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
    store = os.path.join(path, ".hg", "store")
    return sum(
        size_of(os.path.join(store, name))
        for name in ("00changelog.i", "00changelog.d", "00manifest.i", "00manifest.d")
    )


def examine(name: str, path: str, end: float, known: Optional[Collection[str]]) -> HgRepository:
    """Read requirements, count revisions and bytes, these until `end` of the monotonic clock.

    Raises Broken where a Mercurial that supports the requirements `known` would not open the
    repository; None stands for any.
    """
    control = os.path.join(path, ".hg")
    requires, source, store = _layout(control)
    unknown = sorted(requires - set(known) - _OF_EXTENSIONS) if known is not None else []
    if unknown:
        raise Broken(f"it requires {', '.join(unknown)}, which this Mercurial does not support")
    if not os.path.isdir(store):
        raise Broken("its store is missing")
    manifests = [os.path.join(store, "00manifest" + suffix) for suffix in (".i", ".d")]
    return HgRepository(
        name,
        requires=tuple(sorted(requires)),
        revisions=_revisions(control, store),
        bytes=sum(size(entry) for entry in below(control, end)),
        manifest_bytes=sum(map(size_of, manifests)),
        hooks=hooks_of(path),
        slow_path=_slow_path(control),
        branch_cache=_branch_cache(os.path.join(source, "cache"), store),
    )


def _layout(control: str) -> tuple[set[str], str, str]:
    """Return the requirements, the ``.hg`` directory that it shares (or its own), and the store."""
    requires = set(text(os.path.join(control, "requires")).split())
    shared = (
        text(os.path.join(control, "sharedpath")).rstrip("\n")
        if requires & {"shared", "relshared"}
        else ""
    )
    source = os.path.normpath(os.path.join(control, shared))
    store = os.path.join(source, "store") if requires & {"store", "share-safe"} else source
    return requires | set(text(os.path.join(store, "requires")).split()), source, store


def _revisions(control: str, store: str) -> Optional[int]:
    """Count the revisions; a repository that is locked is not Broken, since a push is under way."""
    locked = any(
        os.path.lexists(os.path.join(directory, name))
        for directory, name in ((store, "lock"), (control, "wlock"))
    )
    if os.path.exists(os.path.join(store, "journal")) and not locked:
        raise Broken(ABANDONED)
    try:
        revisions = count(os.path.join(store, "00changelog.i"))
        count(os.path.join(store, "00manifest.i"))
    except Broken:
        if not locked:
            raise
        return None
    return revisions


def count(index: str) -> Optional[int]:
    """Return the number of revisions of a revlog, None for a format other than 1.

    Raises Broken when the index ends within an entry, or its data file before the end of the last
    revision (mercurial/revlogutils/constants.py, INDEX_ENTRY_V1).
    """
    length = size_of(index)
    if not length:
        return 0
    with open(index, "rb") as file:
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
    if size_of(index[:-1] + "d") < start + compressed:
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


def _branch_cache(cache: str, store: str) -> BranchCache:
    newest = -1
    for entry in entries(cache):
        # branch2, branch2-served, branch2-visible ...; the caches of smaller views serve the larger
        # ones.
        if entry.name.startswith(("branch2", "branch3")):
            words = text(entry.path, 200).split("\n", 1)[0].split(" ")
            if len(words) > 1 and words[1].isdigit():
                newest = max(newest, int(words[1]))
    existing = cache if os.path.isdir(cache) else os.path.dirname(cache)
    return BranchCache(newest, _writable(existing, store))


def _writable(directory: str, store: str) -> bool:
    """Whether Kallithea can write to `directory`; run by root, who always can, it compares the
    owner with that of the store.
    """
    if os.geteuid():
        return os.access(directory, os.W_OK)
    status = os.stat(directory)
    return bool(status.st_mode & stat.S_IWUSR) and status.st_uid == os.stat(store).st_uid


def _slow_path(control: str) -> str:
    matches = _SLOW_PATH.findall(text(os.path.join(control, "hgrc")))
    return str(matches[-1]) if matches else ""


def hooks_of(path: str) -> Mapping[str, str]:
    """Return the hooks that the ``hgrc`` of a repository sets; includes are ignored."""
    section, hooks = "", {}
    for line in text(os.path.join(path, ".hg", "hgrc")).split("\n"):
        if line.startswith("["):
            section = line.strip().strip("[]")
        key, equals, value = line.partition("=")
        if section == "hooks" and equals and key.strip() and key[0] not in " \t#;":
            hooks[key.strip()] = value.strip()
    return hooks
