"""Where a release may go, and what is there already: dangerous places are refused."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Optional, Sequence

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export.release import manifest
from kallithea_tune.static_export.release.manifest import Manifest
from kallithea_tune.system import written_path

LOCK = ".lock"
STAGING = ".staging-"


def absolute(destination: str) -> str:
    """Return the absolute path. Raises ConfigError for one that no configuration can contain."""
    written_path.refuse_control_characters(destination, "DEST")
    return os.path.abspath(destination)


def releases_of(destination: str) -> str:
    """Return the directory beside `destination` with its releases."""
    return os.path.abspath(destination) + ".releases"


def published(destination: str) -> Optional[Manifest]:
    """Return what is published at the absolute path `destination`, or None where nothing is yet.

    Raises Refused for the root, a home, a mount point, and a directory or link that is not ours;
    ConfigError where its parent directory is missing.
    """
    real = os.path.realpath(destination)
    _refuse_dangerous(destination, real)
    try:
        written_path.resolved(os.path.dirname(destination), "DEST")
        with contextlib.suppress(FileNotFoundError):
            os.lstat(releases_of(destination))
        _check_releases(destination)
        if os.path.islink(destination):
            return _current(destination, real)
        empty = (
            not os.path.lexists(destination)
            or os.path.isdir(destination)
            and not os.listdir(destination)
        )
    except OSError as error:
        raise ConfigError(
            f"{error.filename or destination} cannot be read: {error.strerror}"
        ) from None
    if not empty and not os.path.isdir(destination):
        raise Refused(f"{destination} exists and is not a directory; publish elsewhere")
    if not empty and is_copy(destination):
        raise Refused(
            f"{destination} is a copy of a release instead of the link to it; "
            "move it away, and run the command again"
        )
    if not empty:
        raise Refused(
            f"{destination} contains files that static-export did not create; "
            "give a directory that is empty or does not exist"
        )
    if os.path.ismount(destination):
        raise Refused(
            f"{destination} is a mount point, which no link can replace; give a directory below it"
        )
    return None


def is_copy(destination: str) -> bool:
    """Whether a directory with the files of a release is in place of the link to it."""
    return not os.path.islink(destination) and os.path.isfile(
        os.path.join(destination, manifest.NAME)
    )


def lost(destination: str) -> str:
    """Return what of an earlier export at the absolute path `destination` was deleted by hand.

    One sentence; empty where nothing was published before, or all is there.
    """
    releases = releases_of(destination)
    if os.path.islink(destination) and not os.path.exists(destination):
        gone = releases if not os.path.lexists(releases) else os.path.realpath(destination)
        return f"{gone}, to which {destination} leads, was deleted"
    left = os.listdir(releases) if os.path.isdir(releases) else []
    if not os.path.lexists(destination) and any(map(str.isdigit, left)):
        return f"{destination}, the link to the newest release, was deleted"
    return ""


def check_apart(destination: str, others: Sequence[str]) -> None:
    """Raise Refused when `destination` is inside one of the directories `others`, or around it."""
    for place in (os.path.realpath(destination), os.path.realpath(releases_of(destination))):
        for other in map(os.path.realpath, others):
            if os.path.commonpath([place, other]) in (place, other):
                raise Refused(
                    f"one of {destination} and {other} is inside the other; publish elsewhere"
                )


def _refuse_dangerous(destination: str, real: str) -> None:
    home = os.path.expanduser("~")
    homes = {os.path.realpath(home), os.path.realpath(os.path.dirname(home))}
    parent = os.path.dirname(real)
    if parent in (real, "/") or real in homes:
        raise Refused(f"{destination} cannot be published to; give a directory below it")
    if not os.path.isdir(os.path.dirname(destination)):
        raise ConfigError(
            f"the directory {os.path.dirname(destination)} does not exist; create it first"
        )


def _check_releases(destination: str) -> None:
    releases = releases_of(destination)
    if not os.path.lexists(releases):
        return
    if os.path.islink(releases) or not os.path.isdir(releases):
        raise Refused(
            f"{releases} is not a directory created by static-export; "
            "remove it or publish elsewhere"
        )
    parent, status = os.stat(os.path.dirname(releases)), os.stat(releases)
    if status.st_uid not in (0, os.geteuid(), parent.st_uid):
        raise Refused(f"{releases} belongs to another user; publish elsewhere")
    if status.st_dev != parent.st_dev:
        raise Refused(
            f"{releases} is a mount point, and no link can be renamed out of it; publish elsewhere"
        )
    for name in sorted(os.listdir(releases)):
        path = os.path.join(releases, name)
        ours = (
            (name == LOCK and stat.S_ISREG(os.lstat(path).st_mode))
            or name.startswith(STAGING)
            or (name.isdigit() and os.path.isfile(os.path.join(path, manifest.NAME)))
        )
        if not ours:
            raise Refused(
                f"{path} is not a release, since it has no {manifest.NAME}; "
                "move it away, or publish elsewhere"
            )


def _current(destination: str, real: str) -> Optional[Manifest]:
    if os.path.dirname(real) != os.path.realpath(releases_of(destination)):
        raise Refused(
            f"{destination} is a link to {real}, which is not one of its releases; "
            "remove the link or give another directory"
        )
    if not os.path.lexists(real):
        return None
    release = manifest.read(real)
    if release is None:
        raise Refused(
            f"{real} no longer contains {manifest.NAME}; move it away to publish from scratch"
        )
    return release
