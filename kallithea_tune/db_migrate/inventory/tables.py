"""The tables to copy: those of the models with what was added to them, and extra ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, AbstractSet, Iterable, Sequence

from kallithea_tune.db_migrate.extra.reflection import Reflection
from kallithea_tune.db_migrate.inventory.items import Fate, Item, ItemKind

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from kallithea_tune.db_migrate.engines.base.catalog import Found

PREFIXES = {ItemKind.INDEX: "ix", ItemKind.UNIQUE: "uq", ItemKind.FOREIGN_KEY: "fk"}
LONGEST = 60  # characters of a name that is made up; PostgreSQL has 63


def tables_of(
    reflection: Reflection, metadata: MetaData, found: Sequence[Found], items: Iterable[Item]
) -> MetaData:
    """Describe the tables to copy as the source has them, but for what is not carried.

    The tables of `metadata` itself stay as they are, since the application uses them.
    """
    import sqlalchemy

    made = sqlalchemy.MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        _copied(table, made)
    carried = carried_things(found, items)
    columns: dict[str, list[str]] = {}
    for thing in carried:
        if thing.kind is ItemKind.COLUMN:
            columns.setdefault(thing.table, []).append(thing.name)
    for name, own in columns.items():
        if name in metadata.tables:
            _add_columns(reflection, made.tables[name], own)
        else:
            reflection.add_table(name, own, made)
    for thing in carried:
        if thing.kind is ItemKind.DEFAULT:
            _add_default(reflection, thing, made.tables[thing.table])
        elif thing.kind is ItemKind.CHECK:
            reflection.add_check(thing, made.tables[thing.table])
    _add_keys(made, [thing for thing in carried if thing.table in made.tables])
    return made


def carried_things(found: Sequence[Found], items: Iterable[Item]) -> list[Found]:
    """Return what is carried of the source, in the order in which it was found."""
    carried = {(item.kind, item.table, item.name) for item in items if item.fate is Fate.CARRIED}
    tables = {name for kind, _, name in carried if kind is ItemKind.TABLE}
    return [
        thing
        for thing in found
        if (thing.kind, thing.table, thing.name) in carried
        # Others belong to tables that engines made for themselves.
        and (thing.table in tables or not thing.table)
    ]


def _copied(table: Table, metadata: MetaData) -> Table:
    copy: Table = (getattr(table, "to_metadata", None) or table.tometadata)(metadata)
    return copy


def _add_columns(reflection: Reflection, table: Table, names: Sequence[str]) -> None:
    known = {column.name.casefold() for column in table.columns}
    for name in names:
        if name.casefold() not in known:
            table.append_column(reflection.column(table.name, name))


def _add_default(reflection: Reflection, thing: Found, table: Table) -> None:
    column = table.columns[thing.name]
    if column.server_default is None:
        reflection.add_default(thing, column)


def _add_keys(made: MetaData, added: Sequence[Found]) -> None:
    from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint

    # Tables and indexes share their names in PostgreSQL and SQLite.
    taken = set(made.tables)
    for table in made.tables.values():
        taken.update(str(key.name) for key in (*table.indexes, *table.constraints))
    for thing in added:
        if thing.kind not in PREFIXES:
            continue
        table, name = made.tables[thing.table], _free_name(thing, taken)
        taken.add(name)
        columns = [table.columns[name] for name in thing.columns if name in table.columns]
        if thing.kind is ItemKind.INDEX:
            ordered = [
                column.desc() if column.name in thing.descending else column for column in columns
            ]
            Index(name, *ordered, unique=thing.unique)
        elif thing.kind is ItemKind.UNIQUE:
            table.append_constraint(UniqueConstraint(*columns, name=name))
        else:
            referred = [f"{thing.refers_to}.{name}" for name in thing.refers_to_columns]
            actions = {"ondelete": thing.on_delete or None, "onupdate": thing.on_update or None}
            table.append_constraint(ForeignKeyConstraint(columns, referred, name, **actions))


def _free_name(thing: Found, taken: AbstractSet[str]) -> str:
    """Return the name of a key in the target: its own unless it has none, or another has it.

    In MariaDB, tables may have indexes of the same name; in SQLite, keys may have none.
    """
    name = thing.name
    if thing.kind is not ItemKind.INDEX and name == ", ".join(thing.columns):
        name = "_".join((PREFIXES[thing.kind], thing.table, *thing.columns))[:LONGEST]
    elif name in taken:
        name = f"{thing.table}_{name}"[:LONGEST]
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
