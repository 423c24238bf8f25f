"""Columns, defaults and checks that no model describes, as far as every engine can have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kallithea_tune.db.kinds import kind_of
from kallithea_tune.db_migrate.engines.base.definitions import (
    ColumnDefinition,
    NotPortable,
    TableDefinition,
)
from kallithea_tune.db_migrate.extra import expressions

if TYPE_CHECKING:
    from sqlalchemy import Column, MetaData, Table
    from sqlalchemy.types import TypeEngine

    from kallithea_tune.db_migrate.engines import Engine
    from kallithea_tune.db_migrate.engines.base.catalog import Found

THING = "thing"  # key of the info of a check: the name of the thing in the source


class Reflection:
    """Describes what a source has beside the models; each column is examined once."""

    def __init__(self, source: Engine, target: Engine) -> None:
        self.source, self._writer = source, target.writer
        self._dialect = source.connection.dialect.name
        self._types: dict[tuple[str, str], TypeEngine] = {}

    def definition(self, table: str) -> TableDefinition:
        """Return a table as the source defines it."""
        return self.source.definitions.tables()[table]

    def exists(self, table: str) -> bool:
        """Whether the source has a table."""
        return table in self.source.definitions.tables()

    def column_definition(self, table: str, name: str) -> ColumnDefinition:
        """Return a column as the source defines it."""
        return next(item for item in self.definition(table).columns if item.name == name)

    def column(self, table: str, name: str) -> Column:
        """Describe a column in a type that every engine has; without its default.

        Raises NotPortable where there is none.
        """
        from sqlalchemy import Column

        definition = self.column_definition(table, name)
        key = self.definition(table).primary_key
        counts = definition.counts and key == (name,)
        return Column(
            name,
            self._type(table, definition),
            nullable=definition.nullable and name not in key,
            autoincrement=counts,
        )

    def _type(self, table: str, column: ColumnDefinition) -> TypeEngine:
        if (table, column.name) not in self._types:
            type_ = self.source.definitions.generic_type(self.definition(table), column)
            self._types[table, column.name] = type_
        return self._types[table, column.name]

    def add_default(self, thing: Found, column: Column) -> None:
        """Give a column its default; one that the engine generates has none.

        Raises NotPortable where other engines cannot have it.
        """
        import sqlalchemy

        definition = self.column_definition(thing.table, thing.name)
        if definition.counts:
            if self.definition(thing.table).primary_key != (thing.name,):
                raise NotPortable("its values are generated, but it is not the key")
            return
        value = expressions.default(thing.text, kind_of(column), self._dialect, self._writer)
        if value is not None:
            column.server_default = sqlalchemy.DefaultClause(value)
            column.server_default._set_parent(column)

    def add_check(self, thing: Found, table: Table) -> None:
        """Give a table one of its checks. Raises NotPortable where other engines cannot have it."""
        from sqlalchemy import CheckConstraint

        condition = expressions.condition(
            thing.text, dict(table.columns), self._dialect, self._writer
        )
        name = thing.name if thing.name != thing.text else None
        check = CheckConstraint(condition, name=name, info={THING: thing.name})
        table.append_constraint(check)

    def add_table(self, name: str, columns: list[str], metadata: MetaData) -> Table:
        """Describe a table with some of its columns, and its primary key."""
        from sqlalchemy import PrimaryKeyConstraint, Table

        key = [column for column in self.definition(name).primary_key if column in columns]
        described = [self.column(name, column) for column in columns]
        counts = any(column.autoincrement is True for column in described)
        # As the models have it.
        options = {"sqlite_autoincrement": True} if counts else {}
        keys = [PrimaryKeyConstraint(*key)] if key else []
        return Table(name, metadata, *described, *keys, **options)
