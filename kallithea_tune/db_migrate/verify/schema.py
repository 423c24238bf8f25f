"""The proof that the target has the schema of the models and accepts the next row."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, AbstractSet, Iterator, Mapping, NamedTuple, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db.tables import key_column, modelled, reported
from kallithea_tune.db_migrate import sequences
from kallithea_tune.db_migrate.engines import Engine
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine.reflection import Inspector

# What is inserted, on trial, into columns that must not be NULL.
SAMPLES: Mapping[Kind, object] = {
    Kind.integer: 0,
    Kind.boolean: False,
    Kind.number: 0.0,
    Kind.decimal: 0,
    Kind.moment: datetime.datetime(2000, 1, 1),
    Kind.instant: datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc),
    Kind.date: datetime.date(2000, 1, 1),
    Kind.time: datetime.time(),
    Kind.binary: b"",
}

GREATEST = 2**31  # keys beyond are not in every type of integers
SURELY_NEW = 8  # characters in hexadecimal
# The primary keys of the rows inserted on trial, by table.
_Keys = Mapping[str, Mapping[str, object]]


def try_inserts(target: Engine, tables: Sequence[Table], keys: Mapping[str, int]) -> int:
    """Insert one row into each table, referring to those inserted before, and roll all of it back.

    The engine generates the keys, so this proves its sequences as well. Tables without a model are
    left out where a row that nobody knows might not meet their checks or unique keys. Returns the
    number of tables. Raises TuneError for a table that rejects the row or generates a used key.
    """
    inserted: dict[str, Mapping[str, object]] = {}
    trial = target.connection.begin_nested()
    try:
        for table in filter(_takes_any_row, tables):
            inserted[table.name] = _insert(target, table, inserted, keys.get(table.name, 0))
    finally:
        trial.rollback()
    # A rollback does not reset sequences.
    sequences.set_last_keys(target, tables, keys)
    return len(inserted)


def _takes_any_row(table: Table) -> bool:
    """Whether a sample row meets the checks and the unique keys of a table for certain."""
    if any(item.info for item in table.constraints):  # checks that no model has
        return False
    referred = {
        key.column.table
        for key in table.foreign_keys
        if not key.parent.nullable and key.column.table is not table
    }
    return all(map(_takes_any_row, referred)) and all(map(_is_new, _unique_keys(table)))


def _is_new(columns: Sequence[Column]) -> bool:
    """Whether no row has the unique key of a sample row: NULL, a text, or a new number."""
    return any(
        column.nullable
        and column.server_default is None
        or bool(column.foreign_keys)
        or kind_of(column) is Kind.integer
        or kind_of(column) is Kind.text
        and (getattr(column.type, "length", None) or SURELY_NEW) >= SURELY_NEW
        for column in columns
    )


def _unique_keys(table: Table) -> list[list[Column]]:
    from sqlalchemy import UniqueConstraint

    keys = [key for key in table.constraints if isinstance(key, UniqueConstraint)]
    every = [table.primary_key, *keys, *(index for index in table.indexes if index.unique)]
    return [list(key.columns) for key in every if len(key.columns)]


def _insert(target: Engine, table: Table, inserted: _Keys, last_key: int) -> Mapping[str, object]:
    from sqlalchemy.exc import SQLAlchemyError

    statement = table.insert().values(**_sample_row(table, inserted))
    try:
        result = target.connection.execute(statement)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise TuneError(f"the target rejects a new row in {table.name}: {reason}") from None
    columns = table.primary_key.columns.keys()
    row = dict(zip(columns, result.inserted_primary_key or ()))
    column = key_column(table)
    if column is not None and row[column.name] <= last_key:
        raise TuneError(
            f"{table.name} generated the key {row[column.name]}, which is not above the highest "
            f"one ever used, {last_key}"
        )
    return row


def _sample_row(table: Table, inserted: _Keys) -> dict[str, object]:
    return {
        column.name: _sample(column, inserted)
        for column in table.columns
        if column is not key_column(table)
        and (not column.nullable or column.primary_key)
        and (column.server_default is None or column.primary_key)
    }


def _sample(column: Column, inserted: _Keys) -> object:
    for key in column.foreign_keys:
        referred = inserted.get(key.column.table.name, {})
        if key.column.name in referred:
            return referred[key.column.name]
    kind = kind_of(column)
    if kind is Kind.integer and any(column in key for key in map(set, _unique_keys(column.table))):
        return secrets.randbelow(GREATEST)
    if kind is Kind.text:
        return secrets.token_hex(16)[: getattr(column.type, "length", None) or 32]
    return SAMPLES[kind]


class Mismatch(NamedTuple):
    """What the target lacks of one table, of one aspect: columns, indexes ..."""

    table: str
    aspect: str = ""
    missing: Sequence[str] = ()

    @property
    def sentence(self) -> str:
        """Describe it to the admin."""
        if not self.aspect:
            return f"the table {self.table} is missing"
        return f"{self.aspect} of {self.table} do not match the models: {'; '.join(self.missing)}"


@dataclass
class SchemaComparison:
    """How many things of each aspect were compared, and what the target lacks of them."""

    counts: dict[str, int] = field(default_factory=dict)
    mismatches: list[Mismatch] = field(default_factory=list)


def compare(target: Engine, tables: Sequence[Table]) -> SchemaComparison:
    """Compare the schema that the target reports with the metadata of `tables`."""
    import sqlalchemy

    inspector = sqlalchemy.inspect(target.connection)
    existing = set(inspector.get_table_names())
    compared = SchemaComparison({"tables": len(tables)})
    for table in tables:
        if table.name not in existing:
            compared.mismatches.append(Mismatch(table.name))
            continue
        for aspect, expected, present in _aspects(table, inspector):
            compared.counts[aspect] = compared.counts.get(aspect, 0) + len(expected)
            missing = sorted(map(str, expected - present))
            if missing:
                compared.mismatches.append(Mismatch(table.name, aspect, missing))
    return compared


def _aspects(
    table: Table, inspector: Inspector
) -> Iterator[tuple[str, AbstractSet[object], AbstractSet[object]]]:
    """Yield each aspect of a table as the models have it and as the target reports it."""
    expected, present = modelled(table), reported(inspector, table.name)
    yield "columns", expected.columns, present.columns
    yield "unique keys", expected.uniques, present.uniques
    yield "indexes", expected.indexes, present.indexes
    yield "foreign keys", expected.foreign_keys, present.foreign_keys
    keys = {expected.primary_key} if expected.primary_key else set()
    yield "primary keys", keys, {present.primary_key}
