"""The directories that Kallithea works in: where the settings put them, and their state."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

from kallithea_tune.app.directories import configured
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.root import repositories_root
from kallithea_tune.system import child, mounts
from kallithea_tune.system.account import account_of
from kallithea_tune.system.mounts import Mount
from kallithea_tune.system.scratch import PREFIX

# A disk under heavy load may delay one operation this long; beyond it, whatever is served from
# there has stopped.
ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class Location:
    """Where a directory is, and the space there that users other than root may take.

    `size` and `free` are in bytes; `inodes` is 0 where the file system does not count them.
    """

    real: str
    device: int
    mount: Optional[Mount]
    rotational: Optional[bool]
    size: int
    free: int
    inodes: int
    free_inodes: int


@dataclass(frozen=True)
class Directory:
    """One directory; where it does not exist, `location` is that of its nearest ancestor.

    `error` is why it cannot be used at all and `write_error` why nothing can be written, both names
    of errno(3), empty when all is well. `no_answer` is the reason why nothing is known of it: the
    file system at `hung_mount` does not answer.
    """

    path: str
    exists: bool = True
    location: Optional[Location] = None
    error: str = ""
    write_error: str = ""
    no_answer: str = ""
    hung_mount: str = ""

    @property
    def usable(self) -> Optional[str]:
        """The real path of a directory that exists and answers, else None."""
        return self.location.real if self.location and self.exists else None


@dataclass(frozen=True)
class FileSystem:
    """Directories on the same file system: what is measured in one is true for all.

    `mount` and `location` are those of the most important of them; bind mounts and subvolumes of
    btrfs are the same file system.
    """

    mount: Mount
    location: Location
    directories: dict[str, Directory]

    @property
    def full(self) -> bool:
        """Whether no file could be made for lack of space."""
        return next(iter(self.directories.values())).write_error == "ENOSPC"

    @property
    def writable(self) -> str:
        """The path of the most important directory that takes files.

        Raises NotMeasured where none does.
        """
        for directory in self.directories.values():
            if directory.location and not directory.write_error:
                return directory.location.real
        raise NotMeasured(f"nothing can be written on {self.mount.point}")


@dataclass(frozen=True)
class Directories:
    """All directories by name, the most important first, as `user` can use them.

    `unknown_root` is the reason why that of the repositories is not known and not among them.
    """

    by_name: Mapping[str, Directory]
    user: str
    unknown_root: str = ""

    @property
    def examined(self) -> Examined:
        """How many of the directories answered."""
        answered = sum(not directory.no_answer for directory in self.by_name.values())
        return Examined(answered, len(self.by_name) + bool(self.unknown_root), "directory")

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """The directories that answered, by the device in the table of mounts."""
        found: dict[str, FileSystem] = {}
        for name, directory in self.by_name.items():
            location = directory.location
            if location and location.mount:
                new = FileSystem(location.mount, location, {})
                found.setdefault(location.mount.device, new).directories[name] = directory
        return tuple(found.values())


@measurement(
    seconds=0.5, writes="a file without a name in each directory", uses=(repositories_root,)
)
def directories(context: Context) -> Directories:
    """Examine the directory of the repositories and those in the settings, in child processes."""
    paths: dict[str, str] = {}
    unknown_root = ""
    try:
        paths["repositories"] = context.measure(repositories_root).path
    except (NotMeasured, TuneError) as error:
        unknown_root = str(error)
    paths.update(configured(context.instance))
    user = account_of(os.geteuid(), os.getegid()).name
    return Directories(survey(paths, ANSWER_SECONDS), user, unknown_root)


def survey(paths: Mapping[str, str], seconds: float) -> dict[str, Directory]:
    """Return the directories of `paths` by name; one that hangs for `seconds` has `no_answer`.

    One child examines all. Where it does not return, each directory gets a child of its own, and
    those on the mount of one that hangs are not waited for.
    """
    with contextlib.suppress(NotMeasured):
        return dict(zip(paths, child.call(examine_all, seconds, paths=list(paths.values()))))
    found: dict[str, Directory] = {}
    hung: dict[str, str] = {}
    for name, path in paths.items():
        point = _mount_point(path)
        if point not in hung:
            try:
                (found[name],) = child.call(examine_all, seconds, paths=[path])
                continue
            except NotMeasured as error:
                hung[point] = str(error)
        found[name] = Directory(path, no_answer=hung[point], hung_mount=point)
    return found


def _mount_point(path: str) -> str:
    """Return the mount point above `path` by its name alone, without a call to the file system."""
    points = [
        mount.point
        for mount in mounts.table()
        if os.path.commonpath([path, mount.point]) == mount.point
    ]
    return max(points, key=len)


def examine_all(paths: Sequence[str]) -> tuple[Directory, ...]:
    """Examine each of `paths`; for a child, since a file system may hang."""
    table = mounts.table()
    return tuple(examine(path, table) for path in paths)


def examine(path: str, table: Sequence[Mount]) -> Directory:
    """Find where `path` leads and whether a file can be made there."""
    exists = True
    try:
        try:
            os.lstat(path)
        except FileNotFoundError:
            exists = False
        nearest = path
        while not exists and not os.path.lexists(nearest):
            nearest = os.path.dirname(nearest)
        location = _location(nearest, table)
    except OSError as error:
        return Directory(path, exists, error=_name(error))
    try:
        try_writing(nearest)
    except OSError as error:
        return Directory(path, exists, location, write_error=_name(error))
    return Directory(path, exists, location)


def _location(directory: str, table: Sequence[Mount]) -> Location:
    mount = mounts.holding(directory, table)
    space = os.statvfs(directory)
    return Location(
        real=os.path.realpath(directory),
        device=os.stat(directory).st_dev,
        mount=mount,
        rotational=mounts.rotational(mount) if mount else None,
        size=space.f_blocks * space.f_frsize,
        free=space.f_bavail * space.f_frsize,
        inodes=space.f_files,
        free_inodes=space.f_favail,
    )


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def try_writing(directory: str) -> None:
    """Make a file in `directory` that never has a name. Raises OSError.

    It cannot be left behind, whenever this is killed. Where the file system knows no such files the
    file has a name for a moment.
    """
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        handle, path = tempfile.mkstemp(prefix=PREFIX, dir=directory)
        os.unlink(path)
        os.close(handle)
