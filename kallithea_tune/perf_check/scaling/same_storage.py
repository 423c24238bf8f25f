"""Looks where paths lead, and for a file written through one of them through the others."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import Iterator, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.scaling.sameness import Crossing, Spot
from kallithea_tune.system import child
from kallithea_tune.system.scratch import PREFIX

# Of an unguessable name, and of what the file contains.
TOKEN_BYTES = 16


def crossings(groups: Sequence[Sequence[str]], seconds: float, write: bool) -> tuple[Crossing, ...]:
    """Return what is known of the paths of each group, all within `seconds`.

    With `write`, a file is made for each path of a group of several, read through the others and
    removed at once. Where the child is killed, another one removes what it left. Raises
    NotMeasured, as a disk may hang.
    """
    names = [
        [PREFIX + secrets.token_hex(TOKEN_BYTES) if write else "" for _ in one] for one in groups
    ]
    try:
        return child.call(look, seconds, groups=groups, names=names)
    except BaseException:
        if write:
            with contextlib.suppress(NotMeasured):
                child.clean_up(remove, 2.0, groups=groups, names=names)
        raise


def look(groups: Sequence[Sequence[str]], names: Sequence[Sequence[str]]) -> tuple[Crossing, ...]:
    """Look at the paths of each group, with files of these `names`; for a child."""
    return tuple(_cross([spot(path) for path in one], own) for one, own in zip(groups, names))


def remove(groups: Sequence[Sequence[str]], names: Sequence[Sequence[str]]) -> None:
    """Remove what `look` may have left; for a child."""
    for paths, own in zip(groups, names):
        for path, name in zip(paths, own):
            with contextlib.suppress(OSError), _directory(spot(path).directory) as directory:
                os.unlink(name, dir_fd=directory)


def spot(path: str) -> Spot:
    """Return where `path` leads."""
    try:
        nearest = path
        while True:
            try:
                status = os.stat(nearest)
                break
            except FileNotFoundError:
                if os.path.dirname(nearest) == nearest:
                    raise
                nearest = os.path.dirname(nearest)
        exists, directory = nearest == path, nearest
        if exists and not os.path.isdir(path):
            path_of_file = os.path.realpath(path)
            directory, rest = os.path.split(path_of_file)
        else:
            rest = "" if exists else os.path.relpath(path, nearest)
    except OSError as error:
        return Spot(path, failure=f"{path} cannot be examined: {error.strerror}")
    return Spot(path, directory, rest, exists, status.st_dev, status.st_ino)


def _cross(spots: Sequence[Spot], names: Sequence[str]) -> Crossing:
    if len(spots) < 2 or not all(names):
        return Crossing(tuple(spots))
    content = secrets.token_hex(TOKEN_BYTES).encode()
    with contextlib.ExitStack() as stack:
        unwritten = []
        for item, name in zip(spots, names):
            try:
                stack.enter_context(_token(item.directory, name, content))
                unwritten.append("")
            except OSError as error:
                unwritten.append(f"no file could be created in {item.directory}: {error.strerror}")
        unread = [
            tuple(_reading(item.directory, name, content) for item in spots) for name in names
        ]
    return Crossing(tuple(spots), tuple(unwritten), tuple(unread))


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _token(place: str, name: str, content: bytes) -> Iterator[None]:
    """Make a file and remove it at the end. It is closed, upon which NFS sends it."""
    with _directory(place) as directory:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            try:
                os.write(descriptor, content)
            finally:
                os.close(descriptor)
            yield
        finally:
            os.unlink(name, dir_fd=directory)


def _reading(place: str, name: str, content: bytes) -> str:
    """Return nothing where the file is there, else a name of errno(3)."""
    try:
        with _directory(place) as directory:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=directory)
            try:
                return "" if os.read(descriptor, len(content)) == content else "EIO"
            finally:
                os.close(descriptor)
    except OSError as error:
        return errno.errorcode.get(error.errno or errno.EIO, "EIO")
