"""What a migration would do: the tables in their order, their sizes, the types of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Container, Sequence

from kallithea_tune.db_migrate import connect
from kallithea_tune.db_migrate.engines import Engine
from kallithea_tune.db_migrate.inventory.items import Item

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

    from kallithea_tune.db_migrate.inventory.survey import Survey


@dataclass(frozen=True)
class Transfer:
    """The tables to copy from the source, and the corresponding tables of the target."""

    source: Engine
    target: Engine
    tables: Sequence[Table]
    copies: Sequence[Table]

    def only(self, names: Container[str]) -> Transfer:
        """Return the part of it that concerns the tables with these names."""
        return Transfer(
            self.source,
            self.target,
            [table for table in self.tables if table.name in names],
            [copy for copy in self.copies if copy.name in names],
        )

    @property
    def pairs(self) -> list[tuple[Table, Table]]:
        """Each table of the source with that of the target."""
        return list(zip(self.tables, self.copies))


@dataclass(frozen=True)
class ColumnPlan:
    """A column: its types in source and target, and what the target would refuse or change.

    `loses` is empty where that is nothing.
    """

    name: str
    source_type: str
    target_type: str
    loses: str


@dataclass(frozen=True)
class TablePlan:
    """A table: its number of rows, their `bytes` in the source, and the tables it refers to.

    `bytes` are 0 where the source does not know.
    """

    name: str
    rows: int
    bytes: int
    columns: tuple[ColumnPlan, ...]
    refers_to: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All tables in the order of copying, and `items`: everything in the source with its fate.

    `extra` tables are those that belong to no model.
    """

    source: str
    target: str
    revision: tuple[str, ...]
    tables: tuple[TablePlan, ...]
    extra: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def rows(self) -> int:
        """The number of rows to copy."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """The number of bytes they take in the source."""
        return sum(table.bytes for table in self.tables)


def make(transfer: Transfer, surveyed: Survey) -> Plan:
    """Describe the transfer of what was `surveyed`; rows are counted, but not read."""
    source, target = transfer.source, transfer.target
    return Plan(
        connect.label(source.connection.engine.url),
        connect.label(target.connection.engine.url),
        surveyed.revision,
        tuple(_table_plan(source, target, table, copy) for table, copy in transfer.pairs),
        tuple(table.name for table in surveyed.extra),
        tuple(surveyed.items),
    )


def _table_plan(source: Engine, target: Engine, table: Table, copy: Table) -> TablePlan:
    import sqlalchemy

    quoted = source.quoted_in_text(table.name)
    rows = source.connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {quoted}")).scalar()
    columns = tuple(
        ColumnPlan(
            column.name,
            _type_of(column, source),
            _type_of(copy.columns[column.name], target),
            target.writer.risk(copy.columns[column.name]),
        )
        for column in table.columns
    )
    return TablePlan(
        table.name,
        int(rows or 0),
        source.reader.data_bytes(table),
        columns,
        tuple(sorted({key.column.table.name for key in table.foreign_keys})),
    )


def _type_of(column: Column, engine: Engine) -> str:
    return str(column.type.compile(dialect=engine.connection.dialect))
