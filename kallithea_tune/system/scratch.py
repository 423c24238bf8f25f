"""A directory to measure in: inside the one that is measured, and removed afterwards."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import interruption

PREFIX = ".kallithea-tune-"
_made: set[str] = set()


@contextlib.contextmanager
def scratch(directory: str) -> Iterator[str]:
    """Create a temporary directory in `directory`; it is removed whatever happens.

    Raises NotMeasured when nothing can be written there.
    """
    interruption.check()
    path = os.path.join(directory, PREFIX + secrets.token_hex(8))
    # Recorded first: a signal may come between the mkdir and the "try".
    _made.add(path)
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        _made.discard(path)
        raise NotMeasured(f"{directory}: {error.strerror}") from None
    try:
        yield path
    finally:
        with interruption.deferred():
            _remove(path)


def _remove(path: str) -> None:
    for _ in range(5):
        # A killed child may still create a file while the tree is removed.
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            _made.discard(path)
            return


@atexit.register
def _sweep() -> None:
    """Remove what a signal in the middle of `scratch` left."""
    for path in list(_made):
        _remove(path)
