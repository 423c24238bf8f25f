"""The directory of ``--history``: one file for each run, written once, and all of them read back.

Anything may lie there: what is not a file that we wrote is left out, and said.
"""

from __future__ import annotations

import contextlib
import datetime
import heapq
import math
import os
import re
import secrets
import time
from array import array
from dataclasses import dataclass
from typing import Iterator, Sequence

from kallithea_tune.errors import TuneError
from kallithea_tune.perf_check import saved_run
from kallithea_tune.perf_check.formats.trends import Figure, History, figures
from kallithea_tune.perf_check.results import Results
from kallithea_tune.system import atomic, files, interruption, written_path
from kallithea_tune.text import counted, first_of

OPTION = "--history"
# In UTC, so that the names sort by time when the clocks change; and what is different for two runs
# in the same microsecond.
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-[0-9a-f]{8}\.json", re.ASCII)

RUNS = 1000  # that are read: two a day for more than a year
BYTES = 16 << 20  # of a file: 90 findings have 50 KB
SECONDS = 10.0  # for reading: 1,000 runs of 90 findings take two
FIGURES = 2000  # that are followed: 90 findings have 200
NAMED = 3  # files of which a note says each what is wrong


def place(path: str) -> str:
    """Return the real path of the directory, which may be a new one, before anything is measured.

    Raises as `written_path.examine_directory`.
    """
    return written_path.examine_directory(path, OPTION)


def keep(results: Results, directory: str) -> str:
    """Write the run into the directory and return its file. Raises TuneError, and as `place`."""
    interruption.check()
    now = datetime.datetime.now(datetime.timezone.utc)
    name = f"{now.strftime(_STAMP)}-{secrets.token_hex(4)}.json"
    try:
        parent, own = os.path.split(directory)
        with atomic.opened_directory(parent) as handle, contextlib.suppress(FileExistsError):
            os.mkdir(own or ".", 0o700, dir_fd=handle)
        atomic.create(place(directory), name, saved_run.document(results))
    except OSError as error:
        raise TuneError(f"{OPTION} {directory} cannot be written: {error.strerror}") from None
    return os.path.join(directory, name)


def read(directory: str) -> History:
    """Read the newest runs: at most `RUNS`, and as many as fit into `SECONDS`, one at least.

    Raises TuneError where the directory cannot be read.
    """
    end = time.monotonic() + SECONDS
    try:
        found = _found(directory)
    except (OSError, files.Broken) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TuneError(f"{OPTION} {directory} cannot be read: {reason}") from None
    reading = _Reading(directory, found.names)
    while reading.unread and (reading.unread == len(found.names) or time.monotonic() < end):
        interruption.check()
        reading.take_one()
    return reading.history(found)


@dataclass(frozen=True)
class _Found:
    """The names of the newest runs, the oldest first; how many runs and other files there are, and
    the names of some of these.
    """

    names: Sequence[str]
    total: int
    others: int
    some: Sequence[str]


def _found(directory: str) -> _Found:
    newest: list[str] = []
    some: list[str] = []
    total = others = 0
    for entry in files.entries(directory):
        if entry.is_file and _is_run(entry.name):
            total += 1
            change = heapq.heappush if len(newest) < RUNS else heapq.heappushpop
            change(newest, entry.name)
        elif not entry.name.startswith(atomic.PREFIX):
            others += 1
            some += [entry.name] if others <= NAMED else []
    return _Found(sorted(newest), total, others, some)


def _is_run(name: str) -> bool:
    try:
        return bool(_NAME.fullmatch(name)) and bool(_when(name))
    except (ValueError, OverflowError):
        return False


def _when(name: str) -> datetime.datetime:
    """Return the time in a name, in the zone of this machine. Raises ValueError for no time."""
    found = datetime.datetime.strptime(name.partition("-")[0], _STAMP)
    return found.replace(tzinfo=datetime.timezone.utc).astimezone()


class _Reading:
    """What was read so far, from the newest run to the oldest."""

    def __init__(self, directory: str, names: Sequence[str]) -> None:
        self._directory, self._names = directory, names
        self.unread = len(names)
        self._values: dict[Figure, array[float]] = {}
        self._damaged: list[str] = []
        self._more = False

    def take_one(self) -> None:
        """Read the newest run that is left; a damaged one has no figures."""
        self.unread -= 1
        name = self._names[self.unread]
        try:
            with files.opened(self._directory, name) as file:
                content = file.read(BYTES + 1)
            if len(content) > BYTES:
                raise ValueError
            found = figures(saved_run.parse(content.decode("utf-8")))
        except (OSError, ValueError, files.Broken):
            self._damaged.append(name)
            return
        for figure, value in found.items():
            if figure not in self._values:
                if len(self._values) >= FIGURES:
                    self._more = True
                    continue
                self._values[figure] = array("d", [math.nan]) * len(self._names)
            self._values[figure][self.unread] = value

    def history(self, found: _Found) -> History:
        """Return all that was read."""
        values = {figure: row[self.unread :] for figure, row in self._values.items()}
        times = tuple(map(_when, self._names[self.unread :]))
        return History(times, values, found.total, tuple(self._notes(found)))

    def _notes(self, found: _Found) -> Iterator[str]:
        if self._damaged:
            number = len(self._damaged)
            yield (
                f"{counted(number, 'run')} of the history cannot be read, and "
                f"{'is' if number == 1 else 'are'} a gap: {first_of(self._damaged, NAMED)}"
            )
        if found.others:
            names = [*found.some, *[""] * (found.others - len(found.some))]
            yield f"not a run of the history, and left out: {first_of(names, NAMED)}"
        if self._more:
            yield f"more than {FIGURES:,} figures; those of the newest runs are read"
