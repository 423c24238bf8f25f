"""What there is to migrate: everything in the source, and the tables that are copied of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from kallithea_tune.db.tables import modelled
from kallithea_tune.db_migrate import connect, journal, schema
from kallithea_tune.db_migrate.extra.obstacles import Obstacle, in_source, in_target
from kallithea_tune.db_migrate.extra.reflection import Reflection
from kallithea_tune.db_migrate.inventory import fates, revision
from kallithea_tune.db_migrate.inventory.fates import Choices, Models
from kallithea_tune.db_migrate.inventory.items import Item, ItemKind
from kallithea_tune.db_migrate.inventory.tables import carried_things, tables_of
from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table

    from kallithea_tune.app.application import SchemaHistory
    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.engines.base.catalog import Found


@dataclass(frozen=True)
class Survey:
    """Everything in the source, the tables to copy in their order, and the revision.

    `extra` tables belong to no model.
    """

    items: Sequence[Item]
    of_models: Sequence[Table]
    extra: Sequence[Table]
    revision: tuple[str, ...]

    @property
    def tables(self) -> list[Table]:
        """All tables to copy."""
        return [*self.of_models, *self.extra]


def survey(
    source: Engine, target: Engine, metadata: MetaData, history: SchemaHistory, choices: Choices
) -> Survey:
    """List everything in the source, and choose the tables to copy.

    Raises Refused where the source is not at the newest revision, or lacks a table or column of
    the models, and ConfigError for a name to leave that nothing has.
    """
    found = source.catalog.found()
    models = Models(
        {name: modelled(table) for name, table in metadata.tables.items()},
        (schema.STAMP, journal.NAME),
    )
    if not fates.has_any_table(found, models):
        label = connect.label(source.connection.engine.url)
        raise Refused(f"the source {label} has none of the application's tables")
    stamped = schema.revisions(source.connection)
    revision.require_newest(stamped, history)
    fates.require_present(found, models, source.catalog.folds_case)
    reflection = Reflection(source, target)
    items = fates.fates(found, models, choices)
    in_the_way = in_source(reflection, _added(found, items, metadata))
    if in_the_way:
        items = fates.fates(found, models, choices, in_the_way)
    made = tables_of(reflection, metadata, found, items)
    added = _added(found, items, metadata)
    refused = [*in_target(source, target, made, added), *_narrowing(target, made, added)]
    if refused:
        items = fates.fates(found, models, choices, in_the_way + refused)
        made = tables_of(reflection, metadata, found, items)
    fates.require_matched(choices.leave, items)
    ordered = schema.ordered(made)
    own = [table for table in ordered if table.name in metadata.tables]
    extra = [table for table in ordered if table.name not in metadata.tables]
    return Survey(items, own, extra, stamped)


def _added(found: Sequence[Found], items: Sequence[Item], metadata: MetaData) -> list[Found]:
    """Return what is carried without being in the models; the engine makes sequences itself."""
    return [
        thing
        for thing in carried_things(found, items)
        if thing.kind is not ItemKind.TABLE or thing.name not in metadata.tables
        if thing.kind is not ItemKind.SEQUENCE and not _is_column_of(metadata, thing)
    ]


def _narrowing(target: Engine, made: MetaData, added: Sequence[Found]) -> list[Obstacle]:
    """Return the keys for which the target would have to limit the length of a model's column.

    The application could then no longer write what it writes now.
    """
    keys = [thing for thing in added if thing.kind in (ItemKind.INDEX, ItemKind.UNIQUE)]
    found = []
    for thing in keys:
        for name in thing.columns:
            column = made.tables[thing.table].columns[name]
            type_ = target.writer.column_type(column)
            is_model = not any(
                other.kind is ItemKind.COLUMN and (other.table, other.name) == (thing.table, name)
                for other in added
            )
            limit = getattr(type_, "length", None)
            if is_model and limit and not getattr(column.type, "length", None):
                reason = f"it would limit {name} to {limit} characters in the target"
                found.append(Obstacle(thing.kind, thing.table, thing.name, reason))
                break
    return found


def _is_column_of(metadata: MetaData, thing: Found) -> bool:
    table = metadata.tables.get(thing.table)
    if table is None or thing.kind is not ItemKind.COLUMN:
        return False
    return thing.name.casefold() in {column.name.casefold() for column in table.columns}
