"""The conditions, in SQL of the source, that rows of one table meet when they violate a rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Mapping, Optional, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines.base.column_limits import Limits
from kallithea_tune.db_migrate.engines.base.violation_sql import ViolationSql
from kallithea_tune.db_migrate.preflight.actions import DELETE, NULL, Action
from kallithea_tune.db_migrate.preflight.rule import Rule, ValueRule
from kallithea_tune.db_migrate.preflight.rules import ORPHANS, TOO_BIG, rules_of

if TYPE_CHECKING:
    from sqlalchemy import Column, ForeignKeyConstraint, Table

    from kallithea_tune.db_migrate.engines import base


@dataclass(frozen=True)
class Scope:
    """What preflight examines: tables of the source, and their copies as the target has them."""

    source: base.Engine
    target: base.Engine
    tables: Mapping[str, Table]
    copies: Mapping[str, Table]
    violation_sql: ViolationSql
    column_limits: base.ColumnLimits

    @classmethod
    def of(
        cls,
        source: base.Engine,
        target: base.Engine,
        tables: Sequence[Table],
        copies: Sequence[Table],
    ) -> Scope:
        """Prepare both sessions."""
        return cls(
            source,
            target,
            {table.name: table for table in tables},
            {copy.name: copy for copy in copies},
            source.violation_sql(),
            target.column_limits(),
        )

    def limits(self, table: str) -> Mapping[str, Limits]:
        """Return the limits of each column that a table has in the target."""
        return {column.name: self.column_limits.of(column) for column in self.copies[table].columns}


@dataclass(frozen=True)
class Condition:
    """What is true, in SQL, for rows that violate `rule` in `columns`.

    `limits` are those of the column, for rules of single values.
    """

    rule: Rule
    columns: tuple[str, ...]
    what: str
    sql: str
    actions: tuple[Action, ...]
    limits: Optional[Limits] = None


def conditions(scope: Scope, table: Table, limits: Mapping[str, Limits]) -> list[Condition]:
    """Return all conditions for one table, with the `limits` of each column."""
    return [
        *_value_conditions(scope, table, limits),
        *_size_condition(scope, table),
        *reference_conditions(scope, table),
    ]


def _value_conditions(
    scope: Scope, table: Table, limits: Mapping[str, Limits]
) -> Iterator[Condition]:
    for name, of_column in limits.items():
        quoted = scope.source.quoted(name)
        for rule, what in rules_of(of_column):
            sql = rule.condition(scope.violation_sql, quoted, of_column)
            if sql:
                actions = possible_actions(scope, table.columns[name], rule, of_column)
                yield Condition(rule, (name,), what, sql, actions, of_column)


def possible_actions(
    scope: Scope, column: Column, rule: ValueRule, limits: Limits
) -> tuple[Action, ...]:
    """Return the actions for a rule that can lead to a row that the target accepts."""
    possible = rule.possible_actions(limits)
    # With another key it would be another row, or refer to another one or none.
    if column.primary_key or column.foreign_keys:
        possible = tuple(action for action in possible if action in (NULL, DELETE))
    # Servers have no values of another type, and no dates in other forms.
    stores_any_type = scope.violation_sql.stores_any_type
    return tuple(action for action in possible if stores_any_type or not action.partial)


def _size_condition(scope: Scope, table: Table) -> Iterator[Condition]:
    """Yield the condition for rows bigger than a packet, which no INSERT gets to the server."""
    packet = scope.column_limits.packet
    parts = []
    for column in table.columns:
        kind = kind_of(column)
        if kind in (Kind.text, Kind.binary):
            size = scope.violation_sql.octets(scope.source.quoted(column.name), kind)
            parts.append(f"coalesce({size}, 0)")
    if parts and packet is not None:
        what = f"over the {packet} bytes of max_allowed_packet"
        sql = "{} > {}".format(" + ".join(parts), packet)
        yield Condition(TOO_BIG, (), what, sql, TOO_BIG.actions)


def reference_conditions(scope: Scope, table: Table) -> Iterator[Condition]:
    """Yield those for references to rows that are not there."""
    for constraint in sorted(table.foreign_key_constraints, key=lambda item: item.column_keys):
        referred = constraint.elements[0].target_fullname.split(".")[0]
        if referred in scope.tables:
            columns = [element.parent for element in constraint.elements]
            names = tuple(column.name for column in columns)
            nullable = all(column.nullable and not column.primary_key for column in columns)
            actions = () if len(names) > 1 else (NULL, DELETE) if nullable else (DELETE,)
            sql = _dangling(scope.source, constraint, referred)
            yield Condition(ORPHANS, names, f"not in {referred}", sql, actions)


def _dangling(source: base.Engine, constraint: ForeignKeyConstraint, referred: str) -> str:
    here = [source.quoted(element.parent.name) for element in constraint.elements]
    there = [
        source.quoted(element.target_fullname.rpartition(".")[2]) for element in constraint.elements
    ]
    parent = source.quoted(referred)
    filled = " AND ".join(f"{name} IS NOT NULL" for name in here)
    if len(here) == 1:
        keys = f"SELECT {there[0]} FROM {parent} WHERE {there[0]} IS NOT NULL"
        return f"({filled} AND {here[0]} NOT IN ({keys}))"
    table = source.quoted(constraint.table.name)
    matches = " AND ".join(f"referred.{key} = {table}.{name}" for name, key in zip(here, there))
    return f"({filled} AND NOT EXISTS (SELECT 1 FROM {parent} AS referred WHERE {matches}))"
