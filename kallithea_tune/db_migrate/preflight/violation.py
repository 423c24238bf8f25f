"""What preflight finds: the rows of one column, or of one key, that violate one rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from kallithea_tune.db_migrate.preflight.actions import Action
from kallithea_tune.db_migrate.preflight.fixes import Fixes
from kallithea_tune.db_migrate.preflight.rule import Rule
from kallithea_tune.db_migrate.values import Key
from kallithea_tune.errors import Refused

MOST_KEYS = 20  # of rows that are listed
MOST_CHARACTERS = 40  # of a value of a key that are shown
MOST_TABLES = 3  # whose rows are counted one by one in a note


@dataclass(frozen=True)
class Offer:
    """What an action would lead to, as far as it was followed; `at_least` where it goes further.

    `fixed` rows would be right, None for all. `elsewhere` are rows of other tables, by table, that
    would be left out as well, and `loose` are those that would refer to nothing.
    """

    fixed: Optional[int] = None
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    loose: Mapping[str, int] = field(default_factory=dict)
    at_least: bool = False

    @property
    def note(self) -> str:
        """What there is to say about it; empty for nothing."""
        least = "at least " if self.at_least else ""
        notes = [] if self.fixed is None else [f"for {least}{self.fixed} of them"]
        if self.elsewhere:
            notes.append(f"{least}{_by_table(self.elsewhere)} would go with it")
        if self.loose:
            notes.append(f"{least}{_by_table(self.loose)} would refer to nothing")
        if self.at_least and not notes:
            notes.append("the rows that refer to them were not counted")
        return f" ({'; '.join(notes)})" if notes else ""


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
    offers: dict[Action, Offer] = field(default_factory=dict)

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
                more = [action for action in self.actions if action is not self.fix]
                also = f", or add --fix {self._fixes(more)}" if self.fix.partial and more else ""
                return f"{fix} does not fix {self.left} of them; fix those in the source{also}"
            return f"fixed while copying: {fix}"
        if self.actions:
            return f"fix it in the source, or use --fix {self._fixes(self.actions)}"
        return f"fix it in the source; no --fix {self.rule.name} is possible here"

    def _fixes(self, actions: Sequence[Action]) -> str:
        return " or ".join(
            f"{self.rule.name}={action.name}{self.offers.get(action, Offer()).note}"
            for action in actions
        )


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

    def require_none(self, left: str) -> None:
        """Raise Refused where one of them is `blocking`; `left` is what is left then."""
        count = len(self.blocking)
        if count:
            problems = "problem" if count == 1 else "problems"
            raise Refused(f"{left}: preflight found {count} {problems} that no --fix covers")


def _by_table(rows: Mapping[str, int]) -> str:
    """Write rows by table, those with most of them first: ``12 rows of users, 3 of gists``."""
    counts = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    (table, count), *others = counts[:MOST_TABLES]
    words = [f"{count:,} {'row' if count == 1 else 'rows'} of {table}"]
    words += [f"{count:,} of {table}" for table, count in others]
    rest = counts[MOST_TABLES:]
    if rest:
        words.append(f"{sum(count for _, count in rest):,} of {len(rest)} other tables")
    return ", ".join(words)


def shown_key(key: Key) -> str:
    """Write a primary key: the value, or the values."""
    parts = key if isinstance(key, tuple) else (key,)
    return "/".join(
        str(part)[:MOST_CHARACTERS]
        if isinstance(part, (int, str))
        else repr(part)[:MOST_CHARACTERS]
        for part in parts
    )
