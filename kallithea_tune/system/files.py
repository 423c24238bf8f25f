"""Reads files and directories in which a stranger may have put anything; never writes.

A path is given in two parts. Links in the first, the directory, are the admin's own and are
followed. In the second no component is followed, and only regular files are opened: a link leads
anywhere, a FIFO blocks its reader, opening a device may act on it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import BinaryIO, Iterator, NamedTuple, Optional

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
}


class Broken(Exception):
    """A repository that cannot be used; the text is the reason."""


class NotAFile(Broken):
    """Something else than a file or a directory, at `path`: a link, FIFO, socket or device."""

    def __init__(self, path: str, name: str, kind: str) -> None:
        reason = "which is not followed" if kind == "link" else "not a file"
        super().__init__(f"{name} is a {kind}, {reason}")
        self.path, self.kind = path, kind


class Entry(NamedTuple):
    """What is in a directory: the `status` is that of a link, not of what it leads to."""

    name: str
    path: str
    status: os.stat_result

    @property
    def kind(self) -> str:
        """What it is, such as ``file``, ``directory`` or ``link``."""
        return _KINDS.get(stat.S_IFMT(self.status.st_mode), "special file")

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def blocks(self) -> bool:
        """Whether a program that opens it may wait forever, or acts on a device."""
        return self.kind not in ("file", "directory", "link")

    def require_file(self, name: str) -> Entry:
        """Return it; raise NotAFile for anything but a regular file."""
        if not self.is_file:
            raise NotAFile(self.path, name, self.kind)
        return self

    def require_unblocking(self, name: str = "") -> Entry:
        """Return it; raise NotAFile where it `blocks`."""
        if self.blocks:
            raise NotAFile(self.path, name or self.name, self.kind)
        return self


def entry(directory: str, name: str) -> Optional[Entry]:
    """Return what `name` inside `directory` is, None where there is nothing."""
    parent, last = os.path.split(name)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _opened(
        directory, parent
    ) as fd:
        status = os.stat(last, dir_fd=fd, follow_symlinks=False)
        return Entry(last, os.path.join(directory, name), status)
    return None


def entries(directory: str, name: str = "") -> Iterator[Entry]:
    """Yield what is in the directory `name` inside `directory`, nothing where there is none.

    Raises NotAFile where a link, or anything else that is no directory, is in its place.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _opened(directory, name) as fd:
        place = os.path.join(directory, name)
        with _readable(fd) as handle, os.scandir(handle) as found:
            for item in found:
                # It may have just been removed.
                with contextlib.suppress(FileNotFoundError):
                    status = item.stat(follow_symlinks=False)
                    yield Entry(item.name, os.path.join(place, item.name), status)


def below(directory: str, end: float, name: str = "") -> Iterator[Entry]:
    """Yield all but the directories below the directory `name` inside `directory`.

    Stops when the monotonic clock reaches `end`.
    """
    waiting = [name]
    while waiting and time.monotonic() < end:
        parent = waiting.pop()
        for found in entries(directory, parent):
            if found.is_directory:
                waiting.append(os.path.join(parent, found.name))
            else:
                yield found


def opened(directory: str, name: str) -> BinaryIO:
    """Open the regular file `name` inside `directory` for reading.

    Raises NotAFile where a component of `name` is a link, or the last one anything but a file, and
    OSError as open(2) does.
    """
    parent, last = os.path.split(name)
    path = os.path.join(directory, name)
    with _opened(directory, parent) as fd:
        # Opening a device may do something, so it is looked at first.
        status = os.stat(last, dir_fd=fd, follow_symlinks=False)
        Entry(last, path, status).require_file(name)
        handle = os.open(last, _READ, dir_fd=fd)
    try:
        # What it is may have changed in between.
        Entry(last, path, os.fstat(handle)).require_file(name)
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def text(directory: str, name: str, limit: int = 1 << 20) -> str:
    """Return at most the first `limit` bytes of a file as text, empty when there is none.

    Bytes that are not UTF-8 are as in the names of files: `os.fsencode` returns them.
    """
    try:
        with opened(directory, name) as file:
            return file.read(limit).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def size_of(directory: str, name: str) -> int:
    """Return the bytes of the file `name` inside `directory`, 0 when there is none."""
    found = entry(directory, name)
    return found.status.st_size if found else 0


@contextlib.contextmanager
def _opened(directory: str, name: str) -> Iterator[int]:
    """Open a directory component by component, and give a descriptor of its path only."""
    fd, path = os.open(directory, _DIRECTORY), directory
    try:
        for part in filter(None, name.split("/")):
            path = os.path.join(path, part)
            inner = _step(fd, part, path)
            os.close(fd)
            fd = inner
        yield fd
    except OSError as error:
        if isinstance(error.filename, str) and not os.path.isabs(error.filename):
            error.filename = os.path.normpath(os.path.join(path, error.filename))
        raise
    finally:
        os.close(fd)


@contextlib.contextmanager
def _readable(fd: int) -> Iterator[int]:
    handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    try:
        yield handle
    finally:
        os.close(handle)


def _step(fd: int, part: str, path: str) -> int:
    try:
        return os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    except NotADirectoryError:
        found = Entry(part, path, os.stat(part, dir_fd=fd, follow_symlinks=False))
        if found.is_file:
            raise
        raise NotAFile(path, part, found.kind) from None
