"""Keys that appear twice: in the source, or only to the collation of the target.

Which keys a collation treats as equal is left to the target itself, in a temporary table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, NamedTuple, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.preflight.actions import KEEP_FIRST
from kallithea_tune.db_migrate.preflight.cascade import Cascade
from kallithea_tune.db_migrate.preflight.conditions import Scope
from kallithea_tune.db_migrate.preflight.fix_options import ChosenFixes, first_possible
from kallithea_tune.db_migrate.preflight.fixes import Fix
from kallithea_tune.db_migrate.preflight.references import Place
from kallithea_tune.db_migrate.preflight.rule import Rule
from kallithea_tune.db_migrate.preflight.rules import COLLISIONS, DUPLICATES, ORPHANS, SEQUENCES
from kallithea_tune.db_migrate.preflight.scan import Scan, key_columns, without_secrets
from kallithea_tune.db_migrate.preflight.temporary_keys import TemporaryKeys
from kallithea_tune.db_migrate.preflight.violation import (
    MOST_KEYS,
    PreflightResult,
    Violation,
    shown_key,
)
from kallithea_tune.db_migrate.values import Key, Row, Value, stored

if TYPE_CHECKING:
    from sqlalchemy import Table


class Repetition(NamedTuple):
    """The primary key of a row whose unique key another row has already, and that of the first."""

    later: Key
    first: Key


class _Kept(NamedTuple):
    """A violation whose fix keeps the `firsts` of several rows, by the column `place`."""

    violation: Violation
    place: Place
    firsts: set[Value]


class Uniqueness:
    """Checks the unique keys of one table after the other, as fixes will leave its rows."""

    def __init__(self, scope: Scope, result: PreflightResult, cascade: Cascade) -> None:
        self._scope, self._result, self._cascade = scope, result, cascade
        self._kept: list[_Kept] = []

    def check(self, table: Table, chosen: ChosenFixes) -> None:
        """Check every unique key that `table` has in the target."""
        if not self._has_several(table):
            return
        for columns in unique_keys(self._scope.copies[table.name]):
            if not self._is_unknowable(table, columns):
                duplicates, collisions = self._repetitions(table, columns)
                for rule, repetitions in ((DUPLICATES, duplicates), (COLLISIONS, collisions)):
                    if repetitions:
                        self._add(rule, table, columns, repetitions, chosen)

    def settle(self) -> None:
        """Count rows kept as the first of several that have been left out since."""
        for violation, place, firsts in self._kept:
            violation.left = sum(self._cascade.is_lost(place, first) for first in firsts)

    def _is_unknowable(self, table: Table, columns: Sequence[str]) -> bool:
        """Tell whether rows that violate another rule prevent a comparison."""
        unfixed = [
            violation
            for violation in self._result.blocking
            if violation.table == table.name
            and set(violation.columns) & {*columns, *key_columns(table)}
            and violation.rule not in (ORPHANS, SEQUENCES, DUPLICATES, COLLISIONS)
        ]
        if unfixed:
            names, rule = ", ".join(columns), unfixed[0].rule.name
            self._result.unchecked.append(
                f"duplicates in {names} of {table.name} can only be found once {rule} is fixed"
            )
        return bool(unfixed)

    def _has_several(self, table: Table) -> bool:
        scan = Scan(self._scope, table)
        return len(scan.query(f"SELECT 1 FROM {self._quoted(table.name)} LIMIT 2")) > 1

    def _repetitions(
        self, table: Table, columns: Sequence[str]
    ) -> tuple[Sequence[Repetition], Sequence[Repetition]]:
        """Return the rows whose keys are the same, and those whose keys only look so."""
        fixes = self._result.fixes.tables[table.name]
        in_source = self._in_source(table, columns)
        folds = self._folds(table, columns, fixes.needed)
        if not folds and not fixes.needed:
            return in_source, []
        keys = TemporaryKeys(self._scope, table, columns)
        in_target = _repetitions(keys.repeated(fixes), len(columns))
        if not folds:
            return in_target, []
        exact = {repetition.later for repetition in in_source}
        duplicates = [repetition for repetition in in_target if repetition.later in exact]
        collisions = [repetition for repetition in in_target if repetition.later not in exact]
        return duplicates, collisions

    def _folds(self, table: Table, columns: Sequence[str], is_fixed: bool) -> bool:
        """Tell whether the target may treat different texts of a key as equal."""
        if not self._scope.column_limits.folds:
            return False
        if is_fixed:
            copy = self._scope.copies[table.name]
            return any(kind_of(copy.columns[name]) is Kind.text for name in columns)
        foldable = " OR ".join(
            self._scope.violation_sql.foldable(self._quoted(name))
            for name in columns
            if kind_of(table.columns[name]) is Kind.text
        )
        statement = f"SELECT 1 FROM {self._quoted(table.name)} WHERE {foldable} LIMIT 1"
        return bool(foldable) and bool(Scan(self._scope, table).query(statement))

    def _in_source(self, table: Table, columns: Sequence[str]) -> Sequence[Repetition]:
        """Return the rows whose `columns` are byte by byte those of another row."""
        if self._scope.violation_sql.proves_unique(table, columns):
            return []
        scan, name = Scan(self._scope, table), self._quoted(table.name)
        exact = [self._exact(table, column) for column in columns]
        filled = " AND ".join(f"{self._quoted(column)} IS NOT NULL" for column in columns)
        selected = ", ".join(f"{value} AS u{number}" for number, value in enumerate(exact))
        groups = (
            f"SELECT {selected}, count(*) FROM {name} WHERE {filled}"
            f" GROUP BY {', '.join(exact)} HAVING count(*) > 1"
        )
        if not scan.query(f"SELECT count(*) FROM ({groups}) AS g")[0][0]:
            return []
        keys = ", ".join(f"t.{self._quoted(key)}" for key in key_columns(table))
        unique = ", ".join(f"g.u{number}" for number in range(len(columns)))
        matches = " AND ".join(
            f"g.u{number} = {self._exact(table, column, 't.')}"
            for number, column in enumerate(columns)
        )
        rows = scan.query(
            f"SELECT {unique}, {keys} FROM {name} AS t JOIN ({groups}) AS g ON {matches}"
            f" ORDER BY {keys}"
        )
        return _repetitions(rows, len(columns))

    def _exact(self, table: Table, column: str, prefix: str = "") -> str:
        name = prefix + self._quoted(column)
        return self._scope.violation_sql.exact(name, kind_of(table.columns[column]))

    def _quoted(self, name: str) -> str:
        return self._scope.source.quoted(name)

    def _add(
        self,
        rule: Rule,
        table: Table,
        columns: Sequence[str],
        repetitions: Sequence[Repetition],
        chosen: ChosenFixes,
    ) -> None:
        keys = key_columns(table)
        has_single_key = len(keys) == 1 and bool(table.primary_key.columns)
        actions = rule.actions if has_single_key and keys != list(columns) else ()
        action = first_possible(chosen, rule, actions)
        later, first = (shown_key(without_secrets(table, key)) for key in repetitions[0])
        violation = Violation(
            rule,
            table.name,
            tuple(columns),
            f"the same as in another row ({later} as {first})",
            len(repetitions),
            [without_secrets(table, repetition.later) for repetition in repetitions[:MOST_KEYS]],
            actions,
            action,
            0 if action else len(repetitions),
        )
        self._result.violations.append(violation)
        place = Place(table.name, keys[0])
        lost = _values(repetition.later for repetition in repetitions)
        if actions and not action:
            violation.offers[KEEP_FIRST] = self._cascade.consequences.of_losing({place: lost})
        if action:
            duplicates = self._result.fixes.tables[table.name].duplicates
            duplicates.setdefault(Fix(rule, action), set()).update(lost)
            firsts = _values(repetition.first for repetition in repetitions)
            self._kept.append(_Kept(violation, place, firsts))
            self._cascade.follow({place: lost})


def unique_keys(table: Table) -> list[tuple[str, ...]]:
    """Return the columns of each unique key of a table, the primary one first."""
    from sqlalchemy import UniqueConstraint

    primary = tuple(table.primary_key.columns.keys())
    constraints = [item for item in table.constraints if isinstance(item, UniqueConstraint)]
    indexes = [index for index in table.indexes if index.unique]
    keys = [primary, *(tuple(item.columns.keys()) for item in [*constraints, *indexes])]
    return sorted(
        dict.fromkeys(columns for columns in keys if columns),
        key=lambda columns: columns != primary,
    )


def _values(keys: Iterable[Key]) -> set[Value]:
    return {key for key in keys if not isinstance(key, tuple)}


def _repetitions(rows: Sequence[Row], width: int) -> list[Repetition]:
    """Read rows of the `width` values of a unique key and the primary key, sorted by the latter."""
    firsts: dict[Row, Key] = {}
    repetitions = []
    for row in rows:
        unique, own = tuple(row[:width]), tuple(map(stored, row[width:]))
        key: Key = own[0] if len(own) == 1 else own
        if unique in firsts:
            repetitions.append(Repetition(key, firsts[unique]))
        firsts.setdefault(unique, key)
    return repetitions
