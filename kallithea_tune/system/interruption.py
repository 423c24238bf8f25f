"""Remembers a request to end (SIGINT, SIGTERM, SIGHUP); the work stops itself at its next step.

An exception raised by a signal handler is lost where Python ignores exceptions, as in callbacks of
weak references, so no handler raises one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Callable, Iterator

_requested = threading.Event()
_wakers: list[Callable[[], object]] = []


def requested() -> bool:
    """Whether the end was requested."""
    return _requested.is_set()


def check() -> None:
    """Raise KeyboardInterrupt when the end was requested: at each step, before each last one."""
    if _requested.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def waking(wake: Callable[[], object]) -> Iterator[None]:
    """Inside, call `wake` in another thread as soon as the end is requested.

    `wake` makes a blocking call return or fail: it kills a child, cancels a query. Raises
    KeyboardInterrupt at the end, whatever the blocking call did, when the end was requested.
    """
    check()
    _wakers.append(wake)
    try:
        yield
    finally:
        _wakers.remove(wake)
        check()


def sleep(seconds: float) -> None:
    """Wait; raise KeyboardInterrupt as soon as the end is requested."""
    end = time.monotonic() + seconds
    _requested.wait(max(0.0, end - time.monotonic()))
    check()
