"""One table of the source, looked through by its engine: one pass that counts, and one look at what
was counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional, Sequence

from kallithea_tune.db_migrate.preflight.finders import Finder
from kallithea_tune.db_migrate.preflight.finding import NAMED, Finding
from kallithea_tune.db_migrate.preflight.holders import Holder
from kallithea_tune.db_migrate.preflight.limits import Limits
from kallithea_tune.db_migrate.preflight.rules import DELETE, NULL, RULES
from kallithea_tune.db_migrate.values import Kind, kind_of

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.copy import End

MOST_CONDITIONS = (
    400  # in one statement; a result of SQLite and PostgreSQL has at most 2,000 and 1,664 columns
)


@dataclass(frozen=True)
class Condition:
    """In SQL, what is true for rows that break `rule` in `columns`; `limits` are those of a single
    column.
    """

    rule: str
    columns: tuple[str, ...]
    what: str
    sql: str
    actions: tuple[str, ...]
    limits: Optional[Limits] = None


def value_conditions(
    source: End, finder: Finder, table: Table, limits: Mapping[str, Limits]
) -> Iterator[Condition]:
    """Yield those of single values, `limits` being those of each column."""
    for name, held in limits.items():
        quoted = source.dialect.quoted(source.connection, name)
        for rule, what in held.rules():
            sql = finder.condition(rule, quoted, held)
            if sql:
                # Another key would be another row.
                actions = (DELETE,) if table.columns[name].primary_key else allowed(rule, held)
                yield Condition(rule, (name,), what, sql, actions, held)


def allowed(rule: str, limits: Limits) -> tuple[str, ...]:
    """Return the actions of a rule that make sense in a column: NULL only where it may be, no half
    of a blob.
    """
    left_out = {NULL} if not limits.nullable else set()
    if limits.kind is Kind.binary:
        left_out.add("truncate")
    if limits.kind is Kind.time:
        left_out.add("epoch")
    return tuple(action for action in RULES[rule].actions if action not in left_out)


def size_condition(
    source: End, finder: Finder, table: Table, holder: Holder
) -> Iterator[Condition]:
    """Yield that for rows that are greater than a packet, so that no INSERT brings them to the
    server.
    """
    parts = []
    for column in table.columns:
        kind = kind_of(column)
        if kind in (Kind.text, Kind.binary):
            size = finder.octets(source.dialect.quoted(source.connection, column.name), kind)
            parts.append(f"coalesce({size}, 0)")
    if parts and holder.packet is not None:
        yield Condition(
            "too-big",
            (),
            "over the %d bytes of max_allowed_packet" % holder.packet,
            "%s > %d" % (" + ".join(parts), holder.packet),
            RULES["too-big"].actions,
        )


def reference_conditions(
    source: End, table: Table, present: Mapping[str, Table]
) -> Iterator[Condition]:
    """Yield those for references to rows that are not there."""
    for constraint in sorted(table.foreign_key_constraints, key=lambda item: item.column_keys):
        referred = constraint.elements[0].target_fullname.split(".")[0]
        if referred in present:
            names = tuple(element.parent.name for element in constraint.elements)
            may_be_null = all(
                element.parent.nullable and not element.parent.primary_key
                for element in constraint.elements
            )
            actions = () if len(names) > 1 else (NULL, DELETE) if may_be_null else (DELETE,)
            yield Condition(
                "orphans",
                names,
                f"not in {referred}",
                _dangling(source, constraint, referred),
                actions,
            )


def _dangling(source: End, constraint: Any, referred: str) -> str:
    def quoted(name: str) -> str:
        return source.dialect.quoted(source.connection, name)

    here = [quoted(element.parent.name) for element in constraint.elements]
    there = [quoted(element.target_fullname.rpartition(".")[2]) for element in constraint.elements]
    filled = " AND ".join(f"{name} IS NOT NULL" for name in here)
    if len(here) == 1:
        return f"({filled} AND {here[0]} NOT IN (SELECT {there[0]} FROM {quoted(referred)} WHERE {there[0]} IS NOT NULL))"
    table = quoted(constraint.table.name)
    return "({} AND NOT EXISTS (SELECT 1 FROM {} AS referred WHERE {}))".format(
        filled,
        quoted(referred),
        " AND ".join(f"referred.{other} = {table}.{one}" for one, other in zip(here, there)),
    )


class Scan:
    """The source's own look at one table."""

    def __init__(self, source: End, finder: Finder, table: Table) -> None:
        self._source, self._finder, self._table = source, finder, table

    @staticmethod
    def key_columns(table: Table) -> list[str]:
        """Return the names of the columns that tell rows apart: the primary key, or all where there
        is none.
        """
        return [column.name for column in table.primary_key.columns or table.columns]

    def findings(self, conditions: Sequence[Condition]) -> list[tuple[Condition, Finding]]:
        """Count for each condition the rows, all in one pass, and name the first of them."""
        plain = [item for item in conditions if item.rule not in self._finder.screened]
        screened = [item for item in conditions if item.rule in self._finder.screened]
        asked = [item.sql for item in plain]
        if screened:
            names = list(dict.fromkeys(self._quoted(item.columns[0]) for item in screened))
            asked.append(self._finder.screen(names, {item.rule for item in screened}))
        counts = self.counts(asked)
        if screened and counts.pop():
            plain, counts = plain + screened, counts + self.counts([item.sql for item in screened])
        return [(item, self._finding(item, count)) for item, count in zip(plain, counts) if count]

    def counts(self, conditions: Sequence[str]) -> list[int]:
        """Return how many rows meet each condition."""
        found: list[int] = []
        for start in range(0, len(conditions), MOST_CONDITIONS):
            sums = ", ".join(
                f"sum(CASE WHEN {sql} THEN 1 ELSE 0 END)"
                for sql in conditions[start : start + MOST_CONDITIONS]
            )
            row = self.asked(f"SELECT {sums} FROM {self._quoted(self._table.name)}")[0]
            found += [int(number or 0) for number in row]
        return found

    def keys(self, condition: str) -> list[Any]:
        """Return the primary keys of the first rows that meet it."""
        names = ", ".join(map(self._quoted, self.key_columns(self._table)))
        rows = self.asked(
            "SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d"
            % (names, self._quoted(self._table.name), condition, names, NAMED)
        )
        return [row[0] if len(row) == 1 else list(row) for row in rows]

    def values(self, column: str, condition: str) -> set[Any]:
        """Return the different values of a column in the rows that meet the condition."""
        return {
            row[0]
            for row in self.asked(
                f"SELECT DISTINCT {self._quoted(column)} FROM {self._quoted(self._table.name)} WHERE {condition}"
            )
        }

    def asked(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""
        cursor = self._source.dialect.cursor(self._source.connection)
        cursor.execute(statement)
        return list(cursor.fetchall())

    def _finding(self, item: Condition, count: int) -> Finding:
        return Finding(
            item.rule,
            self._table.name,
            item.columns,
            item.what,
            count,
            self.keys(item.sql),
            item.actions,
            left=count,
        )

    def _quoted(self, name: str) -> str:
        return self._source.dialect.quoted(self._source.connection, name)
