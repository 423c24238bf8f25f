"""Fixes applied to rows while they are copied: chosen by the admin, planned by preflight.

The source is never changed. What becomes of a row depends on the row alone and on what preflight
found, so that the verification can compute it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.db.kinds import Kind
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.preflight.actions import DELETE, Action
from kallithea_tune.db_migrate.preflight.rule import Rule, ValueRule
from kallithea_tune.db_migrate.preflight.rules import ORPHANS, RULES, TOO_BIG, rules_of
from kallithea_tune.db_migrate.values import Key, Row, Value


class Fix(NamedTuple):
    """An action chosen for a rule."""

    rule: Rule
    action: Action

    @property
    def name(self) -> str:
        """As in ``--fix``."""
        return f"{self.rule.name}={self.action.name}"


class Outcome(NamedTuple):
    """What became of a row: None when it was left out; `fixes` are those that caused it."""

    row: Optional[Row]
    fixes: tuple[Fix, ...]


class Step(NamedTuple):
    """A fix of one column's values."""

    place: int
    rule: ValueRule
    action: Action
    limits: Limits

    @property
    def fix(self) -> Fix:
        """What is applied."""
        return Fix(self.rule, self.action)


@dataclass
class Reference:
    """A column that refers to rows that are not there, or will not be; `lost` are their keys."""

    place: int
    action: Optional[Action] = None
    lost: set[Value] = field(default_factory=set)


@dataclass
class TableFixes:
    """What is done to the rows of one table.

    `key_places` are those of the primary key, `packet` is what a row may take, and `duplicates` are
    the keys of rows to leave out. With `restart` the next key follows the highest one carried,
    though the source has had keys beyond what the column of the target can store.
    """

    columns: Sequence[str]
    kinds: Sequence[Kind]
    key_places: Sequence[int]
    steps: list[Step] = field(default_factory=list)
    references: dict[str, Reference] = field(default_factory=dict)
    duplicates: dict[Fix, set[Key]] = field(default_factory=dict)
    packet: Optional[int] = None
    restart: bool = False

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(
            self.steps
            or self.duplicates
            or self.packet
            or any(item.action and item.lost for item in self.references.values())
        )

    def key(self, row: Sequence[Value]) -> Key:
        """Return the primary key of a row; without one, the complete row."""
        key = tuple(row[place] for place in self.key_places) if self.key_places else tuple(row)
        return key[0] if len(key) == 1 else key

    def apply(self, row: Row) -> Outcome:
        """Return what becomes of a row in storage form."""
        fixed: list[Value] = list(row)
        applied: list[Fix] = []
        for step in self.steps:
            value = fixed[step.place]
            if step.rule.violated_by(value, step.limits):
                if step.action.fixed is None:
                    return Outcome(None, (*applied, step.fix))
                fixed[step.place] = step.action.fixed(value, step.limits)
                # A partial action returns what it cannot fix.
                if fixed[step.place] is not value:
                    applied.append(step.fix)
        for reference in self.references.values():
            if reference.action and fixed[reference.place] in reference.lost:
                applied.append(Fix(ORPHANS, reference.action))
                if reference.action is DELETE:
                    return Outcome(None, tuple(applied))
                fixed[reference.place] = None
        if self.packet is not None and self.size(fixed) > self.packet:
            return Outcome(None, (*applied, Fix(TOO_BIG, DELETE)))
        for fix, keys in self.duplicates.items():
            if self.key(row) in keys:
                return Outcome(None, (*applied, fix))
        return Outcome(tuple(fixed), tuple(applied))

    def size(self, row: Sequence[Value]) -> int:
        """Return how many bytes of text and binary data there are in a row."""
        return sum(
            values.size(value)
            for kind, value in zip(self.kinds, row)
            if kind in (Kind.text, Kind.binary) and value is not None
        )


def with_later_steps(
    steps: Sequence[Step], choose: Callable[[ValueRule, Limits], Sequence[Action]]
) -> list[Step]:
    """Sort the steps by rule, and add those that a value may need after another fix changed it.

    `choose` returns the actions for a rule in a column.
    """
    order = list(RULES.values())
    complete = list(steps)
    changed = {step.place: step.limits for step in steps if step.action.fixed}
    for place, limits in changed.items():
        planned = {step.rule for step in steps if step.place == place}
        for rule, _ in rules_of(limits):
            if rule not in planned and not rule.of_null:
                complete += [Step(place, rule, action, limits) for action in choose(rule, limits)]
    return sorted(complete, key=lambda step: (order.index(step.rule), step.place))


class Fixes:
    """The fixes of all tables."""

    def __init__(self, tables: Optional[Mapping[str, TableFixes]] = None) -> None:
        self.tables = dict(tables or {})

    @property
    def needed(self) -> bool:
        """Whether any row is touched."""
        return any(self.touches(name) for name in self.tables)

    def restarts(self, table: str) -> bool:
        """Tell whether the next key of `table` follows the highest one carried in any case."""
        return table in self.tables and self.tables[table].restart

    def touches(self, table: str) -> bool:
        """Tell whether rows of `table` may be changed or left out."""
        return table in self.tables and self.tables[table].needed

    def amend(self, table: str) -> Optional[Callable[[Sequence[Row]], Sequence[Row]]]:
        """Return what changes and leaves out rows of `table`; None where there is nothing to do."""
        if not self.touches(table):
            return None
        apply = self.tables[table].apply
        return lambda rows: [row for row in (apply(row).row for row in rows) if row is not None]

    def expected(self, table: str, columns: Sequence[str], row: Row) -> Optional[Row]:
        """Return what a row in storage form becomes; None when it is left out.

        `columns` are in the order of the row.
        """
        if not self.touches(table):
            return row
        fixes = self.tables[table]
        given = dict(zip(columns, row))
        outcome = fixes.apply(tuple(given[name] for name in fixes.columns)).row
        if outcome is None:
            return None
        fixed = dict(zip(fixes.columns, outcome))
        return tuple(fixed[name] for name in columns)
