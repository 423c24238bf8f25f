"""What the actions that preflight offers would lead to, found before anyone agrees to them.

This is bounded in rows and in time, and says so where it ends there.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Iterable, Iterator, Mapping, Optional

from kallithea_tune.db_migrate.preflight.actions import DELETE, Action
from kallithea_tune.db_migrate.preflight.conditions import Condition, Scope
from kallithea_tune.db_migrate.preflight.references import (
    Lost,
    Place,
    References,
    names_in_text,
    parts,
    referring_rows,
)
from kallithea_tune.db_migrate.preflight.rule import ValueRule
from kallithea_tune.db_migrate.preflight.scan import Scan, key_columns
from kallithea_tune.db_migrate.preflight.violation import Offer, Violation
from kallithea_tune.db_migrate.values import Row, Value, stored

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
    """Take back actions that fix no row, and describe the others, of violations that are left."""
    for condition, violation in found:
        for action in violation.actions if violation.left else ():
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
        if self._is_over():
            return Offer(at_least=True)
        quoted, keys = self._scope.source.quoted, key_columns(table)
        names = ", ".join(map(quoted, [*keys, *referred]))
        rows = Scan(self._scope, table).query(
            f"SELECT {names} FROM {quoted(table.name)} WHERE {where} LIMIT {MOST_ROWS}"
        )
        lost: dict[Place, set[Value]] = defaultdict(set)
        for row in rows:
            for name, value in zip(referred, row[len(keys) :]):
                lost[Place(table.name, name)].add(value)
        own = {tuple(map(stored, row[: len(keys)])) for row in rows}
        return self._followed(_Trail(lost, table.name, own, len(rows) == MOST_ROWS))

    def of_losing(self, lost: Lost) -> Offer:
        """Describe what would go with rows that others refer to by these values."""
        return self._followed(_Trail(lost))

    def _is_over(self) -> bool:
        """Tell whether the time is over, which begins with the first call."""
        self._end = self._end or time.monotonic() + SECONDS
        return time.monotonic() > self._end

    def _followed(self, trail: _Trail) -> Offer:
        while trail.waiting and trail.has_room:
            place, values = trail.waiting.popitem()
            for referring in self._references.to.get(place, ()):
                if self._scope.tables[referring.table].columns[referring.column].nullable:
                    trail.loose[referring.table][referring.column] |= values
                else:
                    self._add(trail, referring, values)
        trail.at_least |= not trail.has_room
        counts = {table: self._count_loose(trail, table) for table in sorted(trail.loose)}
        loose = {table: count for table, count in counts.items() if count}
        return Offer(None, trail.elsewhere, loose, trail.at_least)

    def _add(self, trail: _Trail, place: Place, values: set[Value]) -> None:
        keys = key_columns(self._scope.tables[place.table])
        further = self._references.columns(place.table)
        selected = names_in_text(self._scope.source, [*keys, *further])
        for wanted in self._in_time(trail, {place.column: values}):
            rows = self._rows(place.table, selected, wanted, MOST_ROWS)
            for row in rows:
                trail.add(place.table, row[: len(keys)], dict(zip(further, row[len(keys) :])))

    def _count_loose(self, trail: _Trail, table: str) -> int:
        """Count the rows of a table that would refer to nothing, but for those that would go."""
        keys = names_in_text(self._scope.source, key_columns(self._scope.tables[table]))
        count = 0
        for wanted in self._in_time(trail, trail.loose[table]):
            if trail.elsewhere[table]:
                rows = self._rows(table, keys, wanted, MOST_ROWS)
                count += sum((table, row) not in trail.rows for row in rows)
            else:
                ((number,),) = self._rows(table, "count(*)", wanted)
                count += int(str(number))
        return count

    def _rows(
        self, table: str, selected: str, wanted: Mapping[str, set[Value]], most: int = 0
    ) -> list[Row]:
        return list(referring_rows(self._scope.source, table, selected, wanted, most))

    def _in_time(
        self, trail: _Trail, wanted: Mapping[str, set[Value]]
    ) -> Iterator[Mapping[str, set[Value]]]:
        """Divide the values of columns among statements, until there is no time left."""
        for some in parts(set().union(*wanted.values())):
            if self._is_over():
                trail.at_least = True
                return
            yield {name: values & some for name, values in wanted.items()}


class _Trail:
    """The rows that would go, by their keys, and the values of theirs that are still to follow.

    `loose` has by table and column the values that references to them would lose.
    """

    def __init__(
        self, lost: Lost, table: str = "", own: Iterable[Row] = (), at_least: bool = False
    ) -> None:
        self.waiting = {place: set(values) for place, values in lost.items()}
        self.at_least = at_least
        self.loose: dict[str, dict[str, set[Value]]] = defaultdict(lambda: defaultdict(set))
        self.rows: set[tuple[str, Row]] = {(table, key) for key in own}
        self.elsewhere: Counter[str] = Counter()

    @property
    def has_room(self) -> bool:
        """Whether there may be more rows."""
        return sum(self.elsewhere.values()) < MOST_ROWS

    def add(self, table: str, key: Row, referred: Mapping[str, Value]) -> None:
        """Add a row, with the values by which others refer to it."""
        if (table, key) in self.rows or not self.has_room:
            return
        self.rows.add((table, key))
        self.elsewhere[table] += 1
        for name, value in referred.items():
            self.waiting.setdefault(Place(table, name), set()).add(value)
