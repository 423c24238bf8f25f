"""Tables and rows into the target."""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING, ClassVar, Iterator, Optional, Sequence, Union

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines.base.connection import Connected
from kallithea_tune.db_migrate.engines.base.reading import Lines
from kallithea_tune.db_migrate.values import Row, Value

if TYPE_CHECKING:
    from sqlalchemy import Column, Constraint, Index, Table
    from sqlalchemy.types import TypeEngine

PythonValue = Union[Value, datetime.datetime, datetime.date, datetime.time, decimal.Decimal]


class Writer(Connected):
    """Writes tables through SQLAlchemy. The flags say what an engine can do."""

    transactional_ddl: ClassVar[bool] = False
    """Whether tables made in a transaction vanish when it is rolled back."""

    keeps_nul: ClassVar[bool] = True
    """Whether text may contain the character NUL."""

    constraints_later: ClassVar[bool] = True
    """Whether unique and foreign keys can be added to a filled table."""

    primary_key_later: ClassVar[bool] = False
    """Whether it pays to add the primary key after the rows."""

    strict: ClassVar[bool] = False
    """Whether a row that preflight would find is refused, or arrives visibly changed."""

    character_count: ClassVar[str] = "char_length"
    """The function that counts the characters of a text."""

    current_moment: ClassVar[str] = "CURRENT_TIMESTAMP"
    """The default of a moment that is the one at which the row is inserted."""

    current_day: ClassVar[str] = "CURRENT_DATE"
    """The same of a date."""

    enforces_digits: ClassVar[bool] = True
    """Whether a decimal column rounds values that have more digits, or refuses them."""

    loses_negative_zero: ClassVar[bool] = False
    """Whether a float of -0.0 becomes 0.0."""

    instants: ClassVar[Optional[tuple[str, str]]] = None
    """The first and the last moment in UTC that the type for moments with a zone has."""

    keys_together: ClassVar[bool] = False
    """Whether one statement adds all keys of a table, even references to keys still missing."""

    def lock(self, name: str) -> bool:
        """Keep other sessions from taking the lock `name`; False where one has it already."""
        return True

    def why_unsuitable(self) -> str:
        """Return why this server or database cannot take the rows; empty when it can."""
        return ""

    def why_not_called(self, name: str) -> str:
        """Return why nothing can have this name; empty where it can."""
        longest = self.connection.dialect.max_identifier_length
        return f"its name is longer than {longest} characters" if len(name) > longest else ""

    def why_no_table_called(self, name: str) -> str:
        """Return why a table in particular cannot; empty where it can."""
        return ""

    def column_type(self, column: Column) -> Optional[TypeEngine]:
        """Return the type for `column`; None for the one that the application would get."""
        return None

    def risk(self, column: Column) -> str:
        """Return what the type of the target's `column` refuses or changes; empty for nothing."""
        length = getattr(column.type, "length", None)
        if kind_of(column) is Kind.text and length:
            return f"text over {length} characters is refused"
        return ""

    def begin_load(self) -> None:
        """Prepare the session for many rows."""

    def add_keys(self, table: Table, added: Sequence[Union[Constraint, Index]]) -> None:
        """Add unique keys, indexes and foreign keys to a filled table.

        There is more than one key only with `keys_together`.
        """
        from sqlalchemy import Index
        from sqlalchemy.schema import AddConstraint, CreateIndex

        for key in added:
            statement = CreateIndex(key) if isinstance(key, Index) else AddConstraint(key)
            self.connection.execute(statement)

    def end_load(self, tables: Sequence[Table]) -> None:
        """Undo `begin_load`, and check what the engine did not. Raises TuneError for orphans."""

    def can_load(self) -> bool:
        """Whether `load` is implemented and the server allows it."""
        return type(self).load is not Writer.load

    def load(self, table: Table, lines: Lines) -> None:
        """Write rows given as text. Raises what the driver raises for a row that does not fit."""
        raise NotImplementedError

    def insert(self, table: Table, rows: Iterator[Sequence[Row]]) -> None:
        """Write rows in storage form. Raises what the driver raises for a row that does not fit."""
        kinds = [kind_of(column) for column in table.columns]
        names = [column.name for column in table.columns]
        for batch in rows:
            self.connection.execute(
                table.insert(),
                [dict(zip(names, map(python_value, row, kinds))) for row in batch],
            )

    def set_last_key(self, table: Table, column: Column, key: int) -> None:
        """Make `key` the last one generated for `table`; 0 for none."""

    def begin_changes(self) -> None:
        """Let rows be deleted and inserted in any order, in the open transaction.

        `end_changes` ends this.
        """

    def end_changes(self, tables: Sequence[Table]) -> None:
        """Enforce references again, and check those of the rows in `tables` now."""

    def rows_written(self) -> Optional[int]:
        """Return how many rows were inserted, changed and deleted in this transaction, or before.

        Those by triggers and foreign keys included. None where the engine does not say.
        """
        return None

    def analyze(self, tables: Sequence[Table]) -> None:
        """Give the engine's query planner statistics of the new rows."""


def python_value(value: Value, kind: Kind) -> PythonValue:
    """Convert a value from storage form into the Python type that SQLAlchemy expects."""
    if value is None:
        return None
    if kind is Kind.boolean:
        return bool(value)
    if kind in (Kind.moment, Kind.instant):
        return datetime.datetime.fromisoformat(str(value))
    if kind is Kind.decimal:
        return decimal.Decimal(str(value))
    if kind is Kind.date:
        return datetime.date.fromisoformat(str(value))
    if kind is Kind.time:
        return datetime.time.fromisoformat(str(value))
    return value
