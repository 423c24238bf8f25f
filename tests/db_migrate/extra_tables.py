"""Tables without a model alone, from a database to another one, by the steps that migrate them."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Iterator, NamedTuple, Sequence

import sqlalchemy

from kallithea_tune.db_migrate import connect, schema, sequences
from kallithea_tune.db_migrate.copy import copy_table
from kallithea_tune.db_migrate.engines import Engine, engine_for
from kallithea_tune.db_migrate.extra.obstacles import Obstacle, in_source, in_target
from kallithea_tune.db_migrate.extra.reflection import Reflection
from kallithea_tune.db_migrate.inventory.fates import Choices, Models, fates
from kallithea_tune.db_migrate.inventory.tables import carried_things, tables_of
from kallithea_tune.db_migrate.plan import Transfer
from kallithea_tune.db_migrate.preflight.preflight import Preflight
from kallithea_tune.db_migrate.verify import compare
from kallithea_tune.db_migrate.verify import schema as schema_check


class Moved(NamedTuple):
    """What stood in the way, what preflight found, and what differs afterwards."""

    obstacles: Sequence[Obstacle]
    violations: Sequence[str]
    differences: Sequence[str]

    @property
    def lost(self) -> dict[str, str]:
        return {f"{item.table}.{item.name}".strip("."): item.reason for item in self.obstacles}


def executed(url: str, statements: str, enforced: bool = False) -> None:
    """Run statements that go to the driver as they are; SQLite enforces references on demand."""
    engine = sqlalchemy.create_engine(url)
    with contextlib.closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        if engine.dialect.name == "mysql":
            cursor.execute("SET SESSION sql_mode = 'ANSI_QUOTES,ALLOW_INVALID_DATES'")
            cursor.execute("SET SESSION time_zone = '+00:00'")
        if enforced and engine.dialect.name == "sqlite":
            cursor.execute("PRAGMA foreign_keys = ON")
        for statement in filter(str.strip, re.split(r";\s*\n", statements)):
            cursor.execute(statement)
        connection.commit()
    engine.dispose()


def opened(url: str, writable: bool) -> Engine:
    engine = (connect.target_engine if writable else connect.source_engine)(url)
    return engine_for(engine.connect())


def move(source_url: str, target_url: str) -> Moved:
    """Carry all tables but what stands in the way, and compare them."""
    source, target = opened(source_url, False), opened(target_url, True)
    try:
        return _move(source, target)
    finally:
        source.connection.close()
        target.connection.close()


def _move(source: Engine, target: Engine) -> Moved:
    reflection, models = Reflection(source, target), Models({})
    found, metadata = source.catalog.found(), sqlalchemy.MetaData()

    def carried(obstacles: Sequence[Obstacle]) -> Any:
        return fates(found, models, Choices(extra_tables=True), obstacles)

    obstacles = in_source(reflection, carried_things(found, carried([])))
    things = carried_things(found, carried(obstacles))
    made = tables_of(reflection, metadata, found, carried(obstacles))
    obstacles += in_target(source, target, made, things)
    obstacles += list(_others(carried(obstacles), obstacles))
    tables = schema.ordered(tables_of(reflection, metadata, found, carried(obstacles)))
    writer = target.writer
    copied = schema.for_target(tables, writer, metadata)
    copies = [copied.tables[table.name] for table in tables]
    violations = [
        item.sentence for item in Preflight(source, target, tables, copies).run({}).violations
    ]
    if violations:
        return Moved(obstacles, violations, [])
    writer.begin_load()
    schema.create_tables(writer, copies)
    for table, copy in zip(tables, copies):
        copy_table(source.reader, writer, table, copy)
    list(schema.complete_tables(writer, copies))
    target.connection.connection.commit()
    transfer = Transfer(source, target, tables, copies)
    keys = sequences.last_keys(transfer, lambda table: False)
    sequences.set_last_keys(target, copies, keys)
    mismatches = [item.sentence for item in schema_check.compare(target, copies).mismatches]
    schema_check.try_inserts(target, copies, keys)
    differing = [item.sentence for item in compare.differences(source, target, tables)]
    target.connection.connection.commit()
    return Moved(obstacles, violations, mismatches + differing)


def _others(items: Any, obstacles: Sequence[Obstacle]) -> Iterator[Obstacle]:
    """What the inventory itself says of them."""
    known = {(item.kind, item.table, item.name) for item in obstacles}
    for item in items:
        if item.reason and (item.kind, item.table, item.name) not in known:
            yield Obstacle(item.kind, item.table, item.name, item.reason)
