"""Everything in the source that the target would refuse or change, found before anything is
written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence

from kallithea_tune.db_migrate.fixes import Fixes, Reference, Step, TableFixes
from kallithea_tune.db_migrate.preflight.consequences import Consequences
from kallithea_tune.db_migrate.preflight.finders import finder_of
from kallithea_tune.db_migrate.preflight.finding import Finding
from kallithea_tune.db_migrate.preflight.holders import holder_of
from kallithea_tune.db_migrate.preflight.limits import Limits
from kallithea_tune.db_migrate.preflight.rules import RULES, Chosen
from kallithea_tune.db_migrate.preflight.scan import (
    Condition,
    Scan,
    reference_conditions,
    size_condition,
    value_conditions,
)
from kallithea_tune.db_migrate.preflight.uniqueness import Uniqueness
from kallithea_tune.db_migrate.values import kind_of

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.copy import End

# Told the name of each table when it was looked through.
Progress = Callable[[str], None]


@dataclass
class Preflight:
    """What was found, the fixes that were chosen for it, and in a sentence each what could not be
    looked at.
    """

    findings: list[Finding] = field(default_factory=list)
    fixes: Fixes = field(default_factory=Fixes)
    unseen: list[str] = field(default_factory=list)

    @property
    def blocking(self) -> list[Finding]:
        """Those that no chosen fix mends."""
        return [finding for finding in self.findings if finding.left]


class Look:
    """Looks at both ends of a migration. Nothing is written but temporary tables of the target."""

    def __init__(
        self, source: End, target: End, tables: Sequence[Table], copies: Sequence[Table]
    ) -> None:
        self._source, self._target = source, target
        self._tables = {table.name: table for table in tables}
        self._copies = {copy.name: copy for copy in copies}
        self._finder, self._holder = finder_of(source), holder_of(target)

    def around(self, chosen: Chosen, progress: Optional[Progress] = None) -> Preflight:
        """Find everything, and what becomes of it by the fixes that are `chosen`."""
        found = Preflight()
        consequences = Consequences(
            self._source, self._tables, found.fixes, found.findings, self._holder.packet
        )
        limits = {name: self._limits(name) for name in self._tables}
        broken = {}
        for name, table in self._tables.items():
            broken[name] = Scan(self._source, self._finder, table).findings(
                self._conditions(name, limits[name])
            )
            found.findings += [finding for _, finding in broken[name]]
            found.fixes.tables[name] = self._fixes_of(table, broken[name], chosen)
            if progress:
                progress(name)
        if chosen:
            for name, table in self._tables.items():
                if broken[name]:
                    consequences.cascade(consequences.of_fixes(table, broken[name], limits[name]))
        uniqueness = Uniqueness(
            self._source, self._target, self._finder, self._holder, found, consequences
        )
        for name, table in self._tables.items():
            uniqueness.look(table, self._copies[name], chosen)
        uniqueness.settle()
        return found

    def _limits(self, name: str) -> Mapping[str, Limits]:
        return {column.name: self._holder.limits(column) for column in self._copies[name].columns}

    def _conditions(self, name: str, limits: Mapping[str, Limits]) -> list[Condition]:
        table = self._tables[name]
        return [
            *value_conditions(self._source, self._finder, table, limits),
            *size_condition(self._source, self._finder, table, self._holder),
            *reference_conditions(self._source, table, self._tables),
        ]

    def _fixes_of(
        self,
        table: Table,
        broken: Sequence[tuple[Condition, Finding]],
        chosen: Chosen,
    ) -> TableFixes:
        columns = [column.name for column in table.columns]
        made = TableFixes(
            columns,
            [kind_of(column) for column in table.columns],
            [columns.index(column.name) for column in table.primary_key.columns],
        )
        for condition in reference_conditions(self._source, table, self._tables):
            if len(condition.columns) == 1:
                action = _first(chosen.get("orphans", ()), condition.actions)
                made.references[condition.columns[0]] = Reference(
                    columns.index(condition.columns[0]), action
                )
        order = list(RULES)
        for condition, finding in sorted(broken, key=lambda item: order.index(item[0].rule)):
            finding.fix = action = _first(chosen.get(condition.rule, ()), condition.actions)
            if condition.rule == "utf8":
                self._source.dialect.read_broken_text(self._source.connection)
            if condition.rule == "orphans" and condition.columns[0] in made.references and chosen:
                made.references[condition.columns[0]].lost = Scan(
                    self._source, self._finder, table
                ).values(condition.columns[0], condition.sql)
            elif action and condition.rule == "too-big":
                made.packet = self._holder.packet
            elif action and condition.limits:
                made.steps.append(
                    Step(
                        columns.index(condition.columns[0]),
                        condition.rule,
                        action,
                        condition.limits,
                    )
                )
        return made


def _first(wanted: Sequence[str], possible: Sequence[str]) -> str:
    """Return the first action wanted that is possible; empty when there is none."""
    return next((action for action in wanted if action in possible), "")
