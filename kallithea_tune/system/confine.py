"""Keeps the Python code of this process from writing outside of one directory, permanently."""

from __future__ import annotations

import errno
import os
import sys

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events of the os module -> how many of their first arguments are paths that would change
# (https://docs.python.org/3/library/audit_events.html).
CHANGES = {
    "os.chmod": 1,
    "os.chown": 1,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.truncate": 1,
    "os.utime": 1,
    "os.setxattr": 1,
    "os.removexattr": 1,
    "os.rename": 2,
    "os.link": 2,
}
# Those that have no file descriptor of a directory as their last arguments.
WITHOUT_DIRECTORY = ("os.truncate", "os.setxattr", "os.removexattr")


def confine(directory: str) -> list[str]:
    """Refuse every write outside `directory` with EACCES, as a read-only file system would.

    Returns the list that refused paths will be added to. C code that opens files itself (SQLite)
    and subprocesses are not confined. A process cannot undo this, so call it in a child.
    """
    inside = os.path.realpath(directory) + os.sep
    refused: list[str] = []

    def check(path: object, directory_fd: object = -1) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.fsdecode(path)
        if isinstance(directory_fd, int) and directory_fd >= 0 and not os.path.isabs(name):
            name = os.path.join(os.readlink(f"/proc/self/fd/{directory_fd}"), name)
        parent, last = os.path.split(os.path.abspath(name))
        real = os.path.join(os.path.realpath(parent), last)
        if not real.startswith((inside, "/dev/")):
            if len(refused) < 1000:
                refused.append(real)
            raise PermissionError(errno.EACCES, "not written while measuring", real)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & WRITING:
                check(arguments[0])
        elif event == "os.symlink":
            check(arguments[1], arguments[2])
        elif event in CHANGES:
            count = CHANGES[event]
            for path, last in zip(arguments[:count], arguments[-count:]):
                check(path, -1 if event in WITHOUT_DIRECTORY else last)

    sys.addaudithook(hook)
    return refused
