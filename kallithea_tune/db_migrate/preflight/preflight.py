"""Finds everything in the source that the target would refuse or change, and plans the fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence, Tuple

from kallithea_tune.db.kinds import kind_of
from kallithea_tune.db_migrate.preflight import next_keys, offers, record
from kallithea_tune.db_migrate.preflight.cascade import Cascade
from kallithea_tune.db_migrate.preflight.conditions import (
    Condition,
    Scope,
    conditions,
    reference_conditions,
)
from kallithea_tune.db_migrate.preflight.fix_options import (
    ChosenFixes,
    first_possible,
    possible_choices,
)
from kallithea_tune.db_migrate.preflight.fixes import Reference, Step, TableFixes, with_later_steps
from kallithea_tune.db_migrate.preflight.record import Circumstances
from kallithea_tune.db_migrate.preflight.rule import ValueRule
from kallithea_tune.db_migrate.preflight.rules import DATES, ORPHANS, TOO_BIG, UTF8, WRONG_TYPE
from kallithea_tune.db_migrate.preflight.scan import Scan
from kallithea_tune.db_migrate.preflight.uniqueness import Uniqueness
from kallithea_tune.db_migrate.preflight.violation import PreflightResult, Violation

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.plan import Transfer

# Receives the name of each table when it has been scanned.
Progress = Callable[[str], None]

Violations = Sequence[Tuple[Condition, Violation]]


class Preflight:
    """Examines both ends of a migration. Only temporary tables of the target are written."""

    def __init__(
        self, source: Engine, target: Engine, tables: Sequence[Table], copies: Sequence[Table]
    ) -> None:
        self._scope = Scope.of(source, target, tables, copies)

    @classmethod
    def of(cls, transfer: Transfer) -> Preflight:
        """Prepare to examine the ends of `transfer`."""
        return cls(transfer.source, transfer.target, transfer.tables, transfer.copies)

    def circumstances(self, source: Mapping[str, str]) -> Circumstances:
        """Return all that decides what `run` finds, with the identity of the source."""
        return record.circumstances(self._scope, source)

    def found_nothing(self) -> PreflightResult:
        """Return the result of `run` where it finds nothing."""
        result = PreflightResult()
        for name, table in self._scope.tables.items():
            result.fixes.tables[name] = self._plan_fixes(table, (), {})
        return result

    def run(self, chosen: ChosenFixes, progress: Optional[Progress] = None) -> PreflightResult:
        """Find all violations, and what becomes of them with the fixes that are `chosen`."""
        scope, result = self._scope, PreflightResult()
        limits = {name: scope.limits(name) for name in scope.tables}
        found: dict[str, Violations] = {}
        for name, table in scope.tables.items():
            found[name] = Scan(scope, table).violations(conditions(scope, table, limits[name]))
            result.violations += [violation for _, violation in found[name]]
            result.fixes.tables[name] = self._plan_fixes(table, found[name], chosen)
            if progress:
                progress(name)
            next_keys.check(scope, table, limits[name], chosen, result)
        cascade = Cascade(scope, result)
        for name, table in scope.tables.items() if chosen else ():
            if found[name]:
                cascade.apply_fixes(table, found[name], limits[name])
        uniqueness = Uniqueness(scope, result, cascade)
        for table in scope.tables.values():
            uniqueness.check(table, chosen)
        uniqueness.settle()
        for name, table in scope.tables.items():
            offers.describe(scope, table, found[name], cascade.consequences)
        return result

    def _plan_fixes(self, table: Table, found: Violations, chosen: ChosenFixes) -> TableFixes:
        columns = [column.name for column in table.columns]
        fixes = TableFixes(
            columns,
            [kind_of(column) for column in table.columns],
            [columns.index(column.name) for column in table.primary_key.columns],
        )
        for condition in reference_conditions(self._scope, table):
            if len(condition.columns) == 1:
                action = first_possible(chosen, ORPHANS, condition.actions)
                place = columns.index(condition.columns[0])
                fixes.references[condition.columns[0]] = Reference(place, action)
        for condition, violation in found:
            choices = possible_choices(chosen, condition.rule, condition.actions)
            violation.fix = choices[0] if choices else None
            # Text in a column of numbers or dates may be invalid, too.
            if condition.rule in (UTF8, WRONG_TYPE, DATES):
                self._scope.source.reader.accept_invalid_utf8()
            if condition.rule is ORPHANS:
                self._plan_reference(table, fixes, condition, chosen)
            elif violation.fix and condition.rule is TOO_BIG:
                fixes.packet = self._scope.column_limits.packet
            elif condition.limits and isinstance(condition.rule, ValueRule):
                place, rule, limits = (
                    columns.index(condition.columns[0]),
                    condition.rule,
                    condition.limits,
                )
                fixes.steps += [Step(place, rule, action, limits) for action in choices]
        fixes.steps = with_later_steps(
            fixes.steps,
            lambda rule, limits: possible_choices(chosen, rule, rule.possible_actions(limits)),
        )
        return fixes

    def _plan_reference(
        self, table: Table, fixes: TableFixes, condition: Condition, chosen: ChosenFixes
    ) -> None:
        reference = fixes.references.get(condition.columns[0])
        if reference and chosen:
            scan = Scan(self._scope, table)
            reference.lost = scan.values(condition.columns[0], condition.sql)
