"""How long the git that Kallithea runs takes to start, and the others that are installed."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import Iterator, Optional

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import programs

GIT_SECONDS = 3.0
ROUNDS, CALL_SECONDS = 5, 2.0
# As Kallithea reads it (kallithea/lib/utils2.py, check_git_version).
_VERSION = re.compile(rb"\d+.\d+.\d+")


@dataclass(frozen=True)
class Git:
    """A git: the least of some times that ``git --version`` took, its version, or why it `failed`.

    One that does not end has the time that it was given.
    """

    path: str
    ms: float = 0.0
    version: str = ""
    failed: str = ""
    endless: bool = False


@dataclass(frozen=True)
class GitProgram:
    """The program of ``git_path``, None where it is empty, and the fastest other git that works."""

    configured: str = ""
    git: Optional[Git] = None
    other: Optional[Git] = None

    @property
    def examined(self) -> Examined:
        """The program, where one is set."""
        there = int(bool(self.configured))
        return Examined(there, there, "program")


@measurement(seconds=GIT_SECONDS, decided_by=("git_path",))
def git_program(context: Context) -> GitProgram:
    """Run ``git --version`` with the program of ``git_path``, and with what PATH has besides.

    Raises NotMeasured for a program that Kallithea might find elsewhere or that is a stranger's.
    """
    configured = context.instance.settings.get("git_path", "git").strip()
    if not configured:
        return GitProgram()
    if os.sep in configured and not os.path.isabs(configured):
        raise NotMeasured(f"git_path = {configured} depends on the directory Kallithea starts in")
    end = time.monotonic() + min(GIT_SECONDS, max(1.0, context.deadline.left))
    path = programs.program(configured) or ""
    if not os.path.isfile(path):
        return GitProgram(configured, Git(path, failed="there is no such program"), _other("", end))
    _require_own(path)
    return GitProgram(configured, _time(path, end), _other(path, end))


def _require_own(path: str) -> None:
    owner = os.stat(path).st_uid
    if owner not in (0, os.geteuid()):
        raise NotMeasured(f"{path} belongs to another user, so it is not run")


def _other(path: str, end: float) -> Optional[Git]:
    """Return the fastest git of PATH that works and is not the program at `path`."""
    timed = [_time(found, end) for found in _installed() if not _same(found, path)]
    return min((git for git in timed if not git.failed), key=lambda git: git.ms, default=None)


def _same(one: str, other: str) -> bool:
    return bool(other) and os.path.realpath(one) == os.path.realpath(other)


def _installed() -> Iterator[str]:
    """Yield the gits of PATH that root or this user owns, each once, whatever links lead to it."""
    seen = set()
    for directory in [*programs.environment()["PATH"].split(os.pathsep), "/usr/bin"]:
        path = os.path.join(directory, "git")
        place = os.path.realpath(path)
        if place not in seen and os.path.isfile(place) and os.access(place, os.X_OK):
            seen.add(place)
            if os.stat(place).st_uid in (0, os.geteuid()):
                yield path


def _time(path: str, end: float) -> Git:
    times: list[float] = []
    version = ""
    while not times or len(times) < ROUNDS and time.monotonic() + times[-1] / 1000 < end:
        try:
            result = programs.run([path, "--version"], CALL_SECONDS)
        except programs.TooLate:
            failed = f"git --version takes more than {CALL_SECONDS:g} s"
            return Git(path, CALL_SECONDS * 1000, failed=failed, endless=True)
        except OSError as error:
            return Git(path, failed=error.strerror or str(error))
        found = _VERSION.search(result.output)
        if result.status or not found:
            return Git(path, failed=f"it ended with status {result.status} and no version")
        times.append(result.ms)
        version = found[0].decode("ascii", "replace")
    return Git(path, min(times), version)
