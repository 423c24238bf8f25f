"""Measures how throughput and latencies change with the number of workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from kallithea_tune.config.instance import Instance
from kallithea_tune.perf_check.load.mix import Mix
from kallithea_tune.perf_check.results import Curve

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """A load: `mix` for `seconds` at each of `levels`, all of them `repeats` times.

    A level is a number of processes that are started from the ini for it, or of threads in one
    process with `threads`; with the `url` of a running instance, of clients.
    """

    mix: Mix
    levels: tuple[int, ...]
    repeats: int = 3
    seconds: float = 8.0
    threads: bool = False
    url: str = ""


def measure(instance: Instance, plan: Plan, progress: Progress) -> Curve:
    """Return the measured levels, without bands and peak, which `scalability` fits.

    For another database, give an instance with another ``sqlalchemy.url``. Raises NotMeasured where
    the application does not start, or anonymous visitors cannot read what the mix consists of.
    """
    raise NotImplementedError
