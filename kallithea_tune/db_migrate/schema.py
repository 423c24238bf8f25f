"""The tables of the target, made from the application's own metadata, in two goes: before the rows
and after them.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Iterable, Iterator, NamedTuple, Sequence

from kallithea_tune.db_migrate.engines.base import Dialect
from kallithea_tune.db_migrate.values import Kind, kind_of

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table
    from sqlalchemy.engine import Connection

STAMP = "alembic_version"


def ordered(metadata: MetaData) -> list[Table]:
    """Return the tables so that each comes after those it refers to, wherever there is such an
    order.
    """
    with warnings.catch_warnings():
        # Of cycles SQLAlchemy warns and takes any order, which is as good: foreign keys are added
        # last.
        warnings.simplefilter("ignore")
        return list(metadata.sorted_tables)


def reflected(connection: Connection, names: Iterable[str]) -> MetaData:
    """Describe tables that no model describes, in types that every engine has."""
    import sqlalchemy

    metadata = sqlalchemy.MetaData()
    if names:
        metadata.reflect(connection, only=list(names), resolve_fks=False)
    for table in metadata.tables.values():
        for column in table.columns:
            column.type = _generic(column)
            column.server_default = None
    return metadata


def _generic(column: Any) -> Any:
    from sqlalchemy import types

    kind = kind_of(column)
    if kind is Kind.text:
        length = getattr(column.type, "length", None)
        return types.Unicode(length) if length else types.UnicodeText()
    if (
        kind is Kind.number
        and isinstance(column.type, types.Numeric)
        and not isinstance(column.type, types.Float)
    ):
        return types.Numeric(column.type.precision, column.type.scale)
    return {
        Kind.integer: types.BigInteger,
        Kind.boolean: types.Boolean,
        Kind.number: lambda: types.Float(53),
        Kind.moment: types.DateTime,
        Kind.date: types.Date,
        Kind.time: types.Time,
        Kind.binary: types.LargeBinary,
    }[kind]()


def for_target(tables: Iterable[Table], dialect: Dialect, named_as_in: MetaData) -> MetaData:
    """Copy the tables, with the types that the target needs to lose nothing and the naming of
    `named_as_in`.
    """
    import sqlalchemy

    copies = sqlalchemy.MetaData(naming_convention=named_as_in.naming_convention)
    for table in tables:
        copy = getattr(table, "to_metadata", None) or table.tometadata
        for column in copy(copies).columns:
            column.type = dialect.column_type(column) or column.type
    return copies


def create_tables(connection: Connection, tables: Sequence[Table], dialect: Dialect) -> None:
    """Create the tables, without what is quicker made or only possible when the rows are there."""
    from sqlalchemy.schema import AddConstraint, CreateTable

    later = list(_later(tables, dialect))
    for constraint in later:
        # Making this statement takes the constraint out of CREATE TABLE.
        AddConstraint(constraint)
    for table in tables:
        connection.execute(CreateTable(table))


class Addition(NamedTuple):
    """Unique keys, indexes and foreign keys that one statement adds to a table."""

    table: Table
    keys: Sequence[Any]

    @property
    def sentence(self) -> str:
        """Say what is being done."""
        return "adding {} to {}".format(
            ", ".join(str(key.name or "a key") for key in self.keys), self.table.name
        )


def additions(tables: Sequence[Table], dialect: Dialect) -> list[Addition]:
    """Return what the tables lack when their rows are there: keys and indexes, then foreign keys,
    in this order.
    """
    from sqlalchemy import ForeignKeyConstraint

    later = list(_later(tables, dialect))
    keys, references = [], []
    for table in tables:
        own = [item for item in later if item.table is table]
        references += [item for item in own if isinstance(item, ForeignKeyConstraint)]
        keys += [item for item in own if not isinstance(item, ForeignKeyConstraint)]
        keys += sorted(table.indexes, key=lambda index: str(index.name))
    every = keys + references
    if not dialect.keys_together:
        return [Addition(item.table, [item]) for item in every]
    grouped = (Addition(table, [item for item in every if item.table is table]) for table in tables)
    return [addition for addition in grouped if addition.keys]


def complete_tables(
    connection: Connection, tables: Sequence[Table], dialect: Dialect
) -> Iterator[Addition]:
    """Carry out all `additions` and have foreign keys validated; yields each addition when it is
    begun.
    """
    from sqlalchemy.exc import SQLAlchemyError

    for addition in additions(tables, dialect):
        yield addition
        try:
            dialect.add_keys(connection, addition.table, addition.keys)
        except SQLAlchemyError:
            if len(addition.keys) == 1:
                raise
            # The server does not always say which of them it does not take.
            for key in addition.keys:
                yield Addition(addition.table, [key])
                dialect.add_keys(connection, addition.table, [key])
    dialect.end_load(connection, tables)


def _later(tables: Iterable[Table], dialect: Dialect) -> Iterator[Any]:
    from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint

    kinds: Any = (UniqueConstraint, ForeignKeyConstraint) if dialect.constraints_later else ()
    kinds += (PrimaryKeyConstraint,) if dialect.primary_key_later else ()
    for table in tables:
        constraints: list[Any] = sorted(table.constraints, key=lambda item: str(item.name or ""))
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
