"""What a machine of a fleet reports, made in a process of its own."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Sequence

from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.perf_check.fleet.messages import REPORT_BYTES
from kallithea_tune.perf_check.model import Check, Finding, Severity, all_checks
from kallithea_tune.perf_check.results import Place, PlacedRun, Results
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.text import counted, first_of


def allowed(checks: Sequence[Check]) -> list[Check]:
    """Return the checks that a request may have: those that write nothing, and whose result is not
    the same for all instances with the same settings.
    """
    return [
        item
        for item in checks
        if not item.writes and not all(one.decided_by for one in item.measurements)
    ]


@dataclass(frozen=True)
class Report:
    """What a machine found, as `saved_run.document`, and its facts as `facts.dumped`."""

    findings: str
    facts: str


def made(ini: str, checks: Sequence[str], budget: float, host: str, token: str) -> Report:
    """Run checks by id and return the report; for a child.

    Raises NotMeasured where the ini file is no Kallithea's here, or none of the checks is allowed.
    """
    from kallithea_tune.app import kallithea
    from kallithea_tune.config import instance
    from kallithea_tune.perf_check import runner
    from kallithea_tune.perf_check.fleet import facts

    chosen = [item for item in allowed(all_checks()) if item.id in set(checks)]
    if not chosen:
        raise NotMeasured("none of the requested checks is read-only")
    try:
        loaded = instance.load(ini)
        kallithea.require(loaded)
    except ConfigError as error:
        raise NotMeasured(f"{type(error).__name__} in the ini file") from None
    run = runner.run(loaded, chosen, budget)
    absent = sorted(set(checks) - {item.id for item in chosen})
    if absent:
        run = dataclasses.replace(run, findings=runner.ranked([*run.findings, _absent(absent)]))
    return Report(
        bounded(run, Place(os.path.basename(ini), host)),
        facts.dumped(facts.facts_here(loaded, token)),
    )


def bounded(run: Run, place: Place, limit: int = REPORT_BYTES) -> str:
    """Return the report in at most `limit` bytes: of the findings, which begin with the worst, all
    that there is room for, and how many are left out.
    """
    from kallithea_tune.perf_check import saved_run

    def text(findings: Sequence[Finding]) -> str:
        shown = dataclasses.replace(run, findings=list(findings))
        return saved_run.document(Results((PlacedRun(place, shown),)))

    whole = text(run.findings)
    # What JSON escapes is ASCII, so that a character is a byte.
    if len(whole) <= limit:
        return whole
    empty = len(text(()))
    left = limit - len(text([_left_out(len(run.findings))]))
    kept = []
    for finding in run.findings:
        size = len(text([finding])) - empty
        if size < left:
            kept.append(finding)
            left -= size + 1
    return text([*kept, _left_out(len(run.findings) - len(kept))])


def _absent(ids: Sequence[str]) -> Finding:
    return _unknown(f"not run, as this machine has no such check: {first_of(ids)}")


def _left_out(number: int) -> Finding:
    return _unknown(
        f"not sent: {counted(number, 'more finding')}, as the report is longer than "
        f"{REPORT_BYTES >> 10} KB; run perf-check on that machine"
    )


def _unknown(diagnosis: str) -> Finding:
    return Finding(Severity.unknown, diagnosis, check="CEL004", slug="celery-fleet", area="celery")
