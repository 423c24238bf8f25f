"""For the fleet: what a Celery worker loads with ``celery.include = kallithea_tune.fleet``.

It adds two commands of remote control, which only read. Nothing of a message is executed, loaded or
opened: it has ids of checks, a number of seconds and a token.
"""

from __future__ import annotations

import os
import sys

from celery.worker.control import inspect_command

from kallithea_tune.perf_check.fleet import messages
from kallithea_tune.perf_check.fleet.worker import Work

_WORK = Work(sys.argv, os.getcwd())


@inspect_command(name=messages.BEGIN)  # type: ignore[untyped-decorator]
def begin(state: object, **arguments: object) -> dict[str, object]:
    """Begin checks in a process of their own."""
    return _WORK.begin(arguments).document()


@inspect_command(name=messages.COLLECT)  # type: ignore[untyped-decorator]
def collect(state: object, **arguments: object) -> dict[str, object]:
    """Return the report, or how far it is."""
    return _WORK.collect(arguments).document()
