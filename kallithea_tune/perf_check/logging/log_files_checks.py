"""Whether requests wait for the disk of the log files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.logging.log_files import LineTimes, LogFile, LogFiles, log_files
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect
from kallithea_tune.system.busyness import Part

SLOW_LINE_MS = 10.0


def judge_times(path: str, times: LineTimes) -> Finding:
    """A request waits for every line that it logs."""
    slow = times.p99_ms > SLOW_LINE_MS
    return Finding(
        Severity.warning if slow else Severity.ok,
        "requests wait for the disk that the log file is on"
        if slow
        else "the log file's disk takes a line quickly",
        subject=path,
        evidence=asdict(times),
        threshold=f"p99 {SLOW_LINE_MS:g} ms",
        source="our judgement",
        remedy="move the file to a local disk in the handler's args, or log to syslog"
        if slow
        else "",
    )


def _no_directory(file: LogFile) -> Finding:
    return Finding(
        Severity.error,
        "a log handler writes into a directory that does not exist",
        subject=file.path,
        evidence={"directory": file.directory},
        threshold="it exists",
        source="Python, logging.handlers",
        remedy=Command(("mkdir", "-p", file.directory), effect=Effect.reversible),
    )


@check(
    "CFG006",
    "logging-disk",
    "Disk of the log files",
    measures=(log_files,),
    tags=("probe",),
    harm=Harm.every_page,
    disturbed_by=(Part.disk,),
)
def log_disk(measured: LogFiles) -> Iterator[Finding]:
    """A line is written to each log file within 10 ms."""
    if not measured.total:
        yield Finding(Severity.ok, "no handler of the ini file writes to a file")
    for file in measured.files:
        if file.reason:
            raise NotMeasured(file.reason)
        yield judge_times(file.path, file.times) if file.times else _no_directory(file)
