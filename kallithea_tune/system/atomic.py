"""Replaces a file atomically: readers, and a kill at any moment, see the old or the new one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Callable


def replace(path: str, text: str, set_access: Callable[[int], object], directory: str = "") -> None:
    """Write `text` to `path` by a rename that survives a power failure.

    `set_access` gives the open file its mode and owner. The temporary file is in `directory`, which
    must be on the same file system; without one, beside the file. Line ends are written as they
    are. Raises OSError, having changed nothing.
    """
    parent = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".kallithea-tune-", dir=directory or parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            set_access(file.fileno())
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(parent)


def sync_directory(path: str) -> None:
    """Have the file system write the names in a directory to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
