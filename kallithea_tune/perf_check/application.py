"""Visits of the application in a run: one that does not start or answer is waited for once."""

from __future__ import annotations

from typing import Sequence

from kallithea_tune.app.visit import Request, Visit, visit
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context


def visited(
    context: Context, requests: Sequence[Request], seconds: float, patience: float = 0.0
) -> Visit:
    """Return a `visit` of the instance of `context`.

    Raises DoesNotLoad or NotMeasured, at once where another visit in the same run did, and
    OutOfTime.
    """
    if context.unvisitable:
        raise context.unvisitable[0]
    try:
        return visit(context.instance, requests, seconds, patience=patience)
    except NotMeasured as error:
        context.unvisitable.append(error)
        raise
