"""What a table consists of, in the models and in a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Optional

from kallithea_tune.db.kinds import Kind, kind_of, kind_of_type

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine.reflection import Inspector
    from sqlalchemy.types import TypeEngine

# MariaDB's booleans are small integers.
_EQUIVALENT = {Kind.boolean: Kind.integer}


class Shape(NamedTuple):
    """What has to be equal of a column in the models and in a database."""

    name: str
    kind: str
    length: Optional[int]
    nullable: bool


class IndexShape(NamedTuple):
    """What has to be equal of an index."""

    name: str
    columns: tuple[str, ...]
    unique: bool


class Reference(NamedTuple):
    """The columns of a foreign key, and the table that it refers to."""

    columns: tuple[str, ...]
    table: str


@dataclass(frozen=True)
class Described:
    """A table by its columns and keys, which are named by their columns."""

    columns: frozenset[Shape]
    uniques: frozenset[tuple[str, ...]]
    indexes: frozenset[IndexShape]
    foreign_keys: frozenset[Reference]
    primary_key: tuple[str, ...]


def modelled(table: Table) -> Described:
    """Describe a table as its model has it."""
    from sqlalchemy import UniqueConstraint

    uniques = [item for item in table.constraints if isinstance(item, UniqueConstraint)]
    return Described(
        frozenset(_shape(item.name, item.type, item.nullable) for item in table.columns),
        frozenset(tuple(item.columns.keys()) for item in uniques),
        frozenset(
            IndexShape(str(item.name), tuple(item.columns.keys()), bool(item.unique))
            for item in table.indexes
        ),
        frozenset(
            Reference(tuple(item.column_keys), item.referred_table.name)
            for item in table.foreign_key_constraints
        ),
        tuple(table.primary_key.columns.keys()),
    )


def reported(inspector: Inspector, name: str) -> Described:
    """Describe a table as its database reports it."""
    return Described(
        frozenset(
            _shape(item["name"], item["type"], item["nullable"])
            for item in inspector.get_columns(name)
        ),
        frozenset(tuple(item["column_names"]) for item in inspector.get_unique_constraints(name)),
        frozenset(
            IndexShape(item["name"], tuple(item["column_names"]), bool(item["unique"]))
            for item in inspector.get_indexes(name)
        ),
        frozenset(
            Reference(tuple(item["constrained_columns"]), item["referred_table"])
            for item in inspector.get_foreign_keys(name)
        ),
        tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
    )


def _shape(name: str, type_: TypeEngine, nullable: bool) -> Shape:
    kind = getattr(type_, "reported_kind", None) or kind_of_type(type_)
    length = getattr(type_, "length", None) if kind is Kind.text else None
    return Shape(name, _EQUIVALENT.get(kind, kind).value, length, bool(nullable))


def key_column(table: Table) -> Optional[Column]:
    """Return the column whose values the engine generates, if the table has one."""
    columns = list(table.primary_key.columns)
    if len(columns) != 1 or columns[0].foreign_keys or kind_of(columns[0]) is not Kind.integer:
        return None
    return columns[0] if columns[0].autoincrement in (True, "auto") else None
