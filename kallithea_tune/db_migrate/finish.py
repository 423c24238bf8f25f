"""What makes a heap of rows a database: keys, indexes, statistics, and the proof that it takes the
next row.
"""

from __future__ import annotations

import datetime
import secrets
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.copy import End
from kallithea_tune.db_migrate.engines.base import key_column
from kallithea_tune.db_migrate.values import Kind
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

SAMPLES: Mapping[Kind, Any] = {
    Kind.integer: 0,
    Kind.boolean: False,
    Kind.number: 0.0,
    Kind.moment: datetime.datetime(2000, 1, 1),
    Kind.date: datetime.date(2000, 1, 1),
    Kind.time: datetime.time(),
    Kind.binary: b"",
}


def last_keys(source: End, tables: Sequence[Table]) -> dict[str, int]:
    """Return for each table with keys of the engine's own making the greatest one ever used."""
    import sqlalchemy

    found = {}
    for table in tables:
        column = key_column(table)
        if column is not None:
            query = f"SELECT max({source.dialect.quoted(source.connection, column.name)}) FROM {source.dialect.quoted(source.connection, table.name)}"
            present = source.connection.execute(sqlalchemy.text(query)).scalar() or 0
            found[table.name] = max(int(present), source.dialect.last_key(source.connection, table))
    return found


def set_last_keys(target: End, tables: Sequence[Table], keys: Mapping[str, int]) -> None:
    """Make every next key greater than any that was ever used; the first one where none was."""
    for table in tables:
        column = key_column(table)
        if column is not None:
            target.dialect.set_last_key(target.connection, table, column, keys.get(table.name, 0))


def strip(target: End, tables: Sequence[Table]) -> None:
    """Drop the foreign keys and indexes of tables that an earlier run had begun to complete."""
    import sqlalchemy
    from sqlalchemy.schema import DropConstraint, DropIndex

    metadata = sqlalchemy.MetaData()
    metadata.reflect(target.connection, only=[table.name for table in tables])
    for table in metadata.tables.values():
        for constraint in table.foreign_key_constraints:
            target.connection.execute(DropConstraint(constraint))
    for table in metadata.tables.values():
        for index in table.indexes:
            target.connection.execute(DropIndex(index))


def try_inserts(target: End, tables: Sequence[Table], keys: Mapping[str, int]) -> int:
    """Insert one row into each table, referring to those inserted before, and take all of them
    back.

    The engine gives the keys, so that this proves its sequences, too. Returns the number of tables.
    Raises TuneError naming the table that would not take a row or gave a key that was in use
    before.
    """
    from sqlalchemy.exc import SQLAlchemyError

    made: dict[str, Any] = {}
    trial = target.connection.begin_nested()
    try:
        for table in tables:
            try:
                result = target.connection.execute(
                    table.insert().values(**_sample_row(table, made))
                )
            except SQLAlchemyError as error:
                raise TuneError(
                    "the target does not take a new row in {}: {}".format(
                        table.name, str(getattr(error, "orig", error)).strip().splitlines()[0]
                    )
                ) from None
            made[table.name] = dict(
                zip(table.primary_key.columns.keys(), result.inserted_primary_key or ())
            )
            column = key_column(table)
            if column is not None and made[table.name][column.name] <= keys.get(table.name, 0):
                raise TuneError(
                    "%s gave the key %s, which is not beyond the greatest one ever used, %d"
                    % (table.name, made[table.name][column.name], keys[table.name])
                )
    finally:
        trial.rollback()
    # Sequences do not take back what they gave.
    set_last_keys(target, tables, keys)
    return len(tables)


def _sample_row(table: Table, made: Mapping[str, Any]) -> dict[str, Any]:
    return {
        column.name: _sample(column, made)
        for column in table.columns
        if column is not key_column(table) and (not column.nullable or column.primary_key)
    }


def _sample(column: Column, made: Mapping[str, Any]) -> Any:
    for key in column.foreign_keys:
        referred = made.get(key.column.table.name, {})
        if key.column.name in referred:
            return referred[key.column.name]
    kind = values.kind_of(column)
    if kind is Kind.text:
        return secrets.token_hex(16)[: getattr(column.type, "length", None) or 32]
    return SAMPLES[kind]


def differences(target: End, tables: Sequence[Table]) -> list[str]:
    """Hold the target as it describes itself against the metadata; one sentence for each thing that
    differs.
    """
    import sqlalchemy

    inspector = sqlalchemy.inspect(target.connection)
    existing = set(inspector.get_table_names())
    found = []
    for table in tables:
        if table.name not in existing:
            found.append(f"the table {table.name} is missing")
            continue
        for what, wanted, present in (
            ("columns", _columns(table), _reflected_columns(inspector, table.name)),
            ("unique keys", _uniques(table), _reflected_uniques(inspector, table.name)),
            ("indexes", _indexes(table), _reflected_indexes(inspector, table.name)),
            ("foreign keys", _foreign_keys(table), _reflected_foreign_keys(inspector, table.name)),
            (
                "primary key",
                {tuple(table.primary_key.columns.keys())},
                {tuple(inspector.get_pk_constraint(table.name)["constrained_columns"])},
            ),
        ):
            missing = sorted(map(str, wanted - present))
            if missing:
                found.append(
                    "{} of {} are not as the models say: {}".format(
                        what, table.name, "; ".join(missing)
                    )
                )
    return found


# Booleans are small integers in MariaDB.
_ALIKE = {Kind.boolean: Kind.integer}


def _shape(name: str, type_: Any, nullable: bool) -> tuple[Any, ...]:
    class Typed:
        type = type_

    kind = values.kind_of(Typed)
    length = getattr(type_, "length", None) if kind is Kind.text else None
    return name, _ALIKE.get(kind, kind).value, length, bool(nullable)


def _columns(table: Table) -> set[Any]:
    return {_shape(column.name, column.type, column.nullable) for column in table.columns}


def _reflected_columns(inspector: Any, name: str) -> set[Any]:
    return {
        _shape(item["name"], item["type"], item["nullable"]) for item in inspector.get_columns(name)
    }


def _uniques(table: Table) -> set[Any]:
    from sqlalchemy import UniqueConstraint

    return {
        tuple(item.columns.keys())
        for item in table.constraints
        if isinstance(item, UniqueConstraint)
    }


def _reflected_uniques(inspector: Any, name: str) -> set[Any]:
    return {tuple(item["column_names"]) for item in inspector.get_unique_constraints(name)}


def _indexes(table: Table) -> set[Any]:
    return {
        (str(item.name), tuple(item.columns.keys()), bool(item.unique)) for item in table.indexes
    }


def _reflected_indexes(inspector: Any, name: str) -> set[Any]:
    return {
        (item["name"], tuple(item["column_names"]), bool(item["unique"]))
        for item in inspector.get_indexes(name)
    }


def _foreign_keys(table: Table) -> set[Any]:
    return {
        (tuple(item.column_keys), item.referred_table.name)
        for item in table.foreign_key_constraints
    }


def _reflected_foreign_keys(inspector: Any, name: str) -> set[Any]:
    return {
        (tuple(item["constrained_columns"]), item["referred_table"])
        for item in inspector.get_foreign_keys(name)
    }
