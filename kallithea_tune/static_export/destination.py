"""Where a release may go, and what is there already: anything that could harm is refused."""

from __future__ import annotations

import os
from typing import Iterator, Optional, Sequence

from kallithea_tune.errors import ConfigError, Refused
from kallithea_tune.static_export import manifest
from kallithea_tune.static_export.manifest import Manifest

LOCK = ".lock"
STAGING = ".staging-"


def absolute(destination: str) -> str:
    """Return the path as it is used from here on. Raises ConfigError for one that no configuration
    could hold.
    """
    if not destination.strip() or any(ord(character) < 32 for character in destination):
        raise ConfigError("DEST is empty or holds a control character; name a directory")
    return os.path.abspath(destination)


def releases_of(destination: str) -> str:
    """Return the directory beside `destination` that holds its releases."""
    return os.path.abspath(destination) + ".releases"


def published(destination: str) -> Optional[Manifest]:
    """Return what is published at the absolute path `destination`, or None where nothing is yet.

    Raises Refused for the root, a home, a mount point, a directory with files that are not ours and
    a link that is not ours; ConfigError where the directory around it is missing.
    """
    real = os.path.realpath(destination)
    home = os.path.expanduser("~")
    homes = {os.path.realpath(home), os.path.realpath(os.path.dirname(home))}
    if os.path.dirname(real) == real or real in homes or os.path.dirname(real) == "/":
        raise Refused(
            f"{destination} is no place to publish into; name a directory of its own below it"
        )
    if not os.path.isdir(os.path.dirname(destination)):
        raise ConfigError(
            f"the directory {os.path.dirname(destination)} does not exist; make it first"
        )
    try:
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
    if not empty:
        raise Refused(
            f"{destination} holds files that are not ours; name a directory that is empty or not there"
        )
    if os.path.ismount(destination):
        raise Refused(
            f"{destination} is a mount point, which no link can replace; name a directory below it"
        )
    return None


def check_apart(destination: str, others: Sequence[str]) -> None:
    """Raise Refused when `destination` holds one of the directories `others`, or lies in one."""
    for place in (os.path.realpath(destination), os.path.realpath(releases_of(destination))):
        for other in map(os.path.realpath, others):
            if (other + os.sep).startswith(place + os.sep) or (place + os.sep).startswith(
                other + os.sep
            ):
                raise Refused(f"{destination} and {other} hold one another; publish elsewhere")


def _check_releases(destination: str) -> None:
    holder = releases_of(destination)
    if not os.path.lexists(holder):
        return
    if os.path.islink(holder) or not os.path.isdir(holder):
        raise Refused(f"{holder} is not a directory of ours; remove it or publish elsewhere")
    if os.stat(holder).st_dev != os.stat(os.path.dirname(holder)).st_dev:
        raise Refused(
            f"{holder} is a mount point, out of which no link can be renamed; publish elsewhere"
        )
    for name in sorted(os.listdir(holder)):
        ours = (
            name == LOCK
            or name.startswith(STAGING)
            or (name.isdigit() and os.path.isfile(os.path.join(holder, name, manifest.NAME)))
        )
        if not ours:
            raise Refused(
                f"{os.path.join(holder, name)} is not ours, for it has no {manifest.NAME}; move it away, or publish elsewhere"
            )


def _current(destination: str, real: str) -> Manifest:
    if os.path.dirname(real) != os.path.realpath(releases_of(destination)):
        raise Refused(
            f"{destination} is a link that leads out, to {real}; remove the link or name another place"
        )
    found = manifest.read(real)
    if found is None:
        raise Refused(f"{real} has lost its {manifest.NAME}; move it away to publish afresh")
    foreign = sorted(set(_files_below(real)) - found.names())
    if foreign:
        raise Refused(
            "%s holds %d files that are not ours, %s first; move them into an --overlay directory"
            % (destination, len(foreign), foreign[0])
        )
    return found


def _files_below(directory: str) -> Iterator[str]:
    for parent, _, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(os.path.join(parent, name), directory)
