"""Reads a small file that an option gave: a regular one, a pipe with a writer, our own input."""

from __future__ import annotations

import errno
import os
import select
import stat
import time

WAIT = 10.0  # seconds for a pipe's writer, which a shell's <(...) starts together with us
LIMIT = 64 << 20  # bytes: a saved run has one or two MB


def text(path: str) -> str:
    """Return the content, which must be UTF-8.

    Raises OSError with a reason for people, also for a device and for a pipe that nobody writes to;
    UnicodeDecodeError for other encodings.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise OSError(errno.EINVAL, "it is neither a file nor a pipe")
        return _all(handle).decode("utf-8")
    finally:
        os.close(handle)


def _all(handle: int) -> bytes:
    """Read to the end; a pipe's may come late, but must have come after `WAIT`."""
    content, end = b"", time.monotonic() + WAIT
    while True:
        # A pipe that nobody has opened for writing is silent; one that was closed is ready.
        ready = select.select([handle], [], [], max(0.0, end - time.monotonic()))[0]
        if not ready:
            raise OSError(errno.ETIMEDOUT, f"nothing was written to it for {WAIT:g} seconds")
        piece = os.read(handle, 1 << 20)
        content += piece
        if not piece:
            return content
        if len(content) > LIMIT:
            raise OSError(errno.EFBIG, f"it is larger than {LIMIT >> 20} MB")
