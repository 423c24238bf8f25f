"""What a rule of preflight is, and the registry of all rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, TypeVar

from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import ViolationSql
from kallithea_tune.db_migrate.preflight.actions import Action
from kallithea_tune.db_migrate.values import Value


@dataclass(frozen=True, eq=False)
class Rule:
    """One kind of row that a target refuses or changes.

    `summary` is the line of the documentation, `actions` are the fixes, the least destructive
    first.
    """

    name: str
    summary: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, eq=False)
class ValueRule(Rule):
    """A rule of single values.

    `complaint` is what is wrong with a violating value in a column; empty where the column has no
    such rule. `test` tells whether a value, not NULL, violates it, `sql` finds the same in the
    source, for a quoted column; None where the source cannot store such a value. `in_text` is for
    rules of the characters of text, which an engine may look for only in suspect rows. `of_null` is
    for the rule that NULL violates, and no other value.
    """

    complaint: Callable[[Limits], str]
    test: Callable[[Value, Limits], bool]
    sql: Callable[[ViolationSql, str, Limits], Optional[str]]
    in_text: bool = False
    of_null: bool = False

    def violated_by(self, value: Value, limits: Limits) -> bool:
        """Tell whether `value` violates the rule, which is one that the column has."""
        if value is None or self.of_null:
            return value is None and self.of_null
        return self.test(value, limits)

    def condition(self, sql: ViolationSql, name: str, limits: Limits) -> Optional[str]:
        """Return what is true for violating values of the column `name`; None without any."""
        if self.of_null:
            return f"{name} IS NULL"
        condition = self.sql(sql, name, limits)
        return f"({name} IS NOT NULL AND {condition})" if condition else None

    def possible_actions(self, limits: Limits) -> tuple[Action, ...]:
        """Return the actions that make sense in a column."""
        return tuple(action for action in self.actions if action.possible(limits))


RULES: dict[str, Rule] = {}
"""All rules by name, in the order in which their fixes are applied."""

_R = TypeVar("_R", bound=Rule)


def register(rule: _R) -> _R:
    """Add a rule to the registry, and return it."""
    RULES[rule.name] = rule
    return rule
