"""The commands of remedies, complete: as they can be pasted into any shell."""

from __future__ import annotations

from typing import Sequence

from kallithea_tune.perf_check.remedy import Command, Effect, Remedy, Steps
from kallithea_tune.system.programs import beside


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
