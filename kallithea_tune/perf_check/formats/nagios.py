"""One line for a monitoring system, as a plug-in of Nagios, Icinga or Naemon prints it.

The statuses and the form of the line: https://www.monitoring-plugins.org/doc/guidelines.html
"""

from __future__ import annotations

import enum
from typing import Sequence

from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import Results
from kallithea_tune.text import first_of, printable, shortened

SHOWN = 3  # diagnoses in the line
LONGEST = 4000  # characters; Nagios reads 8 KB and cuts the rest


class Status(enum.IntEnum):
    """What a plug-in exits with."""

    ok = 0
    warning = 1
    critical = 2
    unknown = 3


def status_of(results: Results, fail_on: Severity) -> Status:
    """Return critical for an error, and warning for a warning or what is at least `fail_on`.

    What was not measured, and a machine that did not report, is unknown unless there is something
    worse.
    """
    worst = max((finding.severity for finding in _counted(results)), default=Severity.unknown)
    if worst is Severity.error:
        return Status.critical
    if worst >= min(fail_on, Severity.warning):
        return Status.warning
    unknown = any(finding.severity is Severity.unknown for finding in _counted(results))
    missing = results.silent or any(not curve.levels for curve in results.curves)
    return Status.unknown if unknown or missing or not _counted(results) else Status.ok


def line(results: Results, fail_on: Severity) -> str:
    """Return the status, the worst diagnoses, and after a ``|`` the performance data."""
    status = status_of(results, fail_on)
    text = f"KALLITHEA {status.name.upper()} - {_summary(results)}"
    return f"{_plain(text)} | {' '.join(_performance(results))}"


def failure(message: str) -> str:
    """Return the line for a run that failed, which is unknown."""
    return _plain(f"KALLITHEA {Status.unknown.name.upper()} - {message}")


def _plain(text: str) -> str:
    """Return `text` in one line without the character that begins the performance data."""
    return shortened(printable(text).replace("|", "/"), LONGEST)


def _counted(results: Results) -> list[Finding]:
    return [found for placed in results.runs for found in placed.run.findings if not found.ignored]


def _summary(results: Results) -> str:
    findings = sorted(_counted(results), key=lambda found: -found.severity)
    worst = [found for found in findings if found.severity > Severity.unknown][:SHOWN]
    said = [f"{found.check} {found.severity.name}: {found.diagnosis}" for found in worst]
    unknown = list(dict.fromkeys(f.check for f in findings if f.severity is Severity.unknown))
    if unknown:
        said.append(f"not measured: {first_of(unknown, SHOWN)}")
    said += [f"not measured: {curve.subject}" for curve in results.curves if not curve.levels]
    if results.silent:
        machines = [silent.machine for silent in results.silent]
        said.append(f"no report from {first_of(machines, SHOWN)}")
    return "; ".join(said) or f"{len(findings)} findings, nothing to change"


def _performance(results: Results) -> Sequence[str]:
    """Return ``label=value;warn;crit;min``; the labels stay the same from run to run."""
    levels = [found.severity for found in _counted(results)]
    seconds = sum(placed.run.seconds for placed in results.runs)
    return [
        f"errors={levels.count(Severity.error)};;0;0",
        f"warnings={levels.count(Severity.warning)};0;;0",
        f"advice={levels.count(Severity.advice)};;;0",
        f"unknown={levels.count(Severity.unknown)};;;0",
        f"ok={levels.count(Severity.ok)};;;0",
        f"silent={len(results.silent)};;;0",
        f"time={seconds:.3f}s;;;0",
    ]
