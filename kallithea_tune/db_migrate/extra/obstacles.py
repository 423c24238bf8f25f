"""What of extra tables, and of what was added to others, the target cannot have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Iterator, Optional, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import schema
from kallithea_tune.db_migrate.engines.base.definitions import NotPortable
from kallithea_tune.db_migrate.extra import trial
from kallithea_tune.db_migrate.extra.reflection import THING
from kallithea_tune.db_migrate.inventory.items import ItemKind
from kallithea_tune.db_migrate.preflight.uniqueness import unique_keys

if TYPE_CHECKING:
    from sqlalchemy import Column, MetaData, Table

    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.engines.base.catalog import Found
    from kallithea_tune.db_migrate.extra.reflection import Reflection

KEYS = (ItemKind.INDEX, ItemKind.UNIQUE, ItemKind.FOREIGN_KEY)
COLLATED = "{} COLLATE {}"


@dataclass(frozen=True)
class Obstacle:
    """A thing of a table that the target cannot have as it is, and why."""

    kind: ItemKind
    table: str
    name: str
    reason: str


def in_source(reflection: Reflection, things: Sequence[Found]) -> list[Obstacle]:
    """Return what of these things no other engine has as it is."""
    found: list[Obstacle] = []
    tables = {thing.name for thing in things if thing.kind is ItemKind.TABLE}
    for thing in things:
        try:
            _examine(reflection, thing, things)
        except NotPortable as error:
            found.append(Obstacle(thing.kind, thing.table, thing.name, str(error)))
        if thing.kind is ItemKind.COLUMN:
            found += _collation(reflection, thing)
    for name in sorted(tables):
        key = reflection.definition(name).primary_key
        lost = [item for item in found if item.table == name and item.kind is ItemKind.COLUMN]
        found += [
            Obstacle(ItemKind.TABLE, "", name, f"of its key {item.name}, {item.reason}")
            for item in lost
            if item.name in key
        ]
    return found


def _examine(reflection: Reflection, thing: Found, things: Sequence[Found]) -> None:
    """Raise NotPortable for what no other engine has as it is."""
    if thing.kind is ItemKind.COLUMN:
        reflection.column(thing.table, thing.name)
        definition = reflection.column_definition(thing.table, thing.name)
        if definition.counts and reflection.definition(thing.table).primary_key != (thing.name,):
            raise NotPortable("its values are generated, but it is not the key")
    elif thing.kind is ItemKind.DEFAULT:
        column = _column(reflection, thing.table, thing.name)
        if column is not None:
            reflection.add_default(thing, column)
    elif thing.kind is ItemKind.CHECK:
        _examine_check(reflection, thing, things)
    elif thing.kind is ItemKind.FOREIGN_KEY and thing.on_delete == "SET DEFAULT":
        raise NotPortable("MariaDB has no ON DELETE SET DEFAULT")
    elif thing.kind is ItemKind.FOREIGN_KEY and "." in thing.refers_to:
        raise NotPortable("it refers to a table with a dot in its name")
    elif thing.kind is ItemKind.FOREIGN_KEY and not reflection.exists(thing.refers_to):
        raise NotPortable("it refers to a table that does not exist")


def _examine_check(reflection: Reflection, thing: Found, things: Sequence[Found]) -> None:
    from sqlalchemy import MetaData, Table

    columns = [column.name for column in reflection.definition(thing.table).columns]
    described = [_column(reflection, thing.table, name) for name in columns]
    known = [column for column in described if column is not None]
    table = Table(thing.table, MetaData(), *known)
    reflection.add_check(thing, table)
    texts = [column.name for column in known if kind_of(column) is Kind.text]
    if reflection.source.definitions.breaks(thing.table, columns, texts, thing.text):
        raise NotPortable("not all rows satisfy it when texts are compared byte by byte")


def _column(reflection: Reflection, table: str, name: str) -> Optional[Column]:
    try:
        return reflection.column(table, name)
    except NotPortable:
        return None


def _collation(reflection: Reflection, thing: Found) -> Iterator[Obstacle]:
    collation = reflection.column_definition(thing.table, thing.name).collation
    if collation:
        name = COLLATED.format(thing.name, collation)
        reason = "it has its own rules for comparing and sorting values"
        yield Obstacle(ItemKind.COLLATION, thing.table, name, reason)


def in_target(
    source: Engine, target: Engine, made: MetaData, added: Iterable[Found]
) -> list[Obstacle]:
    """Return what of the tables `made` the target cannot have, among the things that were `added`.

    The tables are tried out on the target, as temporary ones.
    """
    by_table: dict[str, list[Found]] = {}
    for thing in added:
        name = thing.name if thing.kind is ItemKind.TABLE else thing.table
        if name in made.tables:
            by_table.setdefault(name, []).append(thing)
    found: list[Obstacle] = []
    for name, things in by_table.items():
        found += _references(made, made.tables[name], things)
    copies = schema.for_target(made.tables.values(), target.writer, made) if by_table else made
    for name, things in by_table.items():
        found += _names(target, things)
        found += _values(source, target, (made.tables[name], copies.tables[name]), things)
        for refusal in trial.refusals(target, copies.tables[name]):
            found += _refused(name, things, refusal)
    return found


def _references(made: MetaData, table: Table, things: Sequence[Found]) -> Iterator[Obstacle]:
    """Yield the foreign keys to what is no unique key, and take them out of `table`."""
    from sqlalchemy import ForeignKeyConstraint

    for thing in things:
        if thing.kind is not ItemKind.FOREIGN_KEY:
            continue
        keys = unique_keys(made.tables[thing.refers_to]) if thing.refers_to in made.tables else []
        if set(thing.refers_to_columns) not in map(set, keys):
            reason = f"no key of {thing.refers_to} has the columns that it refers to"
            yield Obstacle(thing.kind, thing.table, thing.name, reason)
            table.constraints = {
                item
                for item in table.constraints
                if not isinstance(item, ForeignKeyConstraint)
                or tuple(item.column_keys) != thing.columns
            }


def _names(target: Engine, things: Iterable[Found]) -> Iterator[Obstacle]:
    for thing in things:
        reason = target.writer.why_not_called(thing.name)
        if thing.kind is ItemKind.TABLE:
            reason = reason or target.writer.why_no_table_called(thing.name)
        if reason and thing.kind in (ItemKind.TABLE, ItemKind.COLUMN, ItemKind.INDEX):
            yield Obstacle(thing.kind, thing.table, thing.name, reason)


def _values(
    source: Engine, target: Engine, tables: tuple[Table, Table], things: Sequence[Found]
) -> Iterator[Obstacle]:
    """Yield the columns with values that the target would change, which no fix could save."""
    table, copy = tables
    for thing in things:
        if thing.kind is not ItemKind.COLUMN:
            continue
        column, into = table.columns[thing.name], copy.columns[thing.name]
        reason = _changed(source, target, column, into)
        if reason:
            yield Obstacle(thing.kind, thing.table, thing.name, reason)
        length = getattr(into.type, "length", None)
        is_cut = length and kind_of(column) is Kind.text and not column.type.length
        if is_cut and _is_longer(source, column, length):
            reason = f"texts in {thing.name} are too long for a key, over {length} characters"
            yield from _with_column(table, thing.name, things, reason)


def _changed(source: Engine, target: Engine, column: Column, into: Column) -> str:
    """Return why the target would change values of a column; empty where it does not."""
    kind, name = kind_of(column), source.quoted(column.name)
    table = source.quoted(column.table.name)
    if kind is Kind.decimal and target.writer.enforces_digits and into.type.precision:
        digits, scale = into.type.precision, into.type.scale or 0
        if source.definitions.misfits(column.table.name, column.name, digits - scale, scale):
            return (
                f"it has values that are not decimals of {digits} digits, {scale} of them after "
                "the point"
            )
    is_lost = kind is Kind.number and target.writer.loses_negative_zero
    if is_lost and source.definitions.has_negative_zero(table, name):
        return "it has a negative zero"
    if kind is Kind.instant and target.writer.instants:
        first, last = target.writer.instants
        condition = f"{name} < '{first}+00:00' OR {name} > '{last}+00:00'"
        if source.definitions.holds(f"SELECT EXISTS(SELECT 1 FROM {table} WHERE {condition})"):
            return f"it has times that are not between {first} and {last} UTC"
    return ""


def _is_longer(source: Engine, column: Column, length: Optional[int]) -> bool:
    characters = source.violation_sql().characters(source.quoted(column.name))
    return source.definitions.holds(
        f"SELECT EXISTS(SELECT 1 FROM {source.quoted(column.table.name)}"
        f" WHERE {characters} > {length})"
    )


def _with_column(
    table: Table, name: str, things: Iterable[Found], reason: str
) -> Iterator[Obstacle]:
    """Yield the keys that have a column."""
    if name in table.primary_key.columns:
        yield Obstacle(ItemKind.TABLE, "", table.name, reason)
    for thing in things:
        if name in thing.columns and thing.kind in KEYS:
            yield Obstacle(thing.kind, thing.table, thing.name, reason)


def _refused(table: str, things: Sequence[Found], refusal: trial.Refusal) -> Iterator[Obstacle]:
    """Yield the thing that the target refuses, in its own words."""
    from sqlalchemy import CheckConstraint

    reason = f"the target refuses it: {refusal.message}"
    if refusal.key is None:
        is_extra = any(thing.kind is ItemKind.TABLE for thing in things)
        if is_extra:
            yield Obstacle(ItemKind.TABLE, "", table, reason)
        else:
            yield from (
                Obstacle(thing.kind, thing.table, thing.name, reason)
                for thing in things
                if thing.kind is ItemKind.COLUMN
            )
        return
    columns = tuple(column.name for column in refusal.key.columns)
    for thing in things:
        is_check = isinstance(refusal.key, CheckConstraint)
        alike = thing.kind is ItemKind.CHECK if is_check else thing.kind in KEYS[:2]
        same = refusal.key.info.get(THING) == thing.name if is_check else thing.columns == columns
        if alike and same:
            yield Obstacle(thing.kind, thing.table, thing.name, reason)
