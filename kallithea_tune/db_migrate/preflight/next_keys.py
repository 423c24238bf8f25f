"""The next keys of the source that the target cannot generate, though all rows may fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, Mapping

from kallithea_tune.db.tables import key_column
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.preflight.actions import DELETE, RESTART
from kallithea_tune.db_migrate.preflight.conditions import Scope
from kallithea_tune.db_migrate.preflight.fix_options import ChosenFixes, first_possible
from kallithea_tune.db_migrate.preflight.rules import OUT_OF_RANGE, SEQUENCES
from kallithea_tune.db_migrate.preflight.violation import PreflightResult, Violation
from kallithea_tune.db_migrate.sequences import highest_key

if TYPE_CHECKING:
    from sqlalchemy import Table


def check(
    scope: Scope,
    table: Table,
    limits: Mapping[str, Limits],
    chosen: ChosenFixes,
    result: PreflightResult,
) -> None:
    """Find a next key beyond what the column of the target can store.

    Where the last key is that of a row, the row is what violates a rule. When a fix leaves it out,
    the next key follows the highest one carried.
    """
    column = key_column(table)
    range_ = limits[column.name].integers if column is not None else None
    if column is None or range_ is None:
        return
    used = scope.source.reader.last_key(table)
    if used < range_[1]:
        return
    is_of_row = highest_key(scope.source, column) >= used
    action = first_possible(chosen, SEQUENCES, (RESTART,))
    if is_of_row:
        action = RESTART if any(_left_out(result, table.name, column.name)) else None
    result.fixes.tables[table.name].restart = action is RESTART
    if not is_of_row or action:
        result.violations.append(
            Violation(
                SEQUENCES,
                table.name,
                (column.name,),
                f"the last key was {used}, and the next one must be at most {range_[1]}",
                0,
                actions=(RESTART,),
                fix=action,
                left=0 if action else 1,
            )
        )


def _left_out(result: PreflightResult, table: str, column: str) -> Iterator[bool]:
    for violation in result.violations:
        if violation.table == table and violation.columns == (column,):
            yield violation.rule in (OUT_OF_RANGE, SEQUENCES) and violation.fix is DELETE
