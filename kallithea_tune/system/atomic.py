"""Replaces a file whole: whoever reads it, and whenever this is killed, it is the old one or the
new one.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Callable


def replace(path: str, text: str, dress: Callable[[int], None]) -> None:
    """Write `text` to `path` by a rename that outlives a power cut; `dress` gives the open file its
    mode and owner.

    Line ends are written as they are. Raises OSError, having changed nothing.
    """
    directory = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".kallithea-tune-", dir=directory)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            dress(file.fileno())
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    parent = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
