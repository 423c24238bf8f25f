"""Whether a release on disk still is what was published: nothing changed, and nothing added."""

from __future__ import annotations

import enum
import os
import stat
import time
from dataclasses import dataclass
from typing import Iterator, Mapping, NamedTuple, Optional

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release import access, seal
from kallithea_tune.static_export.release.manifest import RELEASE_NAME, SEAL_NAME, Manifest
from kallithea_tune.static_export.sources.collect import file_sha256
from kallithea_tune.system import files, interruption

# Some file systems store whole seconds only, or multiples of two.
COARSEST_NS = 2 * 10**9
# Content that replaces other content gets a later second, so releases in quick succession are ahead
# of the clock by as many seconds. More than this was published while the clock was wrong.
AHEAD_NS = 3600 * 10**9


class Damage(enum.Enum):
    """What happened to a path of a release.

    `unproven` is a variant of which no seal says what it contained.
    """

    missing = "missing"
    kind = "no file any more"
    content = "other content"
    time = "another time"
    future = "a time in the future"
    mode = "another mode"
    owner = "another owner"
    group = "another group"
    file = "a file put there"
    link = "a link put there"
    directory = "an empty directory put there"
    special = "a device, socket or FIFO put there"
    unproven = "nothing to compare it with"

    @property
    def misleads(self) -> bool:
        """Whether browsers may have got other content under the ETag of the file."""
        return self in (Damage.content, Damage.kind)


@dataclass(frozen=True)
class Condition:
    """What is wrong with a release, by path, and how many files had to be read to know."""

    damaged: Mapping[str, Damage]
    read: int = 0


class Expected(NamedTuple):
    """A file as it was published; `path` is the one of the manifest that it belongs to.

    `sha256` is empty where nobody knows, `mtime_ns` 0 and `size` -1 where any will do. `own` is
    whether mode and owner are of our making.
    """

    path: str
    sha256: str = ""
    size: int = -1
    mtime_ns: int = 0
    own: bool = True


class Rights(NamedTuple):
    """The mode and the group of a release, None for any, and who may own what is in it."""

    mode: int
    group: Optional[int]
    owners: frozenset[int]

    def damage(self, status: os.stat_result, is_directory: bool = False) -> Optional[Damage]:
        """Return what is wrong with the access to a file or directory. Pure."""
        mode = access.directory_mode(self.mode) if is_directory else self.mode
        if stat.S_IMODE(status.st_mode) != mode:
            return Damage.mode
        if status.st_uid not in self.owners:
            return Damage.owner
        return Damage.group if self.group not in (None, status.st_gid) else None


def inspect(release: Manifest, directory: str) -> Condition:
    """Return the condition of the release in `directory`; what changed lately is read.

    Raises ConfigError for what cannot be read.
    """
    directory = os.path.realpath(directory)
    try:
        found, sealed = entries(directory), seal.read(directory)
        rights = _rights(release, directory)
        damaged = strangers(release, found)
        damaged.update(_closed(release, found, rights))
        read: dict[tuple[int, int], str] = {}
        for name, expected in _expected(release, sealed).items():
            damage = _damage(expected, release, found.get(name), rights)
            if damage is None and not _proven(sealed.get(name), expected, found[name]):
                interruption.check()
                damage = _content(expected, found[name].path, read)
            if damage:
                damaged.setdefault(expected.path, damage)
        if _release_name(directory) != os.path.basename(directory):
            damaged.setdefault(RELEASE_NAME, Damage.content)
    except (OSError, files.Broken) as error:
        place = getattr(error, "filename", None) or directory
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{place} cannot be read: {reason}") from None
    return Condition(dict(sorted(damaged.items())), len(read))


def entries(directory: str) -> dict[str, files.Entry]:
    """Return everything below `directory` by its path there; itself is ``.``. Raises OSError."""
    found = {".": files.Entry(".", directory, os.lstat(directory))}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(os.path.join(directory, below)) as items:
            for item in items:
                path = below + item.name
                entry = files.Entry(item.name, item.path, item.stat(follow_symlinks=False))
                found[path] = entry
                if entry.is_directory:
                    waiting.append(path + "/")
    return found


def strangers(release: Manifest, found: Mapping[str, files.Entry]) -> dict[str, Damage]:
    """Return what of `found` was not published. Pure."""
    names = release.names()
    full = {os.path.dirname(path) for path in found}
    strange = {}
    for path, entry in found.items():
        if path in names or path == ".":
            continue
        if not entry.is_directory:
            kinds = {"file": Damage.file, "link": Damage.link}
            strange[path] = kinds.get(entry.kind, Damage.special)
        elif path not in full:
            strange[path] = Damage.directory
    return strange


def _closed(
    release: Manifest, found: Mapping[str, files.Entry], rights: Rights
) -> Iterator[tuple[str, Damage]]:
    for path in {".", *filter(None, map(os.path.dirname, release.names()))}:
        while path:
            entry = found.get(path)
            damage = entry and entry.is_directory and rights.damage(entry.status, True)
            if damage:
                yield path, damage
            path = os.path.dirname(path)


def _rights(release: Manifest, directory: str) -> Rights:
    """Return who may own a release: who published it, or us, or who owns the place."""
    around = (directory, os.path.dirname(directory), os.path.dirname(os.path.dirname(directory)))
    owners = {0, os.geteuid(), *(os.stat(path).st_uid for path in around)}
    recipe = release.recipe
    return Rights(recipe.mode, access.group_id(recipe.group), frozenset(owners))


def _expected(release: Manifest, sealed: seal.Seal) -> dict[str, Expected]:
    """Return every file that a release consists of. Pure."""
    how = release.recipe.how
    expected = {name: Expected(name) for name in release.bookkeeping - {SEAL_NAME}}
    for path, item in release.files.items():
        file = item.file
        expected[path] = Expected(path, file.sha256, file.size, item.mtime_ns, how == "copy")
    for variant in release.variants():
        sha256 = sealed[variant.name].sha256 if variant.name in sealed else ""
        # The file behind a symbolic link may be touched without a new variant.
        mtime_ns = 0 if how == "symlink" else release.files[variant.path].mtime_ns
        expected[variant.name] = Expected(variant.path, sha256, variant.size, mtime_ns)
    for name, beside in release.lasting.items():
        expected[name] = expected[beside]._replace(own=how == "copy")
    return expected


def _damage(
    expected: Expected, release: Manifest, found: Optional[files.Entry], rights: Rights
) -> Optional[Damage]:
    """Return what is wrong with a file, as far as its status says."""
    if found is None:
        return Damage.missing
    linked = release.recipe.how == "symlink" and not expected.own and found.kind == "link"
    if not found.is_file and not linked:
        return Damage.kind
    try:
        status = os.stat(found.path) if linked else found.status
    except OSError:
        return Damage.missing
    if linked and not stat.S_ISREG(status.st_mode):
        return Damage.kind
    if expected.size not in (-1, status.st_size):
        return Damage.content
    if expected.mtime_ns and abs(status.st_mtime_ns - expected.mtime_ns) >= COARSEST_NS:
        return Damage.time
    item = release.files.get(expected.path)
    if item and not item.kept and item.mtime_ns > time.time_ns() + AHEAD_NS:
        return Damage.future
    return rights.damage(status) if expected.own else None


def _proven(sealed: Optional[seal.Sealed], expected: Expected, found: files.Entry) -> bool:
    """Whether the content need not be read."""
    if expected.size == -1:
        return True
    return (
        sealed is not None
        and sealed.sha256 == expected.sha256
        and sealed.proves(os.stat(found.path) if found.kind == "link" else found.status)
    )


def _content(expected: Expected, path: str, read: dict[tuple[int, int], str]) -> Optional[Damage]:
    """Return what is wrong with a file's content; `read` has the SHA-256 of each file read."""
    if not expected.sha256:
        return Damage.unproven
    status = os.stat(path)
    inode = status.st_dev, status.st_ino
    if inode not in read:
        read[inode] = file_sha256(path)
    return None if read[inode] == expected.sha256 else Damage.content


def _release_name(directory: str) -> str:
    return files.text(directory, RELEASE_NAME, 256)
