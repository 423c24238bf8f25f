"""The directories that Kallithea works in: where the settings put them, and what is found there."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from typing import Any, Mapping, Sequence

from kallithea_tune.app import beaker_config
from kallithea_tune.config.instance import Instance
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import child, mounts
from kallithea_tune.system.scratch import PREFIX

Place = Mapping[str, Any]
# Without these Kallithea cannot work; all others it makes when it first needs them.
ESSENTIAL = ("repositories", "database")


def configured(instance: Instance) -> dict[str, str]:
    """Return the directories that the settings name, the most important first; without that of the
    repositories.
    """
    settings = instance.settings
    found = {
        "database": os.path.dirname(sqlite_file(instance.database_url) or ""),
        "cache_dir": instance.directory("cache_dir") or "",
        "index_dir": instance.directory("index_dir") or "",
        "sessions": beaker_config.session_directory(settings) or "",
        "archives": instance.directory("archive_cache_dir") or "",
    }
    with contextlib.suppress(ValueError):
        for region in beaker_config.regions(settings).values():
            if region.get("type") in ("file", "dbm"):
                found["file cache"] = region.get("data_dir") or ""
                found["cache locks"] = region.get("lock_dir") or ""
    return {name: os.path.abspath(path) for name, path in found.items() if path}


def look(places: Mapping[str, str], seconds: float) -> dict[str, Place]:
    """Return what `examine` says of each directory, by name; one that does not answer within
    `seconds` has ``silent``.

    One child looks at all; where it does not come back, each directory gets a child of its own, and
    those on the mount of one that hangs are not waited for.
    """
    function = "kallithea_tune.perf_check.storage.directories:examine_all"
    try:
        answers: list[Place] = child.call(function, seconds, paths=list(places.values()))
        return dict(zip(places, answers))
    except NotMeasured:
        pass
    found: dict[str, Place] = {}
    hung: dict[str, str] = {}
    for name, path in places.items():
        point = _mount_point(path)
        try:
            found[name] = {} if point in hung else child.call(function, seconds, paths=[path])[0]
        except NotMeasured as error:
            hung[point] = str(error)
        if point in hung:
            found[name] = {"path": path, "silent": hung[point], "point": point}
    return found


def _mount_point(path: str) -> str:
    """Return the mount point that `path` is below by its name alone, which asks no file system."""
    points = [
        mount.point
        for mount in mounts.table()
        if os.path.commonpath([path, mount.point]) == mount.point
    ]
    return max(points, key=len)


def examine_all(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return what `examine` says of each of `paths`; for a child."""
    table = mounts.table()
    return [examine(path, table) for path in paths]


def examine(path: str, table: Sequence[mounts.Mount]) -> dict[str, Any]:
    """Return where `path` leads, on which mount it is, what is free there, and whether it can be
    written.

    Where it does not exist its nearest ancestor is looked at. ``error`` is why it cannot be used at
    all, and ``write_error`` why nothing can be written; both are names of errno(3), empty when all
    is well.
    """
    found: dict[str, Any] = {"path": path, "exists": True, "error": "", "write_error": ""}
    try:
        try:
            os.lstat(path)
        except FileNotFoundError:
            found["exists"] = False
        place = path
        while not found["exists"] and not os.path.lexists(place):
            place = os.path.dirname(place)
        found.update(_facts(place, table))
    except OSError as error:
        return dict(found, error=_name(error))
    try:
        try_writing(place)
    except OSError as error:
        found["write_error"] = _name(error)
    return found


def _facts(place: str, table: Sequence[mounts.Mount]) -> dict[str, Any]:
    mount = mounts.holding(place, table)
    space = os.statvfs(place)
    return {
        "real": os.path.realpath(place),
        "device": os.stat(place).st_dev,
        "mount": vars(mount) if mount else None,
        "rotational": mounts.rotational(mount) if mount else None,
        "size": space.f_blocks * space.f_frsize,
        "free": space.f_bavail * space.f_frsize,
        "inodes": space.f_files,
        "free_inodes": space.f_favail,
    }


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def try_writing(directory: str) -> None:
    """Make a file in `directory` that never has a name, or a named one where the file system knows
    no other way.

    Raises OSError. A file without a name cannot be left behind, whenever this is killed.
    """
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        handle, path = tempfile.mkstemp(prefix=PREFIX, dir=directory)
        os.unlink(path)
        os.close(handle)
