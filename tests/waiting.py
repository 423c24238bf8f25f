"""Waits for what a busy machine does late: a test that needs something to have happened waits for
it to be seen.
"""

from __future__ import annotations

import time
from typing import Any, Callable

GIVE_UP_S = 60.0


def until(true: Callable[[], Any], seconds: float = GIVE_UP_S) -> Any:
    """Wait for `true` to give something true and return it; an AssertionError after `seconds`."""
    give_up = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < give_up, f"it did not happen within {seconds:g} s"
        time.sleep(0.01)
