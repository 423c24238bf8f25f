"""The tables to copy: those of the models with what was added to them, and extra ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Sequence

from kallithea_tune.db.kinds import kind_of
from kallithea_tune.db_migrate.extra.reflection import reflected
from kallithea_tune.db_migrate.inventory import defaults
from kallithea_tune.db_migrate.inventory.items import Fate, Item, ItemKind

if TYPE_CHECKING:
    from sqlalchemy import Column, Constraint, MetaData, Table

    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.engines.base.catalog import Found


def tables_of(
    source: Engine, metadata: MetaData, found: Sequence[Found], items: Iterable[Item]
) -> MetaData:
    """Describe the tables to copy as the source has them, but for what is not carried.

    The tables of `metadata` itself stay as they are, since the application uses them.
    """
    import sqlalchemy

    fates = {(item.kind, item.table, item.name): item.fate for item in items}
    carried = [
        thing for thing in found if fates[thing.kind, thing.table, thing.name] is Fate.CARRIED
    ]
    extra = [
        thing.name
        for thing in carried
        if thing.kind is ItemKind.TABLE and thing.name not in metadata.tables
    ]
    made = sqlalchemy.MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        _copied(table, made)
    added = [thing for thing in carried if thing.table in metadata.tables]
    _add_columns(source, made, [thing for thing in added if thing.kind is ItemKind.COLUMN])
    _add_defaults(made, [thing for thing in added if thing.kind is ItemKind.DEFAULT])
    _add_keys(made, added)
    if extra:
        for table in reflected(source.connection, extra).tables.values():
            _remove(_copied(table, made), [key for key, fate in fates.items() if _lost(fate)])
    return made


def _lost(fate: Fate) -> bool:
    return fate is Fate.NOT_CARRIED


def _copied(table: Table, metadata: MetaData) -> Table:
    copy: Table = (getattr(table, "to_metadata", None) or table.tometadata)(metadata)
    return copy


def _add_columns(source: Engine, made: MetaData, added: Sequence[Found]) -> None:
    new = [thing for thing in added if thing.name not in made.tables[thing.table].columns]
    names = sorted({thing.table for thing in new if not _same_but_case(thing, made)})
    if not names:
        return
    described = reflected(source.connection, names)
    for thing in new:
        if not _same_but_case(thing, made):
            column = described.tables[thing.table].columns[thing.name]
            made.tables[thing.table].append_column(_copy_of(column))


def _same_but_case(thing: Found, made: MetaData) -> bool:
    names = made.tables[thing.table].columns.keys()
    return thing.name.casefold() in {name.casefold() for name in names}


def _copy_of(column: Column) -> Column:
    # SQLAlchemy 1.4 renamed it.
    copy: Column = (getattr(column, "_copy", None) or column.copy)()
    return copy


def _add_defaults(made: MetaData, added: Sequence[Found]) -> None:
    import sqlalchemy

    for thing in added:
        column = made.tables[thing.table].columns[thing.name]
        if column.server_default is None and defaults.is_portable(thing.text):
            value = defaults.portable(thing.text, kind_of(column))
            column.server_default = sqlalchemy.DefaultClause(value)
            column.server_default._set_parent(column)


def _add_keys(made: MetaData, added: Sequence[Found]) -> None:
    from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint

    taken = {str(index.name) for table in made.tables.values() for index in table.indexes}
    for thing in added:
        table = made.tables[thing.table]
        columns = [table.columns[name] for name in thing.columns if name in table.columns]
        if thing.kind is ItemKind.INDEX:
            # In MariaDB, tables may have indexes of the same name.
            name = f"{thing.table}_{thing.name}" if thing.name in taken else thing.name
            taken.add(name)
            ordered = [
                column.desc() if column.name in thing.descending else column for column in columns
            ]
            Index(name, *ordered, unique=thing.unique)
        elif thing.kind is ItemKind.UNIQUE:
            table.append_constraint(UniqueConstraint(*columns))
        elif thing.kind is ItemKind.FOREIGN_KEY:
            referred = [f"{thing.refers_to}.{name}" for name in thing.refers_to_columns]
            table.append_constraint(ForeignKeyConstraint(columns, referred))


def _remove(table: Table, lost: Iterable[tuple[ItemKind, str, str]]) -> None:
    """Take what is not carried out of the description of a table."""
    for kind, of_table, name in lost:
        if of_table != table.name:
            continue
        if kind in (ItemKind.COLUMN, ItemKind.GENERATED_COLUMN) and name in table.columns:
            column = table.columns[name]
            table.constraints = {key for key in table.constraints if column not in key.columns}
            table._columns.remove(column)
        elif kind is ItemKind.DEFAULT and name in table.columns:
            table.columns[name].server_default = None
        table.indexes = {index for index in table.indexes if index.name != name}
        table.constraints = {key for key in table.constraints if not _is_called(key, kind, name)}


def _is_called(key: Constraint, kind: ItemKind, name: str) -> bool:
    from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint

    if isinstance(key, CheckConstraint):
        return kind is ItemKind.CHECK and name in (key.name, str(key.sqltext))
    classes = {ItemKind.UNIQUE: UniqueConstraint, ItemKind.FOREIGN_KEY: ForeignKeyConstraint}
    if not isinstance(key, classes.get(kind, ())):
        return False
    return name in (key.name, ", ".join(column.name for column in key.columns))
