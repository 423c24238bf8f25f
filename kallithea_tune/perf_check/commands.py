"""The commands of remedies, complete: as they can be pasted into any shell."""

from __future__ import annotations

import os
import sys
from typing import Sequence

from kallithea_tune.perf_check.remedy import Command, Effect, Remedy, Steps


def git(path: str, *words: str, note: str = "", effect: Effect = Effect.lasting) -> Command:
    """Return the command of git for the repository at `path`."""
    return Command(("git", "-C", path, *words), note=note, effect=effect)


def hg(path: str, *words: str, note: str = "", stopped: bool = False) -> Command:
    """Return the command of the Mercurial of this Python for the repository at `path`."""
    return Command((beside("hg"), "-R", path, *words), note=note, stopped=stopped)


def cli(ini: str, *words: str, note: str = "", effect: Effect = Effect.lasting) -> Command:
    """Return the command of Kallithea's own tool for the instance of `ini`."""
    command, *options = words
    return Command(
        (beside("kallithea-cli"), command, "-c", ini, *options), note=note, effect=effect
    )


def all_of(steps: Sequence[Command]) -> Remedy:
    """Return the remedy that consists of `steps`."""
    return steps[0] if len(steps) == 1 else Steps(tuple(steps))


def beside(name: str) -> str:
    """Return the path of a program in the environment of this Python, else only its name."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    return path if os.path.exists(path) else name
