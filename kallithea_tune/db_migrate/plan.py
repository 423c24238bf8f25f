"""What a migration would do: which tables in which order, how much is in them, what becomes of
every column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

from kallithea_tune.db_migrate import connect, journal, schema
from kallithea_tune.db_migrate.copy import End

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table


@dataclass(frozen=True)
class ColumnPlan:
    """A column: its type here and there, and what the target would refuse or change; empty where
    nothing.
    """

    name: str
    source_type: str
    target_type: str
    loses: str


@dataclass(frozen=True)
class TablePlan:
    """A table: `bytes` of its rows as the source stores them (0 where it does not say), and what it
    refers to.
    """

    name: str
    rows: int
    bytes: int
    columns: tuple[ColumnPlan, ...]
    refers_to: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The whole, tables in the order of copying. `extra` tables are in no model; `left_out` are
    those not copied.
    """

    source: str
    target: str
    revision: tuple[str, ...]
    tables: tuple[TablePlan, ...]
    extra: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows there are to copy."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """How many bytes they take in the source."""
        return sum(table.bytes for table in self.tables)


def tables_of(source: End, metadata: MetaData, extra: bool) -> tuple[list[Table], list[str]]:
    """Return the tables to copy, in order, and the names of all tables of the source that no model
    describes.
    """
    import sqlalchemy

    present = {
        name
        for name in sqlalchemy.inspect(source.connection).get_table_names()
        if not name.startswith("sqlite_")
    }  # SQLite's own
    described = [table for table in schema.ordered(metadata) if table.name in present]
    unknown = sorted(present - set(metadata.tables) - {schema.STAMP, journal.NAME})
    return described + (
        schema.ordered(schema.reflected(source.connection, unknown)) if extra else []
    ), unknown


def make(
    source: End, target: End, tables: Sequence[Table], copies: MetaData, unknown: Sequence[str]
) -> Plan:
    """Look at every table of the source without reading its rows one by one."""
    planned = tuple(_table(source, target, table, copies.tables[table.name]) for table in tables)
    copied = {table.name for table in tables}
    return Plan(
        connect.label(source.connection.engine.url),
        connect.label(target.connection.engine.url),
        schema.revisions(source.connection),
        planned,
        tuple(name for name in unknown if name in copied),
        tuple(name for name in unknown if name not in copied),
    )


def _table(source: End, target: End, table: Table, copy: Table) -> TablePlan:
    import sqlalchemy

    count = f"SELECT count(*) FROM {source.dialect.quoted(source.connection, table.name)}"
    columns = tuple(
        ColumnPlan(
            column.name,
            _written(column, source),
            _written(copy.columns[column.name], target),
            target.dialect.risk(copy.columns[column.name]),
        )
        for column in table.columns
    )
    refers = sorted({key.column.table.name for key in table.foreign_keys})
    return TablePlan(
        table.name,
        int(source.connection.execute(sqlalchemy.text(count)).scalar() or 0),
        source.dialect.data_bytes(source.connection, table),
        columns,
        tuple(refers),
    )


def _written(column: Any, end: End) -> str:
    return str(column.type.compile(dialect=end.connection.dialect))
