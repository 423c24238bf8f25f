"""How long a line takes to be written where the log files are."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import Optional

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.logging.loggers import Sections
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.statistics import p99
from kallithea_tune.system import child
from kallithea_tune.system.scratch import scratch

LINES = 300
LINE = b"2027-01-01 12:00:00.000 INFO  [kallithea.controllers] " + b"x" * 100 + b"\n"
LINE_BYTES = len(LINE)
_FIRST_ARGUMENT = re.compile(r"""\s*\(?\s*[rbu]?(?P<quote>['"])(?P<path>.+?)(?P=quote)""")


@dataclass(frozen=True)
class LineTimes:
    """The milliseconds that a line took to be written."""

    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True)
class LogFile:
    """A log file, and the times of lines beside it.

    Without times the directory does not exist, or they were not measured for `reason`.
    """

    path: str
    times: Optional[LineTimes] = None
    reason: str = ""

    @property
    def directory(self) -> str:
        """The directory of the file."""
        return os.path.dirname(self.path)


@dataclass(frozen=True)
class LogFiles:
    """The log files of the ini file, `total` of them, up to one that could not be measured."""

    files: tuple[LogFile, ...]
    total: int

    @property
    def examined(self) -> Examined:
        """How many of the files were measured or lack a directory."""
        count = sum(not file.reason for file in self.files)
        return Examined(count, self.total, "log file")


@measurement(seconds=0.3, writes="beside the log files")
def log_files(context: Context) -> LogFiles:
    """Append lines in a scratch directory beside each log file, in a child process."""
    paths = configured(context.instance.sections, os.path.dirname(context.instance.path))
    found: list[LogFile] = []
    for path in paths:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            found.append(LogFile(path))
            continue
        seconds = max(2.0, context.deadline.left)
        try:
            times = child.call(write_lines, seconds, directory=directory, count=LINES)
        except NotMeasured as error:
            found.append(LogFile(path, reason=str(error)))
            break
        found.append(LogFile(path, times))
    return LogFiles(tuple(found), len(paths))


def configured(sections: Sections, here: str) -> list[str]:
    """Return the paths that file handlers of an ini file in the directory `here` write to."""
    paths = []
    for name, section in sections.items():
        if name.startswith("handler_") and "File" in section.get("class", ""):
            match = _FIRST_ARGUMENT.match(section.get("args", ""))
            if match:
                path = match["path"].replace("%(here)s", here)
                paths.append(os.path.normpath(os.path.join(here, path)))
    return paths


def write_lines(directory: str, count: int) -> LineTimes:
    """Append `count` lines, each by one write(2) without fsync as logging's handlers do.

    For a child.
    """
    taken = []
    with scratch(directory) as place, open(f"{place}/lines.log", "ab", buffering=0) as file:
        for _ in range(count):
            started = time.perf_counter()
            file.write(LINE)
            taken.append((time.perf_counter() - started) * 1000)
    return LineTimes(sorted(taken)[count // 2], p99(taken), max(taken))
