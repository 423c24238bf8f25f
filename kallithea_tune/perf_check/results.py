"""What one command found, at all instances and machines: the value that every report is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional

from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.runner import Run


@dataclass(frozen=True)
class Place:
    """Where a run was made: an ini file, on a machine; `machine` is empty for this one."""

    instance: str
    machine: str = ""

    def __str__(self) -> str:
        return f"{self.instance} on {self.machine}" if self.machine else self.instance


@dataclass(frozen=True)
class PlacedRun:
    """The findings of the checks of one instance."""

    place: Place
    run: Run


@dataclass(frozen=True)
class Silent:
    """A machine that sent no report, and why: ``solo pool``, ``plug-in not loaded``."""

    machine: str
    reason: str


class Rule(enum.Enum):
    """What is required of a setting of several instances."""

    must_be_equal = "must be equal"
    must_differ = "must differ"
    one = "at one instance only"
    free = "may differ"


@dataclass(frozen=True)
class Row:
    """A setting by instance, as it may be shown: a secret as ``A`` or ``B``, equal letters for
    equal values. `severity` is that of the finding where the rule is broken, else `Severity.ok`.
    """

    setting: str
    values: tuple[str, ...]
    rule: Rule
    severity: Severity = Severity.ok
    check: str = ""

    @property
    def equal(self) -> bool:
        """Whether all instances have the same value."""
        return len(set(self.values)) < 2


@dataclass(frozen=True)
class Matrix:
    """The settings of several instances, worst first; a row has one value for each instance."""

    instances: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def notable(self) -> tuple[Row, ...]:
        """The settings that differ, or break their rule."""
        return tuple(row for row in self.rows if row.severity > Severity.ok or not row.equal)


@dataclass(frozen=True)
class Level:
    """The load at one number of workers, each repeat on its own.

    `latencies_ms` are those of all requests that were answered rightly; `generator_cpu` is the part
    of one processor that the generator used.
    """

    workers: int
    requests_s: tuple[float, ...]
    latencies_ms: tuple[float, ...]
    requests: int
    errors: int
    generator_cpu: float


@dataclass(frozen=True)
class Band:
    """The throughput that the fitted law gives at a number of workers, with its 95 % limits."""

    workers: int
    low: float
    estimate: float
    high: float


@dataclass(frozen=True)
class Curve:
    """How throughput grew with the workers of one subject: ``SQLite``, ``threads of waitress``.

    `bands` end with the largest level. `peak` is the number of workers with the most throughput, 0
    where no level beyond it was measured. `worker_bytes` is the resident memory of a worker after
    the load, 0 where it was not seen.
    """

    subject: str
    levels: tuple[Level, ...]
    bands: tuple[Band, ...] = ()
    peak: int = 0
    notes: tuple[str, ...] = ()
    worker_bytes: int = 0


@dataclass(frozen=True)
class Results:
    """All that was found; `runs` has one at least, `changes` lines since an earlier run."""

    runs: tuple[PlacedRun, ...]
    silent: tuple[Silent, ...] = ()
    matrix: Optional[Matrix] = None
    curves: tuple[Curve, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """The findings of all places."""
        return [finding for item in self.runs for finding in item.run.findings]
