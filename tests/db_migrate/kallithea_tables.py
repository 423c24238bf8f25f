"""Kallithea's own tables in databases of all three engines, filled in the simplest way."""

from __future__ import annotations

import datetime
from typing import Any, Mapping, Sequence

import sqlalchemy
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines import Engine, engine_for

# What lets rows in that refer to nothing, and 0 be a key in MariaDB.
UNBOUND = {
    "sqlite": "PRAGMA foreign_keys = OFF",
    "postgresql": "SET session_replication_role = replica",
    "mysql": "SET SESSION foreign_key_checks = 0,"
    " sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO'",
}


def models() -> Any:
    """The metadata of the real Kallithea."""
    from kallithea.model import db, meta

    assert db.User
    return meta.Base.metadata


def roomy(metadata: Any) -> Any:
    """A copy of the tables with types in which MariaDB keeps microseconds and more than 64 KB."""
    copies = sqlalchemy.MetaData(naming_convention=metadata.naming_convention)
    types = {
        Kind.moment: mysql.DATETIME(fsp=6),
        Kind.text: mysql.LONGTEXT(),
        Kind.binary: mysql.LONGBLOB(),
    }
    for table in metadata.sorted_tables:
        copy = getattr(table, "to_metadata", None) or table.tometadata
        for column in copy(copies).columns:
            if not getattr(column.type, "length", None):
                column.type = types.get(kind_of(column), column.type)
    return copies


def loose(metadata: Any) -> Any:
    """A copy of the tables that takes anything: no NOT NULL, no CHECK, no unique and no foreign
    keys.
    """
    copies = sqlalchemy.MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        copy = getattr(table, "to_metadata", None) or table.tometadata
        made = copy(copies)
        made.constraints = {
            item for item in made.constraints if isinstance(item, sqlalchemy.PrimaryKeyConstraint)
        }
        for column in made.columns:
            column.nullable = not column.primary_key
    return copies


class Database:
    """A database with Kallithea's tables, or those given, and a connection that commits at once."""

    def __init__(self, url: str, metadata: Any = None) -> None:
        engine = sqlalchemy.create_engine(url)
        metadata = metadata or (roomy(models()) if engine.dialect.name == "mysql" else models())
        self.tables = list(metadata.sorted_tables)
        metadata.create_all(engine)
        self.connection = engine.connect()
        self.run(UNBOUND[engine.dialect.name])

    @property
    def dialect(self) -> str:
        return str(self.connection.dialect.name)

    @property
    def engine(self) -> Engine:
        return engine_for(self.connection)

    def table(self, name: str) -> Any:
        return next(table for table in self.tables if table.name == name)

    def run(self, statement: str, **values: Any) -> Any:
        result = self.connection.execute(sqlalchemy.text(statement), values)
        self.commit()
        return result

    def commit(self) -> None:
        self.connection.connection.commit()

    def insert(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self.connection.execute(self.table(name).insert(), [dict(row) for row in rows])
            self.commit()

    def replace(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.run(f"DELETE FROM {self.quoted(name)}")
        self.insert(name, rows)

    def quoted(self, name: str) -> str:
        return str(self.connection.dialect.identifier_preparer.quote(name))

    def close(self) -> None:
        self.connection.close()
        self.connection.engine.dispose()


# What each engine takes and keeps: preflight's own tests show that the rest is found.
text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)
VALUES = {
    Kind.integer: st.integers(-(2**31), 2**31 - 1),
    Kind.boolean: st.booleans(),
    Kind.number: st.floats(allow_nan=False, allow_infinity=False, width=64),
    Kind.text: text | text.map(lambda value: value * 20),
    Kind.moment: st.datetimes(datetime.datetime(1000, 1, 1))
    | st.datetimes(datetime.datetime(2000, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),
    Kind.binary: st.binary(max_size=50) | st.binary(max_size=50).map(lambda value: value * 100),
}


def a_row(draw: Any, table: Any, key: int) -> dict[str, Any]:
    row = {}
    for column in table.columns:
        values = VALUES[kind_of(column)]
        length = getattr(column.type, "length", None)
        if kind_of(column) is Kind.text and length:
            values = values.map(lambda value, length=length: value[:length])
        row[column.name] = (
            key if column.primary_key else draw(st.none() | values if column.nullable else values)
        )
    # Unique keys are another matter.
    for constraint in table.constraints:
        if isinstance(constraint, sqlalchemy.UniqueConstraint):
            for column in constraint.columns:
                row[column.name] = key if kind_of(column) is Kind.integer else "%d" % key
    return row
