"""What preflight finds: the rows of one column, or of one key, that violate one rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from kallithea_tune.db_migrate.fixes import Fixes
from kallithea_tune.db_migrate.preflight.actions import Action
from kallithea_tune.db_migrate.preflight.rule import Rule
from kallithea_tune.db_migrate.values import Key

MOST_KEYS = 20  # of rows that are listed
MOST_CHARACTERS = 40  # of a value of a key that are shown


@dataclass
class Violation:
    """`count` rows of `table` violate `rule` in `columns`; `keys` are the first 20 primary keys.

    `what` is what is wrong with them, or, where `count` is 0, with the table. `actions` are the
    fixes that are possible here, `fix` is the one that was chosen, and `left` how many rows it does
    not fix.
    """

    rule: Rule
    table: str
    columns: tuple[str, ...]
    what: str
    count: int
    keys: list[Key] = field(default_factory=list)
    actions: tuple[Action, ...] = ()
    fix: Optional[Action] = None
    left: int = 0

    @property
    def sentence(self) -> str:
        """A description for the admin."""
        where = "{}.{}".format(self.table, ", ".join(self.columns)) if self.columns else self.table
        if not self.count:
            return f"{where}: {self.what}"
        rows = "row" if self.count == 1 else "rows"
        more = ", ..." if self.count > len(self.keys) else ""
        keys = " (key {}{})".format(", ".join(map(shown_key, self.keys)), more) if self.keys else ""
        return f"{where}: {self.what} in {self.count} {rows}{keys}"

    @property
    def remedy(self) -> str:
        """What will be done about it, or can be done."""
        if self.fix:
            fix = f"{self.rule.name}={self.fix.name}"
            if self.left:
                return f"{fix} does not fix {self.left} of them; fix those in the source"
            return f"fixed while copying: {fix}"
        if self.actions:
            fixes = " or ".join(f"{self.rule.name}={action.name}" for action in self.actions)
            return f"fix it in the source, or use --fix {fixes}"
        return f"fix it in the source; no --fix {self.rule.name} is possible here"


@dataclass
class PreflightResult:
    """The violations, the fixes chosen for them, and a sentence for each thing not checked."""

    violations: list[Violation] = field(default_factory=list)
    fixes: Fixes = field(default_factory=Fixes)
    unchecked: list[str] = field(default_factory=list)

    @property
    def blocking(self) -> list[Violation]:
        """The violations that no chosen fix covers."""
        return [violation for violation in self.violations if violation.left]


def shown_key(key: Key) -> str:
    """Write a primary key: the value, or the values."""
    parts = key if isinstance(key, tuple) else (key,)
    return "/".join(
        str(part)[:MOST_CHARACTERS]
        if isinstance(part, (int, str))
        else repr(part)[:MOST_CHARACTERS]
        for part in parts
    )
