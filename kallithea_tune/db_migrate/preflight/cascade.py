"""What fixes lead to: rows that still violate a rule, and references to rows left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import (
    TYPE_CHECKING,
    AbstractSet,
    Iterator,
    Mapping,
    Sequence,
    Tuple,
)

from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.preflight.actions import DELETE, NULL, Action
from kallithea_tune.db_migrate.preflight.conditions import Condition, Scope, possible_actions
from kallithea_tune.db_migrate.preflight.fixes import TableFixes
from kallithea_tune.db_migrate.preflight.offers import Consequences
from kallithea_tune.db_migrate.preflight.references import (
    Lost,
    Place,
    References,
    names_in_text,
    parts,
    referring_rows,
)
from kallithea_tune.db_migrate.preflight.rule import Rule, ValueRule
from kallithea_tune.db_migrate.preflight.rules import ORPHANS, TOO_BIG, violated_rules
from kallithea_tune.db_migrate.preflight.scan import key_columns, without_secrets
from kallithea_tune.db_migrate.preflight.violation import MOST_KEYS, PreflightResult, Violation
from kallithea_tune.db_migrate.values import Key, Row, Value

if TYPE_CHECKING:
    from sqlalchemy import Table

# A rule with the columns in which it is violated.
Broken = Tuple[Rule, Tuple[str, ...]]


class Cascade:
    """Examines the violating rows once more, as they will be."""

    def __init__(self, scope: Scope, result: PreflightResult) -> None:
        self._scope, self._result = scope, result
        self._references = References(scope.tables.values())
        self.consequences = Consequences(scope, self._references)
        self._lost: dict[Place, set[Value]] = defaultdict(set)

    def apply_fixes(
        self,
        table: Table,
        violations: Sequence[tuple[Condition, Violation]],
        limits: Mapping[str, Limits],
    ) -> None:
        """Count what the fixes leave of the violations of one table, and follow rows left out."""
        fixes = self._result.fixes.tables[table.name]
        packet = self._scope.column_limits.packet
        watched = {(violation.rule, violation.columns) for _, violation in violations}
        left: Counter[Broken] = Counter()
        lost: dict[Place, set[Value]] = defaultdict(set)
        referred = [
            (Place(table.name, column), fixes.columns.index(column))
            for column in self._references.columns(table.name)
        ]
        for row in self._rows(table, " OR ".join(f"({item.sql})" for item, _ in violations)):
            fixed = fixes.apply(row).row
            if fixed is None:
                for place, number in referred:
                    lost[place].add(row[number])
                continue
            left.update(_still_broken(fixes, fixed, limits, watched))
            if packet is not None and fixes.size(fixed) > packet:
                left[TOO_BIG, ()] += 1
        for _, violation in violations:
            violation.left = left.pop((violation.rule, violation.columns), 0)
        for (rule, columns), count in left.items():
            what = "violated after another fix"
            actions = self._further_actions(rule, table, columns, limits)
            self._result.violations.append(
                Violation(rule, table.name, columns, what, count, actions=actions, left=count)
            )
        self.follow(lost)

    def _further_actions(
        self, rule: Rule, table: Table, columns: Sequence[str], limits: Mapping[str, Limits]
    ) -> tuple[Action, ...]:
        if isinstance(rule, ValueRule):
            (name,) = columns
            return possible_actions(self._scope, table.columns[name], rule, limits[name])
        return self._actions(Place(table.name, columns[0])) if columns else rule.actions

    def follow(self, lost: Lost) -> None:
        """Follow the references to rows that are left out, and to rows left out because of that."""
        waiting = {place: set(values) for place, values in lost.items()}
        while waiting:
            place, values = waiting.popitem()
            values -= self._lost[place]
            self._lost[place] |= values
            for referring in self._references.to.get(place, ()):
                for further, keys in self._lose(referring, place.table, values).items():
                    waiting.setdefault(further, set()).update(keys)

    def is_lost(self, place: Place, value: Value) -> bool:
        """Tell whether the row that others refer to by this value is left out."""
        return value in self._lost[place]

    def _lose(self, place: Place, referred: str, values: set[Value]) -> Lost:
        """Record the rows that refer to `values` of `referred`; return what is lost with them."""
        lost: dict[Place, set[Value]] = defaultdict(set)
        table = self._scope.tables[place.table]
        reference = self._result.fixes.tables[place.table].references[place.column]
        further = self._references.columns(place.table)
        keys = key_columns(table)
        count = 0
        shown: list[Key] = []
        source = self._scope.source
        selected = names_in_text(source, [place.column, *keys, *further])
        rows = (
            row
            for some in parts(values)
            for row in referring_rows(source, place.table, selected, {place.column: some})
        )
        for row in rows:
            reference.lost.add(row[0])
            count += 1
            key, rest = row[1 : len(keys) + 1], row[len(keys) + 1 :]
            if count <= MOST_KEYS:
                shown.append(without_secrets(table, key[0] if len(key) == 1 else tuple(key)))
            if reference.action is not NULL:
                for name, value in zip(further, rest):
                    lost[Place(place.table, name)].add(value)
        if count:
            violation = Violation(
                ORPHANS,
                place.table,
                (place.column,),
                f"referring to rows of {referred} that a fix leaves out",
                count,
                sorted(shown, key=_sort_key),
                self._actions(place),
                reference.action,
                0 if reference.action else count,
            )
            self._result.violations.append(violation)
            if not reference.action:
                violation.offers[DELETE] = self.consequences.of_losing(lost)
        return lost if reference.action else {}

    def _actions(self, place: Place) -> tuple[Action, ...]:
        nullable = self._scope.tables[place.table].columns[place.column].nullable
        return (NULL, DELETE) if nullable else (DELETE,)

    def _rows(self, table: Table, where: str) -> Iterator[Row]:
        for batch in self._scope.source.reader.rows(table, where):
            yield from batch


def _sort_key(key: Key) -> list[tuple[bool, int, str]]:
    """Sort integers as such, and before everything else that SQLite may have in a key."""
    values = key if isinstance(key, tuple) else (key,)
    return [
        (False, value, "") if isinstance(value, int) else (True, 0, repr(value)) for value in values
    ]


def _still_broken(
    fixes: TableFixes, row: Row, limits: Mapping[str, Limits], watched: AbstractSet[Broken]
) -> Iterator[Broken]:
    """Yield what a fixed row violates: what was found before, and anything in changed values."""
    changed = {step.place for step in fixes.steps if step.action.fixed}
    for place, (name, value) in enumerate(zip(fixes.columns, row)):
        for rule in violated_rules(value, limits[name]):
            if place in changed or (rule, (name,)) in watched:
                yield rule, (name,)
    for name, reference in fixes.references.items():
        if row[reference.place] in reference.lost:
            yield ORPHANS, (name,)
