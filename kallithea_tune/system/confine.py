"""Keeps the Python code of this process from writing anywhere but in one directory, for good."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# How many of its first arguments each audit event of the os module would change
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


def confine(directory: str) -> list[str]:
    """Refuse every write outside `directory` with EACCES, as a read-only file system would.

    Returns the list that the refused paths are added to. Code in C that opens files itself (SQLite)
    and subprocesses are not held; a process cannot undo this, so call it in a child.
    """
    inside = os.path.realpath(directory) + os.sep
    refused: list[str] = []

    def check(path: Any, directory_fd: Any = -1) -> None:
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        if isinstance(directory_fd, int) and directory_fd >= 0 and not os.path.isabs(name):
            name = os.path.join(os.readlink("/proc/self/fd/%d" % directory_fd), name)
        parent, last = os.path.split(os.path.abspath(name))
        whole = os.path.join(os.path.realpath(parent), last)
        if not whole.startswith(inside) and not whole.startswith("/dev/"):
            if len(refused) < 1000:
                refused.append(whole)
            raise PermissionError(errno.EACCES, "not written while measuring", whole)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if arguments[2] & WRITING:
                check(arguments[0])
        elif event == "os.symlink":
            check(arguments[1], arguments[2])
        elif event in CHANGES:
            count = CHANGES[event]
            for path, directory_fd in zip(arguments[:count], arguments[-count:]):
                check(
                    path,
                    directory_fd
                    if event not in ("os.truncate", "os.setxattr", "os.removexattr")
                    else -1,
                )

    sys.addaudithook(hook)
    return refused
