"""A table tried out on the target, as a temporary one, since only the target knows its limits."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional, Union

from kallithea_tune.db_migrate.driver_errors import message_of

if TYPE_CHECKING:
    from sqlalchemy import Constraint, Index, Table

    from kallithea_tune.db_migrate.engines import Engine

    _Key = Union[Constraint, Index]


class Refusal(NamedTuple):
    """What the target refused, in its own words; `key` is None for the table itself."""

    key: Optional[_Key]
    message: str


def refusals(target: Engine, table: Table) -> Iterator[Refusal]:
    """Try a table without foreign keys, then with each other key and check; yield what is refused.

    `table` is as the target would have it. Nothing of it stays there.
    """
    from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint

    message = _refused(target, table, None)
    if message:
        yield Refusal(None, message)
        return
    others = (ForeignKeyConstraint, PrimaryKeyConstraint)
    keys = [item for item in table.constraints if not isinstance(item, others)]
    for key in sorted([*keys, *table.indexes], key=lambda item: str(item.name)):
        message = _refused(target, table, key)
        if message:
            yield Refusal(key, message)


def _refused(target: Engine, table: Table, key: Optional[_Key]) -> str:
    """Return why the target refuses the table with this key alone; empty where it does not."""
    from sqlalchemy.schema import CreateIndex, CreateTable

    tried = _temporary(table, key)
    connection, cursor = target.connection, target.cursor()
    statements = [CreateTable(tried), *map(CreateIndex, tried.indexes)]
    try:
        for statement in statements:
            # The empty arguments have both drivers of MariaDB, and psycopg2, read %% as %.
            text = str(statement.compile(dialect=connection.dialect))
            cursor.execute(text, ())
    except (connection.dialect.dbapi.Error, connection.dialect.dbapi.Warning) as error:
        return message_of(error)
    finally:
        connection.connection.rollback()
        cursor.execute(f"DROP TABLE IF EXISTS {tried.name}")
        connection.connection.commit()
    return ""


def _temporary(table: Table, key: Optional[_Key]) -> Table:
    from sqlalchemy import MetaData

    copied = getattr(table, "to_metadata", None) or table.tometadata
    copy: Table = copied(MetaData(), name="tune_" + secrets.token_hex(8))
    copy._prefixes = ["TEMPORARY"]
    places = {id(item): number for number, item in enumerate(_keys(table))}
    kept = None if key is None else _keys(copy)[places[id(key)]]
    copy.constraints = {item for item in copy.constraints if item in (copy.primary_key, kept)}
    copy.indexes = {item for item in copy.indexes if item is kept}
    return copy


def _keys(table: Table) -> list[_Key]:
    """Return all keys and checks in an order that a copy of the table shares."""

    def place(key: _Key) -> tuple[str, str, list[str], str]:
        columns = [column.name for column in key.columns]
        return type(key).__name__, str(key.name), columns, str(getattr(key, "sqltext", ""))

    return sorted([*table.constraints, *table.indexes], key=place)
