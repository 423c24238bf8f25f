"""How many lines are logged for one page."""

from __future__ import annotations

from functools import partial
from typing import Iterator

from kallithea_tune.perf_check.logging.log_lines import Lines, LinesPerRequest, lines_per_request
from kallithea_tune.perf_check.logging.loggers import Loggers, loggers
from kallithea_tune.perf_check.logging.loggers_checks import quieting
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Remedy

MANY_LINES = 25


def judge_lines(counted: Lines, remedy: Remedy) -> Finding:
    """More than a screen of lines for one page is debugging."""
    finding = partial(
        Finding,
        evidence={"lines_per_request": counted.lines, "most": list(counted.most)},
        threshold=f"{MANY_LINES}",
        source="our judgement: a screen of text",
    )
    if counted.lines <= MANY_LINES:
        return finding(Severity.ok, f"a page writes {counted.lines} log lines")
    return finding(
        Severity.warning,
        f"each view of a page writes {counted.lines} log lines",
        remedy=remedy,
    )


@check(
    "CFG007",
    "logging-lines",
    "Lines logged per request",
    measures=(loggers, lines_per_request),
    tags=("probe",),
    harm=Harm.every_page,
)
def lines(measured: Loggers, lines: LinesPerRequest) -> Iterator[Finding]:
    """A page writes at most a screen of log, also where loggers are verbose."""
    if lines.counted:
        yield judge_lines(lines.counted, quieting(measured))
