"""Locks that one process has at a time, and loses when it ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Optional

from kallithea_tune.system import written_path
from kallithea_tune.system.written_path import Output

_TRIES = 5  # to get a file that its last owner does not just remove


def locked(handle: int) -> bool:
    """Lock an open file; False where another process has it locked."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class LockFile:
    """An empty file that exists while it is locked, and after its process was killed."""

    def __init__(self, path: str, option: str) -> None:
        self._path = path
        self._output = Output(option, "a lock", lambda head: False, streams=False)
        self._handle: Optional[int] = None
        written_path.examine(path, self._output)

    def take(self) -> bool:
        """Create and lock it, unless that is done; False where another process has it locked.

        Raises OSError where it cannot be created, and what `written_path.examine` raises.
        """
        for left in reversed(range(_TRIES if self._handle is None else 0)):
            try:
                handle = written_path.open_file(written_path.examine(self._path, self._output))
            except FileExistsError:
                continue
            except FileNotFoundError:
                # Its last owner has just removed it, or none can be created here.
                if not left:
                    raise
                continue
            if locked(handle) and self._is_there(handle):
                self._handle = handle
                return True
            there = self._is_there(handle)
            os.close(handle)
            if there:
                return False
        return self._handle is not None

    def _is_there(self, handle: int) -> bool:
        """Whether the file still has its name: its last owner removes it before unlocking it."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), os.lstat(self._path))
        return False

    def release(self) -> None:
        """Remove and unlock it, if it was taken."""
        if self._handle is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            os.close(self._handle)
            self._handle = None
