"""The tables of the target, made from Kallithea's metadata in two steps.

The first comes before the rows, the second after them.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Iterable, Iterator, NamedTuple, Sequence, Union

from kallithea_tune.db.kinds import Kind, kind_of

if TYPE_CHECKING:
    from sqlalchemy import Constraint, Index, MetaData, Table
    from sqlalchemy.engine import Connection

    from kallithea_tune.db_migrate.engines import base

STAMP = "alembic_version"


def ordered(metadata: MetaData) -> list[Table]:
    """Return the tables, each after those it refers to, as far as there is such an order."""
    with warnings.catch_warnings():
        # SQLAlchemy warns of cycles and takes any order, which is as good: foreign keys are added
        # last.
        warnings.simplefilter("ignore")
        return list(metadata.sorted_tables)


def for_target(tables: Iterable[Table], writer: base.Writer, metadata: MetaData) -> MetaData:
    """Copy the tables, with the types that the target needs to lose nothing.

    Constraints are named as in `metadata`.
    """
    import sqlalchemy

    copies = sqlalchemy.MetaData(naming_convention=metadata.naming_convention)
    for table in tables:
        copy = getattr(table, "to_metadata", None) or table.tometadata
        for column in copy(copies).columns:
            column.type = writer.column_type(column) or column.type
    for table in copies.tables.values():
        for key in table.foreign_keys:
            # MariaDB requires the same size of both.
            if kind_of(key.parent) is kind_of(key.column) is Kind.integer:
                key.parent.type = key.column.type
    return copies


def create_tables(writer: base.Writer, tables: Sequence[Table]) -> None:
    """Create the tables, without what `complete_tables` adds when the rows are there."""
    from sqlalchemy.schema import AddConstraint, CreateTable

    for constraint in list(_later(tables, writer)):
        # Making this statement takes the constraint out of CREATE TABLE.
        AddConstraint(constraint)
    for table in tables:
        writer.connection.execute(CreateTable(table))


class Addition(NamedTuple):
    """Unique keys, indexes and foreign keys that one statement adds to a table."""

    table: Table
    keys: Sequence[Union[Constraint, Index]]

    @property
    def sentence(self) -> str:
        """What is being done."""
        names = ", ".join(str(key.name or "a key") for key in self.keys)
        return f"adding {names} to {self.table.name}"


def additions(tables: Sequence[Table], writer: base.Writer) -> list[Addition]:
    """Return what the tables still need when their rows are there.

    Keys and indexes come first, then foreign keys.
    """
    from sqlalchemy import ForeignKeyConstraint

    later = list(_later(tables, writer))
    keys, references = [], []
    for table in tables:
        own = [item for item in later if item.table is table]
        references += [item for item in own if isinstance(item, ForeignKeyConstraint)]
        keys += [item for item in own if not isinstance(item, ForeignKeyConstraint)]
        keys += sorted(table.indexes, key=lambda index: str(index.name))
    every = keys + references
    if not writer.keys_together:
        return [Addition(item.table, [item]) for item in every]
    grouped = (Addition(table, [item for item in every if item.table is table]) for table in tables)
    return [addition for addition in grouped if addition.keys]


def complete_tables(writer: base.Writer, tables: Sequence[Table]) -> Iterator[Addition]:
    """Run all `additions` and have foreign keys checked; yields each addition before it is run."""
    from sqlalchemy.exc import SQLAlchemyError

    for addition in additions(tables, writer):
        yield addition
        try:
            writer.add_keys(addition.table, addition.keys)
        except SQLAlchemyError:
            if len(addition.keys) == 1:
                raise
            # The server does not always say which of them it refuses.
            for key in addition.keys:
                yield Addition(addition.table, [key])
                writer.add_keys(addition.table, [key])
    writer.end_load(tables)


def _later(tables: Iterable[Table], writer: base.Writer) -> Iterator[Constraint]:
    from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint

    kinds = (UniqueConstraint, ForeignKeyConstraint) if writer.constraints_later else ()
    kinds += (PrimaryKeyConstraint,) if writer.primary_key_later else ()
    for table in tables:
        constraints = sorted(table.constraints, key=lambda item: str(item.name or ""))
        yield from (item for item in constraints if isinstance(item, kinds) and len(item.columns))


def stamp_table() -> Table:
    """Describe the table in which Alembic keeps the revision of the schema, as Alembic does."""
    from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table

    return Table(
        STAMP,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
    )


def revisions(connection: Connection) -> tuple[str, ...]:
    """Read the revisions that a database is stamped with; none without the table."""
    import sqlalchemy

    if STAMP not in sqlalchemy.inspect(connection).get_table_names():
        return ()
    return tuple(sorted(row[0] for row in connection.execute(stamp_table().select())))
