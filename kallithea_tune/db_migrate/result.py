"""What a migration did and measured."""

from __future__ import annotations

import contextlib
import enum
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Iterator, Optional, Sequence

from kallithea_tune.db_migrate.preflight.violation import PreflightResult, Violation
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.catch_up import Change
    from kallithea_tune.db_migrate.estimate import Estimate
    from kallithea_tune.db_migrate.plan import Plan
    from kallithea_tune.db_migrate.verify.application import PageComparison
    from kallithea_tune.db_migrate.verify.difference import TableComparison
    from kallithea_tune.db_migrate.verify.schema import SchemaComparison


@dataclass(frozen=True)
class DryRun:
    """What a migration would do: its plan, what preflight found, how long it takes, what it drops.

    The time is not estimated where preflight found rows that the target would refuse.
    """

    plan: Plan
    preflight: PreflightResult
    estimate: Optional[Estimate]
    dropped: Sequence[str]


class Step(enum.Enum):
    """A step whose time is measured; the value is its key in the JSON report."""

    PREFLIGHT = "preflight"
    COPY = "copy"
    KEYS = "keys and indexes"
    SCHEMA_CHECK = "proof"
    VERIFY = "verify"
    CATCH_UP = "catch up"
    PAGES = "application"


@dataclass
class MigrationResult:
    """What was done and measured so far: seconds by step, rows copied by table, what was verified.

    `violations` are those of preflight, and `unchecked` says what it could not check;
    the sentence `preflight` what an earlier dry run proved, or why it did not. `kept` tables
    were complete already. `fixed` counts the rows that a fix changed or left out, by table and
    effect; all of them are kept in the file `quarantine`. `last_keys` are the highest keys
    transferred, `inserts_tried` the tables that accepted a new row, `changes` what catching up
    transferred, `pages` how the application answered. `schema` is None where it was not compared.
    """

    plan: Plan
    seconds: dict[Step, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    preflight: str = ""
    fixed: dict[str, dict[str, int]] = field(default_factory=dict)
    quarantine: str = ""
    kept: tuple[str, ...] = ()
    last_keys: dict[str, int] = field(default_factory=dict)
    inserts_tried: int = 0
    verified: list[TableComparison] = field(default_factory=list)
    schema: Optional[SchemaComparison] = None
    changes: Optional[list[Change]] = None
    pages: list[PageComparison] = field(default_factory=list)

    @property
    def differences(self) -> list[str]:
        """The differences that verification found, a sentence for each column or kind of rows."""
        lacking = [item.sentence for item in self.schema.mismatches] if self.schema else []
        return lacking + [
            item.sentence for checked in self.verified for item in checked.differences
        ]

    @property
    def first_difference(self) -> str:
        """The first difference, and how many more there are."""
        more = len(self.differences) - 1
        return self.differences[0] + (f"; and {more} more" if more else "")

    def require_no_differences(self, consequence: str) -> None:
        """Raise TuneError with the first difference and its `consequence` for the target."""
        if self.differences:
            raise TuneError(
                f"the copy differs from the source, so the target {consequence}: "
                f"{self.first_difference}"
            )

    @contextlib.contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """Add the time that the block takes to that of the step."""
        started = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0) + time.perf_counter() - started
