"""Reads the state of a bare Git repository from its files: objects, packs, refs, hooks, and the
log of the last gc.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Mapping, Optional

from kallithea_tune.app.repositories import require_unblocking
from kallithea_tune.perf_check.repositories import git_names, leftovers
from kallithea_tune.perf_check.repositories.git_hooks import GitHooks, read_hooks
from kallithea_tune.perf_check.repositories.leftovers import Leftovers
from kallithea_tune.system.files import Broken, below, entries, entry, text

# git-config manual, gc.auto and gc.autoPackLimit: above these, "git gc --auto" packs.
MOST_LOOSE, MOST_PACKS = 6700, 50
# More than so many refs are worth a look at what they are: see GIT002.
MANY_REFS = 2500
# Settings that keep git from packing after a push: git-config manual.
_GC_SETTINGS = {
    name.lower(): name
    for name in ("gc.auto", "gc.autoPackLimit", "receive.autogc", "maintenance.auto")
}
_OFF = frozenset({"false", "no", "off", "0"})
_NUMBER = re.compile(r"(-?\d+)([kmg]?)$")
# What distinguishes refs that a script made: numbers, dates, hashes.
_VARYING = re.compile(r"(?:[0-9a-f]{7,40}|\d[\d._-]*)$")
_SECTION = re.compile(r'\[\s*([\w.-]+)(?:\s+"(.*)")?\s*\]')
_OBJECT = re.compile(r"[0-9a-f]{40}$")
# What git takes for a HEAD; without one, the directory is no repository to it.
_HEAD = re.compile(r"ref:\s*refs/\S|[0-9a-f]{40}(?:[0-9a-f]{24})?$")
NO_HEAD = "its HEAD is missing or damaged"
_FAN_OUT = re.compile(r"[0-9a-f]{2}$")
# The only values that dulwich 0.19 can read, by the option of the repository's config.
_UNREADABLE = {"extensions.objectformat": "sha1", "extensions.refstorage": "files"}


@dataclass(frozen=True)
class LooseObjects:
    """Objects in files of their own."""

    count: int
    bytes: int


@dataclass(frozen=True)
class Packs:
    """Packs; those with a ``.keep`` file are not counted, as git gc ignores them."""

    count: int
    bytes: int
    bitmap: bool


@dataclass(frozen=True)
class Refs:
    """Branches, tags and other refs.

    `dangling_head` is the branch that HEAD refers to where that is missing although there are
    others, of which `branch` is the first. Where there are many, most of those that differ in a
    number only match the glob `alike`, and are so many.
    """

    count: int
    loose: int
    dangling_head: str = ""
    branch: str = ""
    alike: str = ""
    alike_count: int = 0


@dataclass(frozen=True)
class Setting:
    """A setting of git, and the file that has it."""

    file: str
    name: str
    value: str

    @property
    def stops_all(self) -> bool:
        """Whether git never packs by itself with it."""
        if self.name == "gc.autoPackLimit":
            return False
        return self.value.lower() in _OFF or (self.number is not None and self.number <= 0)

    @property
    def number(self) -> Optional[int]:
        """Its value as git reads a number, None where it is none."""
        match = _NUMBER.match(self.value.lower())
        return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2]] if match else None


@dataclass(frozen=True)
class GitRepository:
    """The state of a bare Git repository.

    `gc_log` has the complaints of an earlier gc; `settings` are those of its own configuration file
    that say when gc starts.
    """

    name: str
    loose: LooseObjects
    packs: Packs
    refs: Refs
    hooks: GitHooks
    commit_graph: bool
    leftovers: Leftovers = Leftovers()
    gc_log: str = ""
    settings: tuple[Setting, ...] = ()

    @property
    def bytes(self) -> int:
        """The size of packs and loose objects."""
        return self.packs.bytes + self.loose.bytes

    @property
    def untidiness(self) -> float:
        """How far it is beyond the limits of git gc, which packs from 1 on."""
        return max(self.loose.count / MOST_LOOSE, self.packs.count / MOST_PACKS)

    @property
    def untidy(self) -> bool:
        """Whether git gc would pack it."""
        return self.untidiness > 1


def size_hint(path: str) -> int:
    """Return the bytes in packs: enough to tell large from small, for the price of listing one
    directory.
    """
    return sum(
        item.status.st_size
        for item in entries(path, "objects/pack")
        if item.name.startswith("pack-")
    )


def examine(name: str, path: str, end: float) -> GitRepository:
    """Count objects, packs and refs as ``git count-objects`` and ``for-each-ref`` would.

    Stops counting loose objects at `end` of the monotonic clock. Raises Broken where git or
    Kallithea could not read the repository.
    """
    require_unblocking("git", path, end)
    settings = config(text(path, "config"))
    for key, readable in _UNREADABLE.items():
        if settings.get(key, readable) != readable:
            raise Broken(f"{key} = {settings[key]}, which Kallithea cannot read")
    _require_alternates(path)
    graphs = ("commit-graph", "commit-graphs/commit-graph-chain")
    return GitRepository(
        name,
        packs=_packs(path),
        refs=_refs(path),
        commit_graph=any(entry(path, f"objects/info/{graph}") for graph in graphs),
        gc_log=" ".join(text(path, "gc.log", 500).split()),
        settings=gc_settings(path, "config"),
        hooks=read_hooks(path, settings),
        leftovers=leftovers.of_git(path, end),
        loose=_loose(path, end),
    )


def gc_settings(directory: str, name: str) -> tuple[Setting, ...]:
    """Return the settings in a configuration file that say when gc starts."""
    found = config(text(directory, name))
    return tuple(
        Setting(os.path.join(directory, name), _GC_SETTINGS[key], value)
        for key, value in found.items()
        if key in _GC_SETTINGS
    )


def shared_settings(home: str) -> tuple[Setting, ...]:
    """Return those of all repositories of the user with the directory `home`, the strongest last.

    A file that is a link, or cannot be read, is left out.
    """
    found: tuple[Setting, ...] = ()
    for place in (("/etc", "gitconfig"), (home, ".config/git/config"), (home, ".gitconfig")):
        with contextlib.suppress(Broken, OSError):
            found += gc_settings(*place)
    return found


def _require_alternates(path: str) -> None:
    objects = os.path.join(path, "objects")
    for line in text(path, "objects/info/alternates").split("\n"):
        other = git_names.unquoted(line)
        if line[:1] not in ("", "#") and not os.path.isdir(os.path.join(objects, other)):
            raise Broken(f"it borrows objects from {other}, which does not exist")


def _loose(path: str, end: float) -> LooseObjects:
    count = total = 0
    for directory in entries(path, "objects"):
        if not _FAN_OUT.match(directory.name) or time.monotonic() > end:
            continue
        for item in entries(path, f"objects/{directory.name}"):
            if len(item.name) == 38:
                name = directory.name + item.name
                length = item.require_unblocking(f"the object {name}").status.st_size
                count += 1
                total += length
                if not length and entry(path, f"objects/{directory.name}/{item.name}"):
                    raise Broken(f"the object {name} is an empty file")
    return LooseObjects(count, total)


def _packs(path: str) -> Packs:
    sizes = {item.name: item.status.st_size for item in entries(path, "objects/pack")}
    packs = [name[:-5] for name in sizes if name.startswith("pack-") and name.endswith(".pack")]
    for name in packs:
        # A pack is renamed into place before its index, so a missing index may be one of a push
        # under way.
        if name + ".idx" in sizes and sizes[name + ".pack"] < 32:
            raise Broken(f"the pack {name}.pack is truncated")
    for name in sizes:
        if name.startswith("pack-") and name.endswith(".idx") and name[:-4] + ".pack" not in sizes:
            raise Broken(f"the pack of {name} is missing")
    return Packs(
        count=sum(name + ".keep" not in sizes for name in packs),
        bytes=sum(size for name, size in sizes.items() if name.startswith("pack-")),
        bitmap=any(name.endswith(".bitmap") for name in sizes),
    )


def _refs(path: str) -> Refs:
    head = text(path, "HEAD", 1000).strip()
    if not _HEAD.match(head):
        raise Broken(NO_HEAD)
    loose = _loose_refs(path)
    for name, length in loose.items():
        if not length and entry(path, name):
            raise Broken(f"{name} is an empty file")
    every = set(loose).union(_packed_refs(path))
    target = head[5:].strip() if head.startswith("ref: ") else ""
    branches = [name for name in every if name.startswith("refs/heads/")]
    alike, alike_count = "", 0
    if len(every) > MANY_REFS:
        patterns = Counter(_VARYING.sub("*", name) for name in every)
        ((alike, alike_count),) = patterns.most_common(1)
    return Refs(
        count=len(every),
        loose=len(loose),
        # Kallithea shows a repository whose HEAD leads nowhere as empty.
        dangling_head=target if target and branches and target not in every else "",
        branch=min(branches, default=""),
        alike=alike if alike_count > 1 else "",
        alike_count=alike_count,
    )


def object_names(path: str) -> dict[str, str]:
    """Return the object name of every ref; symbolic refs are left out."""
    loose = {name: text(path, name, 100).strip() for name in _loose_refs(path)}
    return {
        name: value
        for name, value in {**_packed_refs(path), **loose}.items()
        if _OBJECT.match(value)
    }


def head_commit(path: str) -> str:
    """Return the object name of the commit at HEAD, empty where there is none."""
    head = text(path, "HEAD", 1000).strip()
    target = head[5:].strip() if head.startswith("ref: ") else ""
    if target.startswith("refs/") and git_names.is_ref(target):
        head = text(path, target, 100).strip() or _packed_refs(path).get(target, "")
    return head if _OBJECT.match(head) else ""


def _loose_refs(path: str) -> dict[str, int]:
    sizes = {}
    for item in below(path, float("inf"), "refs"):
        name = os.path.relpath(item.path, path)
        if git_names.is_ref(name):
            sizes[name] = item.require_file(name).status.st_size
    return sizes


def _packed_refs(path: str) -> dict[str, str]:
    lines = (
        line.split(" ", 1)
        for line in text(path, "packed-refs", 1 << 26).split("\n")
        if line[:1] not in ("#", "^", "") and " " in line
    )
    return {name: value for value, name in lines}


def config(source: str) -> Mapping[str, str]:
    """Return the settings of a Git configuration file as ``section.key``, the last of each;
    includes are ignored.
    """
    section, settings = "", {}
    for line in source.split("\n"):
        match = _SECTION.match(line.strip())
        if match:
            section = match[1].lower() + (f".{match[2]}" if match[2] else "")
        key, equals, value = line.partition("=")
        if not match and equals and key.strip()[:1] not in ("#", ";"):
            settings[f"{section}.{key.strip().lower()}"] = value.strip()
    return settings
