"""What the actions that preflight offers would lead to, found before anyone agrees to them.

This is bounded in rows and in time, and says so where it ends there.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Iterable, Mapping, Optional

from kallithea_tune.db_migrate.preflight.actions import DELETE, Action
from kallithea_tune.db_migrate.preflight.conditions import Condition, Scope
from kallithea_tune.db_migrate.preflight.references import (
    Lost,
    Place,
    References,
    names_in_text,
    referring_rows,
)
from kallithea_tune.db_migrate.preflight.rule import ValueRule
from kallithea_tune.db_migrate.preflight.scan import Scan, key_columns
from kallithea_tune.db_migrate.preflight.violation import Offer, Violation
from kallithea_tune.db_migrate.values import Row, Value

if TYPE_CHECKING:
    from sqlalchemy import Table

MOST_VALUES = 10000  # of a violation that are converted on trial
MOST_ROWS = 10000  # from which references are followed, for one violation
SECONDS = 5.0  # for the references to the rows of all violations


def describe(
    scope: Scope,
    table: Table,
    found: Iterable[tuple[Condition, Violation]],
    consequences: Consequences,
) -> None:
    """Take back actions that fix no row, and describe the others, of violations without a fix."""
    for condition, violation in found:
        for action in violation.actions if not violation.fix else ():
            if action.partial:
                fixed = _fixed(scope, table, condition, action)
                if fixed == 0:
                    violation.actions = tuple(it for it in violation.actions if it is not action)
                elif fixed:
                    is_part = violation.count > MOST_VALUES
                    violation.offers[action] = Offer(fixed, at_least=is_part)
            elif action is DELETE:
                violation.offers[action] = consequences.of_leaving_out(table, condition.sql)


def _fixed(scope: Scope, table: Table, condition: Condition, action: Action) -> Optional[int]:
    """Return how many values an action fixes; None for all of them."""
    rule, limits, (name,) = condition.rule, condition.limits, condition.columns
    assert isinstance(rule, ValueRule) and limits and action.fixed
    quoted, from_ = scope.source.quoted(name), scope.source.quoted(table.name)
    query = f"SELECT {quoted} FROM {from_} WHERE {condition.sql} LIMIT {MOST_VALUES}"
    values = [value for (value,) in Scan(scope, table).query(query)]
    fixed = sum(not rule.violated_by(action.fixed(value, limits), limits) for value in values)
    return None if fixed == len(values) else fixed


class Consequences:
    """Follows references to rows that would be left out, where they may not be NULL."""

    def __init__(self, scope: Scope, references: References) -> None:
        self._scope, self._references = scope, references
        self._end: Optional[float] = None

    def of_leaving_out(self, table: Table, where: str) -> Offer:
        """Describe what would go with the rows of a table that meet a condition."""
        referred = self._references.columns(table.name)
        if not referred:
            return Offer()
        quoted, keys = self._scope.source.quoted, key_columns(table)
        names = ", ".join(map(quoted, [*keys, *referred]))
        rows = Scan(self._scope, table).query(
            f"SELECT {names} FROM {quoted(table.name)} WHERE {where} LIMIT {MOST_ROWS}"
        )
        lost: dict[Place, set[Value]] = defaultdict(set)
        for row in rows:
            for name, value in zip(referred, row[len(keys) :]):
                lost[Place(table.name, name)].add(value)
        own = {tuple(row[: len(keys)]) for row in rows}
        return self._followed(_Trail(lost, table.name, own, len(rows) == MOST_ROWS))

    def of_losing(self, lost: Lost) -> Offer:
        """Describe what would go with rows that others refer to by these values."""
        return self._followed(_Trail(lost))

    def _followed(self, trail: _Trail) -> Offer:
        self._end = self._end or time.monotonic() + SECONDS
        while trail.waiting and not trail.at_least:
            place, values = trail.waiting.popitem()
            for referring in self._references.to.get(place, ()):
                trail.at_least |= time.monotonic() > self._end
                if trail.at_least:
                    break
                if self._scope.tables[referring.table].columns[referring.column].nullable:
                    counts = referring_rows(self._scope.source, referring, "count(*)", values)
                    trail.loose[referring.table] += sum(int(str(count)) for (count,) in counts)
                else:
                    self._add(trail, referring, values)
        return trail.offer

    def _add(self, trail: _Trail, place: Place, values: set[Value]) -> None:
        keys = key_columns(self._scope.tables[place.table])
        further = self._references.columns(place.table)
        selected = names_in_text(self._scope.source, [*keys, *further])
        rows = referring_rows(self._scope.source, place, selected, values, MOST_ROWS)
        for row in rows:
            trail.add(place.table, tuple(row[: len(keys)]), dict(zip(further, row[len(keys) :])))
            if trail.at_least:
                return


class _Trail:
    """The rows that would go, by their keys, and the values of theirs that are still to follow."""

    def __init__(
        self, lost: Lost, table: str = "", own: Iterable[Row] = (), at_least: bool = False
    ) -> None:
        self.waiting = {place: set(values) for place, values in lost.items()}
        self.at_least = at_least
        self.loose: Counter[str] = Counter()
        self._own = {(table, key) for key in own}
        self._rows: set[tuple[str, Row]] = set(self._own)

    def add(self, table: str, key: Row, referred: Mapping[str, Value]) -> None:
        """Add a row, with the values by which others refer to it."""
        if (table, key) in self._rows:
            return
        self._rows.add((table, key))
        self.at_least = len(self._rows) - len(self._own) >= MOST_ROWS
        for name, value in referred.items():
            self.waiting.setdefault(Place(table, name), set()).add(value)

    @property
    def offer(self) -> Offer:
        """What was found."""
        elsewhere = Counter(table for table, _ in self._rows - self._own)
        loose = {table: count for table, count in self.loose.items() if count}
        return Offer(None, elsewhere, loose, self.at_least)
