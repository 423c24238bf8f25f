"""What a machine of a fleet reports, made in a process of its own."""

from __future__ import annotations

import dataclasses
import os
from typing import Sequence

from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.perf_check.fleet.messages import REPORT_BYTES
from kallithea_tune.perf_check.model import Check, Finding, Severity, all_checks
from kallithea_tune.perf_check.results import Place, PlacedRun, Results
from kallithea_tune.perf_check.runner import Run


def allowed(checks: Sequence[Check]) -> list[Check]:
    """Return the checks that a request may have: those that write nothing, and whose result is not
    the same for all instances with the same settings.
    """
    return [
        item
        for item in checks
        if not item.writes and not all(one.decided_by for one in item.measurements)
    ]


def made(ini: str, checks: Sequence[str], budget: float, host: str) -> str:
    """Run checks by id and return the report, as `saved_run.document`; for a child.

    Raises NotMeasured where the ini file is no Kallithea's here, or none of the checks is allowed.
    """
    from kallithea_tune.app import kallithea
    from kallithea_tune.config import instance
    from kallithea_tune.perf_check import runner

    chosen = [item for item in allowed(all_checks()) if item.id in set(checks)]
    if not chosen:
        raise NotMeasured("none of the requested checks is one that writes nothing")
    try:
        loaded = instance.load(ini)
        kallithea.require(loaded)
    except ConfigError as error:
        raise NotMeasured(f"{type(error).__name__} in the ini file") from None
    run = runner.run(loaded, chosen, budget)
    return bounded(run, Place(os.path.basename(ini), host))


def bounded(run: Run, place: Place, limit: int = REPORT_BYTES) -> str:
    """Return the report in at most `limit` bytes: the worst findings, and how many are left out."""
    from kallithea_tune.perf_check import saved_run

    findings, kept = run.findings, len(run.findings)
    while True:
        left = len(findings) - kept
        rest = [_left_out(left)] if left else []
        shown = dataclasses.replace(run, findings=[*findings[:kept], *rest])
        text = saved_run.document(Results((PlacedRun(place, shown),)))
        if len(text.encode()) <= limit or not kept:
            return text
        kept //= 2


def _left_out(number: int) -> Finding:
    return Finding(
        Severity.unknown,
        f"not sent: {number:,} more findings, as the report is longer than "
        f"{REPORT_BYTES >> 10} KB; run perf-check on that machine",
        check="CEL004",
        slug="celery-fleet",
        area="celery",
    )
