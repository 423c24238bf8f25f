"""The proof that the target has the schema of the models and accepts the next row."""

from __future__ import annotations

import datetime
import secrets
from typing import TYPE_CHECKING, AbstractSet, Iterator, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.db.kinds import Kind, kind_of, kind_of_type
from kallithea_tune.db_migrate import sequences
from kallithea_tune.db_migrate.engines import Engine
from kallithea_tune.db_migrate.schema import key_column
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine.reflection import Inspector
    from sqlalchemy.types import TypeEngine

# What is inserted, on trial, into columns that must not be NULL.
SAMPLES: Mapping[Kind, object] = {
    Kind.integer: 0,
    Kind.boolean: False,
    Kind.number: 0.0,
    Kind.moment: datetime.datetime(2000, 1, 1),
    Kind.date: datetime.date(2000, 1, 1),
    Kind.time: datetime.time(),
    Kind.binary: b"",
}

# The primary keys of the rows inserted on trial, by table.
_Keys = Mapping[str, Mapping[str, object]]


def try_inserts(target: Engine, tables: Sequence[Table], keys: Mapping[str, int]) -> int:
    """Insert one row into each table, referring to those inserted before, and roll all of it back.

    The engine generates the keys, so this proves its sequences as well. Returns the number of
    tables. Raises TuneError for a table that rejects the row or generates a key that was in use.
    """
    inserted: dict[str, Mapping[str, object]] = {}
    trial = target.connection.begin_nested()
    try:
        for table in tables:
            inserted[table.name] = _insert(target, table, inserted, keys.get(table.name, 0))
    finally:
        trial.rollback()
    # A rollback does not reset sequences.
    sequences.set_last_keys(target, tables, keys)
    return len(tables)


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
        if column is not key_column(table) and (not column.nullable or column.primary_key)
    }


def _sample(column: Column, inserted: _Keys) -> object:
    for key in column.foreign_keys:
        referred = inserted.get(key.column.table.name, {})
        if key.column.name in referred:
            return referred[key.column.name]
    kind = kind_of(column)
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


def mismatches(target: Engine, tables: Sequence[Table]) -> list[Mismatch]:
    """Compare the schema that the target reports with the metadata of `tables`."""
    import sqlalchemy

    inspector = sqlalchemy.inspect(target.connection)
    existing = set(inspector.get_table_names())
    found = []
    for table in tables:
        if table.name not in existing:
            found.append(Mismatch(table.name))
            continue
        for aspect, expected, present in _aspects(table, inspector):
            missing = sorted(map(str, expected - present))
            if missing:
                found.append(Mismatch(table.name, aspect, missing))
    return found


def _aspects(
    table: Table, inspector: Inspector
) -> Iterator[tuple[str, AbstractSet[object], AbstractSet[object]]]:
    """Yield each aspect of a table as the models have it and as the target reports it."""
    name = table.name
    yield "columns", _columns(table), _reflected_columns(inspector, name)
    yield "unique keys", _uniques(table), _reflected_uniques(inspector, name)
    yield "indexes", _indexes(table), _reflected_indexes(inspector, name)
    yield "foreign keys", _foreign_keys(table), _reflected_foreign_keys(inspector, name)
    key = tuple(inspector.get_pk_constraint(name)["constrained_columns"])
    yield "primary key", {tuple(table.primary_key.columns.keys())}, {key}


# MariaDB's booleans are small integers.
_EQUIVALENT = {Kind.boolean: Kind.integer}


class _Shape(NamedTuple):
    """What has to be equal of a column in the models and in the target."""

    name: str
    kind: str
    length: Optional[int]
    nullable: bool


def _shape(name: str, type_: TypeEngine, nullable: bool) -> _Shape:
    kind = kind_of_type(type_)
    length = getattr(type_, "length", None) if kind is Kind.text else None
    return _Shape(name, _EQUIVALENT.get(kind, kind).value, length, bool(nullable))


def _columns(table: Table) -> set[_Shape]:
    return {_shape(column.name, column.type, column.nullable) for column in table.columns}


def _reflected_columns(inspector: Inspector, name: str) -> set[_Shape]:
    return {
        _shape(item["name"], item["type"], item["nullable"]) for item in inspector.get_columns(name)
    }


def _uniques(table: Table) -> set[tuple[str, ...]]:
    from sqlalchemy import UniqueConstraint

    return {
        tuple(item.columns.keys())
        for item in table.constraints
        if isinstance(item, UniqueConstraint)
    }


def _reflected_uniques(inspector: Inspector, name: str) -> set[tuple[str, ...]]:
    return {tuple(item["column_names"]) for item in inspector.get_unique_constraints(name)}


def _indexes(table: Table) -> set[tuple[str, tuple[str, ...], bool]]:
    return {
        (str(item.name), tuple(item.columns.keys()), bool(item.unique)) for item in table.indexes
    }


def _reflected_indexes(inspector: Inspector, name: str) -> set[tuple[str, tuple[str, ...], bool]]:
    return {
        (item["name"], tuple(item["column_names"]), bool(item["unique"]))
        for item in inspector.get_indexes(name)
    }


def _foreign_keys(table: Table) -> set[tuple[tuple[str, ...], str]]:
    return {
        (tuple(item.column_keys), item.referred_table.name)
        for item in table.foreign_key_constraints
    }


def _reflected_foreign_keys(inspector: Inspector, name: str) -> set[tuple[tuple[str, ...], str]]:
    return {
        (tuple(item["constrained_columns"]), item["referred_table"])
        for item in inspector.get_foreign_keys(name)
    }
