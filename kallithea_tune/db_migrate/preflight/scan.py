"""One table of the source, scanned by its engine: one pass, and further ones for what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

from kallithea_tune.config.redact import MASK
from kallithea_tune.config.secret_names import is_secret_column
from kallithea_tune.db.kinds import kind_of
from kallithea_tune.db.tables import key_column
from kallithea_tune.db_migrate.engines.base.violation_sql import Tests, Text, any_of
from kallithea_tune.db_migrate.preflight.conditions import Condition, Scope
from kallithea_tune.db_migrate.preflight.rule import ValueRule
from kallithea_tune.db_migrate.preflight.rules import (
    BOOLEANS,
    DATES,
    FOUR_BYTE,
    MICROSECONDS,
    NOT_FINITE,
    ORPHANS,
    OUT_OF_RANGE,
    TOO_LONG,
    WRONG_TYPE,
)
from kallithea_tune.db_migrate.preflight.violation import MOST_KEYS, Violation
from kallithea_tune.db_migrate.values import Key, Row, Value, stored

if TYPE_CHECKING:
    from sqlalchemy import Table

# In one statement; a result of SQLite and PostgreSQL has at most 2,000 and 1,664 columns.
MOST_CONDITIONS = 400

# What a value that is `usual` to the engine cannot violate.
OF_UNUSUAL_VALUES = (WRONG_TYPE, BOOLEANS, OUT_OF_RANGE, NOT_FINITE, DATES, MICROSECONDS, TOO_LONG)


class Scan:
    """Queries one table of the source."""

    def __init__(self, scope: Scope, table: Table) -> None:
        self._source, self._sql, self._table = scope.source, scope.violation_sql, table

    def violations(self, conditions: Sequence[Condition]) -> list[tuple[Condition, Violation]]:
        """Count the rows for each condition, where there are any, and list the first of them."""
        screened = [item for item in conditions if self._is_screened(item)]
        plain = [item for item in conditions if not self._is_screened(item)]
        suspects = self._sql.suspects(self._table, self._tests(plain, screened))
        possible = plain if suspects.conditions or suspects.texts else []
        possible = possible + screened if suspects.texts else possible
        counts = self.counts([item.sql for item in possible])
        found = zip(possible, counts)
        return [(item, self._violation(item, count)) for item, count in found if count]

    def _is_screened(self, condition: Condition) -> bool:
        rule = condition.rule
        return self._sql.screens_text and isinstance(rule, ValueRule) and rule.in_text

    def _tests(self, plain: Sequence[Condition], screened: Sequence[Condition]) -> Tests:
        """Return what to test in each row.

        Most rules of single values are only tested where the value is not a usual one.
        """
        references = [item.sql for item in plain if item.rule is ORPHANS]
        others = (*OF_UNUSUAL_VALUES, ORPHANS)
        tests = [item.sql for item in plain if item.rule not in others]
        unusual = [item for item in plain if item.rule in OF_UNUSUAL_VALUES]
        in_text = {item.columns for item in screened}
        texts = []
        columns = {item.columns: item.limits for item in [*screened, *unusual] if item.limits}
        for column, limits in columns.items():
            name = self._quoted(column[0])
            usual = self._sql.usual(name, limits)
            wrong = [item.sql for item in unusual if item.columns == column]
            if column in in_text:
                texts.append(Text(name, usual or "0", any_of(wrong) or "0"))
            elif usual is None:
                tests += wrong
            else:
                tests.append(f"NOT ({usual}) AND ({any_of(wrong)})")
        four_byte = any(item.rule is FOUR_BYTE for item in screened)
        return Tests(tests, references, texts, four_byte)

    def counts(self, conditions: Sequence[str]) -> list[int]:
        """Return how many rows meet each condition."""
        counts: list[int] = []
        for start in range(0, len(conditions), MOST_CONDITIONS):
            sums = ", ".join(
                f"sum(CASE WHEN {sql} THEN 1 ELSE 0 END)"
                for sql in conditions[start : start + MOST_CONDITIONS]
            )
            row = self.query(f"SELECT {sums} FROM {self._quoted(self._table.name)}")[0]
            counts += [int(number or 0) for number in row]
        return counts

    def keys(self, condition: str) -> list[Key]:
        """Return the primary keys of the first rows that meet it."""
        columns = [self._table.columns[name] for name in key_columns(self._table)]
        names = ", ".join(self._quoted(column.name) for column in columns)
        shown = ", ".join(
            self._sql.shown(self._quoted(column.name), kind_of(column)) for column in columns
        )
        rows = self.query(
            f"SELECT {shown} FROM {self._quoted(self._table.name)} WHERE {condition}"
            f" ORDER BY {names} LIMIT {MOST_KEYS}"
        )
        return [row[0] if len(row) == 1 else tuple(row) for row in rows]

    def values(self, column: str, condition: str) -> set[Value]:
        """Return the different values of a column, in storage form, of rows that meet it."""
        name, table = self._quoted(column), self._quoted(self._table.name)
        rows = self.query(f"SELECT DISTINCT {name} FROM {table} WHERE {condition}")
        return {stored(value) for (value,) in rows}

    def query(self, statement: str) -> list[Row]:
        """Return the rows of a statement."""
        cursor = self._source.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall())

    def _violation(self, item: Condition, count: int) -> Violation:
        return Violation(
            item.rule,
            self._table.name,
            item.columns,
            item.what,
            count,
            [without_secrets(self._table, key) for key in self.keys(item.sql)],
            item.actions,
            left=count,
        )

    def _quoted(self, name: str) -> str:
        return self._source.quoted(name)


def key_columns(table: Table) -> list[str]:
    """Return the columns that tell rows apart: the primary key, or all where there is none."""
    return [column.name for column in table.primary_key.columns or table.columns]


def without_secrets(table: Table, key: Key) -> Key:
    """Return `key` as it may be shown: without a table's own key it is all of a row.

    A key that the engine generates is no secret, whatever its name.
    """
    generated = key_column(table)
    if generated is not None and key_columns(table) == [generated.name]:
        return key
    parts = key if isinstance(key, tuple) else (key,)
    shown = tuple(
        MASK if is_secret_column(name) and part is not None else part
        for name, part in zip(key_columns(table), parts)
    )
    return shown if isinstance(key, tuple) else shown[0]
