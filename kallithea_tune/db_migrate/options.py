"""What can be chosen of a migration, and what came of it."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Iterator, Optional, Sequence

from kallithea_tune.db_migrate.preflight.finding import Finding

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.application import Page
    from kallithea_tune.db_migrate.catch_up import Change
    from kallithea_tune.db_migrate.plan import Plan
    from kallithea_tune.db_migrate.verify.compare import Checked


@dataclass(frozen=True)
class Options:
    """What can be chosen; the meaning of each is that of the command's option of the same name."""

    extra_tables: bool = False
    replace: bool = False
    metadata: str = ""
    fixes: Sequence[str] = ()
    quarantine: str = ""


@dataclass
class Report:
    """What was done and measured: `seconds` for each step, rows copied for each table, what
    `verified` found.

    `findings` are those of preflight, and `unseen` what it could not look at. `kept` tables were
    whole already, `mended` are the rows that a fix changed or left out, by table, all of them kept
    in the file `quarantine`. `changes` are those of the second round, `pages` what the application
    answered.
    """

    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    mended: dict[str, dict[str, int]] = field(default_factory=dict)
    quarantine: str = ""
    kept: tuple[str, ...] = ()
    last_keys: dict[str, int] = field(default_factory=dict)
    inserts_tried: int = 0
    verified: list[Checked] = field(default_factory=list)
    changes: Optional[list[Change]] = None
    pages: list[Page] = field(default_factory=list)

    @property
    def differences(self) -> list[str]:
        """What verification found to differ, a sentence for each column or kind of rows."""
        return [item.sentence for checked in self.verified for item in checked.differences]

    @property
    def first_difference(self) -> str:
        """The first of them, and how many more there are."""
        more = len(self.differences) - 1
        return self.differences[0] + ("; and %d more" % more if more else "")

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long a step took."""
        begun = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0) + time.perf_counter() - begun
