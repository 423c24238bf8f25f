"""What the chosen fixes leave: rows that are still broken, and all references to rows that are left
out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.db_migrate.fixes import Fixes, TableFixes
from kallithea_tune.db_migrate.preflight.finding import NAMED, Finding
from kallithea_tune.db_migrate.preflight.limits import Limits, broken
from kallithea_tune.db_migrate.preflight.rules import DELETE
from kallithea_tune.db_migrate.preflight.scan import Condition, Scan

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.copy import End

TOGETHER = 500  # values in one statement; SQLite before 3.32 takes 999

# For each table and column that others refer to, values of rows that are left out.
Gone = Mapping["tuple[str, str]", "set[Any]"]


class References:
    """Which column refers to which, of the tables that go over; those of several columns are left
    aside.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self.to: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for table in tables:
            for constraint in table.foreign_key_constraints:
                if len(constraint.elements) == 1:
                    element = constraint.elements[0]
                    referred, _, column = element.target_fullname.rpartition(".")
                    self.to[referred, column].append((table.name, element.parent.name))

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table that others refer to."""
        return [column for name, column in self.to if name == table]


class Consequences:
    """Looks at the rows that were found once more, as they will be."""

    def __init__(
        self,
        source: End,
        tables: Mapping[str, Table],
        fixes: Fixes,
        findings: list[Finding],
        packet: Optional[int],
    ) -> None:
        self._source, self._tables, self._fixes, self._findings = source, tables, fixes, findings
        self._packet = packet
        self._references = References(tables.values())
        self._out: dict[tuple[str, str], set[Any]] = defaultdict(set)

    def of_fixes(
        self, table: Table, found: Sequence[tuple[Condition, Finding]], limits: Mapping[str, Limits]
    ) -> Gone:
        """Count what the fixes leave of the findings of one table; return the values of rows that
        they leave out.
        """
        fixes = self._fixes.tables[table.name]
        left: Counter[tuple[str, tuple[str, ...]]] = Counter()
        gone: dict[tuple[str, str], set[Any]] = defaultdict(set)
        referred = [
            (column, fixes.columns.index(column)) for column in self._references.columns(table.name)
        ]
        for row in self._rows(table, " OR ".join(f"({item.sql})" for item, _ in found)):
            outcome = fixes.apply(row)
            if outcome.row is not None:
                left.update(_still_broken(fixes, outcome.row, limits))
                if self._packet is not None and fixes.size(outcome.row) > self._packet:
                    left["too-big", ()] += 1
                continue
            for column, place in referred:
                gone[table.name, column].add(row[place])
        for _, finding in found:
            finding.left = left.pop((finding.rule, finding.columns), 0)
        for (rule, columns), count in left.items():
            self._findings.append(
                Finding(rule, table.name, columns, "broken by another fix", count, left=count)
            )
        return gone

    def cascade(self, gone: Gone) -> None:
        """Follow the references to rows that are left out, and to those that are left out for that,
        to the end.
        """
        waiting = {place: set(values) for place, values in gone.items()}
        while waiting:
            place, values = waiting.popitem()
            values -= self._out[place]
            self._out[place] |= values
            for table, column in self._references.to.get(place, ()):
                for more, keys in self._lose(table, column, place[0], values).items():
                    waiting.setdefault(more, set()).update(keys)

    def is_out(self, table: str, column: str, value: Any) -> bool:
        """Tell whether the row of a table that others refer to with this value is left out."""
        return value in self._out[table, column]

    def _lose(self, table: str, column: str, referred: str, values: set[Any]) -> Gone:
        """Note the rows of `table` that refer to lost `values`; return what is lost with them."""
        gone: dict[tuple[str, str], set[Any]] = defaultdict(set)
        reference = self._fixes.tables[table].references[column]
        further = self._references.columns(table)
        count, named = 0, []
        for row in self._referring(
            table, [column, *Scan.key_columns(self._tables[table]), *further], column, values
        ):
            reference.lost.add(row[0])
            count += 1
            key = list(row[1 : len(row) - len(further)])
            named += [key[0] if len(key) == 1 else key] if count <= NAMED else []
            if reference.action == DELETE:
                for name, value in zip(further, row[len(row) - len(further) :]):
                    gone[table, name].add(value)
        if count:
            self._findings.append(
                Finding(
                    "orphans",
                    table,
                    (column,),
                    f"to rows of {referred} that a fix leaves out",
                    count,
                    sorted(named),
                    self._actions(table, column),
                    reference.action,
                    0 if reference.action else count,
                )
            )
        return gone

    def _actions(self, table: str, column: str) -> tuple[str, ...]:
        nullable = self._tables[table].columns[column].nullable
        return ("null", DELETE) if nullable else (DELETE,)

    def _referring(
        self, table: str, names: Sequence[str], column: str, values: set[Any]
    ) -> Iterator[Any]:
        import sqlalchemy

        def quoted(name: str) -> str:
            return self._source.dialect.quoted(self._source.connection, name).replace(":", r"\:")

        statement = sqlalchemy.text(
            "SELECT {} FROM {} WHERE {} IN :values".format(
                ", ".join(map(quoted, names)), quoted(table), quoted(column)
            )
        )
        wanted = sorted(values, key=repr)
        for start in range(0, len(wanted), TOGETHER):
            bound = statement.bindparams(
                sqlalchemy.bindparam("values", wanted[start : start + TOGETHER], expanding=True)
            )
            yield from self._source.connection.execute(bound)

    def _rows(self, table: Table, where: str) -> Iterator[Sequence[Any]]:
        for batch in self._source.dialect.rows(self._source.connection, table, where):
            yield from batch


def _still_broken(
    fixes: TableFixes,
    row: Sequence[Any],
    limits: Mapping[str, Limits],
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, value in zip(fixes.columns, row):
        yield from ((rule, (name,)) for rule in broken(value, limits[name]))
    for name, reference in fixes.references.items():
        if row[reference.place] in reference.lost:
            yield "orphans", (name,)
