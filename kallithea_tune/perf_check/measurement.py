"""Measurements: functions that look at the installation and return what they saw as one value.

A measurement has no opinion. Checks judge its result, and several may judge the same: it is taken
once in a run, and what it costs is counted once.
"""

from __future__ import annotations

import fnmatch
import time
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Generic, Mapping, Optional, Protocol, Sequence, TypeVar

from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import busyness, interruption
from kallithea_tune.text import counted

# How long what others use of the machine is taken to stay as it was: our judgement.
OUTDATED_S = 3.0


@dataclass(frozen=True)
class Examined:
    """How much was examined of what there is, as in 3 of 4 repositories.

    `what` is the singular. 0 of 0 is what does not apply to this installation.
    """

    count: int
    total: int
    what: str

    @property
    def complete(self) -> bool:
        """Whether everything was examined."""
        return self.count >= self.total

    @property
    def nothing(self) -> bool:
        """Whether nothing was examined, although there is something."""
        return not self.count and self.total > 0

    @property
    def rest(self) -> str:
        """What was not examined, as in ``1 of 4 repositories was not examined``."""
        if self.total == 1:
            return f"the {self.what} was not examined"
        of_all = f"of {counted(self.total, self.what)}"
        if not self.count:
            return f"none {of_all} was examined"
        left = self.total - self.count
        return f"{left:,} {of_all} {'was' if left == 1 else 'were'} not examined"


class Measured(Protocol):
    """What a measurement returns: a frozen dataclass that says how much it is based on."""

    @property
    def examined(self) -> Examined:
        """How much was examined of what there is."""


# For `decided_by`: what is true of all instances, whatever their settings.
BY_NOTHING = ("",)

T = TypeVar("T", bound=Measured)


class Deadline:
    """A point in time that measurements compare with the clock between two operations."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline, never below zero.

        Raises KeyboardInterrupt when the end was requested.
        """
        interruption.check()
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left <= 0


@dataclass(frozen=True, eq=False)
class Measurement(Generic[T]):
    """A measurement and what it costs.

    `seconds` is the most time that it takes (0 for reading settings only), without that of the
    measurements that it `uses`. `writes` says where it leaves temporary files, `needs` what of the
    installation must work for it: "ini", "database", "app" or "worker". `decided_by` has the
    settings (globs) that alone decide the result, its own and those of all that it uses: instances
    on one machine that have them in common share it. Without any, each instance has its own.
    Where it is not `requested`, by an option or by more than one instance, it is not taken, and has
    no part of the time.
    """

    function: Callable[[Context], T]
    seconds: float = 0.0
    writes: str = ""
    needs: frozenset[str] = frozenset()
    uses: tuple[Measurement[Any], ...] = ()
    decided_by: tuple[str, ...] = ()
    requested: Callable[[Context], bool] = lambda context: True

    @property
    def name(self) -> str:
        """The name of the function that measures."""
        return self.function.__name__

    @property
    def closure(self) -> tuple[Measurement[Any], ...]:
        """This measurement and all that it uses, each once."""
        found = dict.fromkeys(item for used in self.uses for item in used.closure)
        return (*found, self)

    def shared(self, first: Instance, second: Instance) -> bool:
        """Whether the result at one instance is that at the other, too."""
        return bool(self.decided_by) and self._decisive(first) == self._decisive(second)

    def _decisive(self, instance: Instance) -> Mapping[str, str]:
        return {
            name: value
            for name, value in instance.settings.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.decided_by)
        }


def measurement(
    seconds: float = 0.0,
    writes: str = "",
    needs: Sequence[str] = (),
    uses: Sequence[Measurement[Any]] = (),
    decided_by: Sequence[str] = (),
    requested: Callable[[Context], bool] = lambda context: True,
) -> Callable[[Callable[[Context], T]], Measurement[T]]:
    """Make a `Measurement` of the function below; see there for the arguments.

    The function gets a `Context`. It raises NotMeasured with the reason when it could not look.
    """

    def decorate(function: Callable[[Context], T]) -> Measurement[T]:
        return Measurement(
            function, seconds, writes, frozenset(needs), tuple(uses), tuple(decided_by), requested
        )

    return decorate


@dataclass(frozen=True)
class Outcome:
    """What became of a measurement: its result, or the exception that it ended with.

    `others` is what they used shortly before, where the measurement takes time.
    """

    result: Any = None
    error: Optional[Exception] = None
    others: Optional[busyness.Others] = None


class Surroundings:
    """What others use of the machine, looked at again when the last look is `OUTDATED_S` old."""

    def __init__(self) -> None:
        self._seen: Optional[busyness.Others] = None
        self._until = 0.0

    def look(self) -> busyness.Others:
        """Return what they used within the last seconds."""
        if self._seen is None or time.monotonic() > self._until:
            self._seen = busyness.others()
            self._until = time.monotonic() + OUTDATED_S
        return self._seen


@dataclass(frozen=True)
class OnRequest:
    """What is looked at only where an option says so: `access_log` is the path of the web server's,
    empty for none; with `clones` the running instance is cloned from, which its log of actions has;
    with `fleet` all Celery workers run checks.
    """

    access_log: str = ""
    clones: bool = False
    fleet: bool = False


NOTHING = OnRequest()


@dataclass(frozen=True)
class Context:
    """What a measurement is given: the instance, its share of the time, and the other results.

    `together` are all instances of the installation that are compared, in the order in which they
    were given, this one among them; empty for one alone.
    `compare_db` is the URL of another database to put the same load on, empty for none.
    `on_request` is what options allow beyond that.
    `unvisitable` has the reason once the application was found not to start, or not to answer.
    """

    instance: Instance
    deadline: Deadline
    compare_db: str = ""
    outcomes: dict[Measurement[Any], Outcome] = field(default_factory=dict)
    running: Optional[Measurement[Any]] = None
    surroundings: Surroundings = field(default_factory=Surroundings)
    unvisitable: list[NotMeasured] = field(default_factory=list)
    together: tuple[Instance, ...] = ()
    on_request: OnRequest = NOTHING

    def measure(self, wanted: Measurement[T]) -> T:
        """Return the result of a measurement, which is taken once in a run.

        Raises what the measurement raised, each time. Raises TypeError when another measurement
        requests it without declaring that it uses it, since its cost would not be counted then.
        """
        if self.running and wanted not in self.running.uses:
            raise TypeError(f"{self.running.name} does not declare that it uses {wanted.name}")
        if wanted not in self.outcomes:
            others = self.surroundings.look() if wanted.seconds else None
            try:
                result = wanted.function(replace(self, running=wanted))
                self.outcomes[wanted] = Outcome(result, others=others)
            except Exception as error:
                self.outcomes[wanted] = Outcome(error=error)
        outcome = self.outcomes[wanted]
        if outcome.error is not None:
            raise outcome.error
        measured: T = outcome.result
        return measured


@dataclass(frozen=True)
class Configuration:
    """The ini file as it is."""

    instance: Instance

    @property
    def examined(self) -> Examined:
        """The ini file."""
        return Examined(1, 1, "ini file")


@measurement()
def configuration(context: Context) -> Configuration:
    """Return the settings, for checks that need nothing else."""
    return Configuration(context.instance)
