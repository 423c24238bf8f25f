"""What a migration would do: the tables in their order, their sizes, the types of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Container, Sequence

from kallithea_tune.db_migrate import connect, journal, schema
from kallithea_tune.db_migrate.engines import Engine
from kallithea_tune.db_migrate.extra import reflection
from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import Column, MetaData, Table


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
    """All tables in the order of copying; `extra` ones and those `left_out` belong to no model."""

    source: str
    target: str
    revision: tuple[str, ...]
    tables: tuple[TablePlan, ...]
    extra: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of rows to copy."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """The number of bytes they take in the source."""
        return sum(table.bytes for table in self.tables)

    def require_revision(self, heads: tuple[str, ...]) -> None:
        """Raise Refused unless the source is at `heads`, the newest revisions if there are any."""
        if heads and self.revision != heads:
            revision, required = ", ".join(self.revision) or "none", ", ".join(heads)
            raise Refused(
                f"the source is at revision {revision}, but this application requires {required}; "
                "upgrade the database first"
            )


def tables_of(source: Engine, metadata: MetaData, extra: bool) -> tuple[list[Table], list[str]]:
    """Return the tables to copy, in order, and the names of the source's tables without a model.

    With `extra` the latter are among the tables to copy.
    """
    import sqlalchemy

    names = sqlalchemy.inspect(source.connection).get_table_names()
    present = {name for name in names if not name.startswith("sqlite_")}  # SQLite's own
    tables = [table for table in schema.ordered(metadata) if table.name in present]
    unknown = sorted(present - set(metadata.tables) - {schema.STAMP, journal.NAME})
    if extra:
        tables += schema.ordered(reflection.reflected(source.connection, unknown))
    return tables, unknown


def make(transfer: Transfer, unknown: Sequence[str]) -> Plan:
    """Describe the transfer; `unknown` are the names of the source's tables without a model.

    Rows are counted, but not read.
    """
    source, target = transfer.source, transfer.target
    copied = {table.name for table in transfer.tables}
    return Plan(
        connect.label(source.connection.engine.url),
        connect.label(target.connection.engine.url),
        schema.revisions(source.connection),
        tuple(_table_plan(source, target, table, copy) for table, copy in transfer.pairs),
        tuple(name for name in unknown if name in copied),
        tuple(name for name in unknown if name not in copied),
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
