"""Rows that some engine refuses or changes, and what it really does with them, asked without any
code of the tool.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple, Optional, Sequence, Union

from kallithea_tables import Database, models
from sqlalchemy import Table

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.preflight.fix_options import parse_fixes
from kallithea_tune.db_migrate.preflight.preflight import Preflight
from kallithea_tune.db_migrate.preflight.violation import PreflightResult
from kallithea_tune.db_migrate.values import Key, Value

MOMENT = "2024-02-29 23:59:59.123456"
SAMPLES: dict[Kind, Value] = {
    Kind.integer: 1,
    Kind.boolean: 1,
    Kind.number: 1.5,
    Kind.moment: MOMENT,
    Kind.text: "text",
    Kind.binary: b"{}",
}
PLAIN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{6})?")


def moment(text: str) -> Optional[datetime.datetime]:
    """What SQLAlchemy makes of a text in SQLite; None where it fails, or makes another number of
    microseconds of it.
    """
    try:
        return datetime.datetime.fromisoformat(text) if PLAIN.fullmatch(text) else None
    except ValueError:
        return None


class Dirt(NamedTuple):
    """A value in a column that breaks a rule for one target at least."""

    rule: str
    table: str
    column: str
    value: Value


def a_row(name: str, key: int, **changed: Value) -> dict[str, Value]:
    """A row in storage form, that refers to the rows with the key 1, no unique text being that of
    another key.
    """
    row: dict[str, Value] = {}
    for column in models().tables[name].columns:
        kind = kind_of(column)
        row[column.name] = SAMPLES[kind]
        if column.primary_key or kind is Kind.integer and not column.foreign_keys:
            row[column.name] = key
        elif kind is Kind.text and key > 1:
            row[column.name] = "text%d" % key
        elif column.foreign_keys and column.nullable:
            row[column.name] = None
    row.update(changed)
    return row


def literal(dialect: str, value: Value, kind: Kind) -> bytes:
    """Write a value for a statement, in the column's own syntax, as a string wherever there is
    one.
    """
    if value is None:
        return b"NULL"
    if dialect == "sqlite" and isinstance(value, float):
        return {"inf": b"9e999", "-inf": b"-9e999"}.get(repr(value), repr(value).encode())
    if dialect == "sqlite" and isinstance(value, int):
        return b"%d" % value
    if isinstance(value, bytes) and (kind is Kind.binary or dialect == "sqlite"):
        return (
            b"'\\x" + value.hex().encode() + b"'"
            if dialect == "postgresql"
            else b"x'" + value.hex().encode() + b"'"
        )
    if dialect == "sqlite":
        return (
            b"CAST(x'"
            + str(value).encode("utf-8", "surrogateescape").hex().encode()
            + b"' AS TEXT)"
        )
    text = ("\\x" + value.hex() if isinstance(value, bytes) else str(value)).encode(
        "utf-8", "surrogateescape"
    )
    text = text.replace(b"'", b"''")
    return b"'" + (text.replace(b"\\", b"\\\\") if dialect == "mysql" else text) + b"'"


def put(database: Database, name: str, row: dict[str, Value]) -> None:
    """Insert a row by a statement that goes to the server as it is. Raises what the driver
    raises.
    """
    table = database.table(name)
    values = b", ".join(
        literal(database.dialect, row[column.name], kind_of(column)) for column in table.columns
    )
    columns = ", ".join(database.quoted(column.name) for column in table.columns)
    statement = b"INSERT INTO %s (%s) VALUES (%s)" % (
        database.quoted(name).encode(),
        columns.encode(),
        values,
    )
    cursor = database.connection.connection.cursor()
    cursor.execute(statement.decode() if database.dialect == "sqlite" else statement)
    database.commit()


def got(database: Database, dirt: Dirt, key: int) -> Union[Value, datetime.datetime]:
    """Read the value back as Kallithea gets it, by a plain SELECT."""
    table = database.table(dirt.table)
    cursor = database.connection.connection.cursor()
    cursor.execute(
        "SELECT %s FROM %s WHERE %s = %d"
        % (
            database.quoted(dirt.column),
            database.quoted(dirt.table),
            next(iter(table.primary_key.columns)).name,
            key,
        )
    )
    value = cursor.fetchone()[0]
    if isinstance(value, bool):
        return int(value)
    return bytes(value) if isinstance(value, memoryview) else value


def does(database: Database, dirt: Dirt, key: int = 2) -> str:
    """Try it: ``refuses``, ``changes`` or ``takes`` the value. Nothing stays behind."""
    row = a_row(dirt.table, key, **{dirt.column: dirt.value})
    raw = database.connection.connection
    try:
        put(database, dirt.table, row)
    except (database.connection.dialect.dbapi.Error, ValueError):
        raw.rollback()
        return "refuses"
    try:
        found = got(database, dirt, key)
    except ValueError:
        # The driver cannot read it, nor can Kallithea.
        found = ValueError
    remove(database, dirt, key)
    wanted = dirt.value
    if kind_of(database.table(dirt.table).columns[dirt.column]) is Kind.moment and isinstance(
        wanted, str
    ):
        wanted = moment(wanted)
    return "takes" if type(found) is type(wanted) and found == wanted else "changes"


def remove(database: Database, dirt: Dirt, key: int = 2) -> None:
    table = database.table(dirt.table)
    database.run(
        "DELETE FROM %s WHERE %s = %d"
        % (database.quoted(dirt.table), next(iter(table.primary_key.columns)).name, key)
    )


def empty(database: Database) -> None:
    """Leave one row in each table, with the key 1."""
    for table in reversed(database.tables):
        database.run(f"DELETE FROM {database.quoted(table.name)}")
    for table in database.tables:
        put(database, table.name, a_row(table.name, 1))


def run_preflight(
    source: Database, target: Database, *fixes: str, tables: Sequence[Table] = ()
) -> PreflightResult:
    """Run preflight on all tables of `source`."""
    tables = list(tables or models().sorted_tables)
    copies = [target.table(table.name) for table in tables]
    ends = source.engine, target.engine
    return Preflight(*ends, tables, copies).run(parse_fixes(fixes))


def summary(result: PreflightResult) -> list[tuple[str, str, tuple[str, ...], int, list[Key]]]:
    return [
        (item.rule.name, item.table, item.columns, item.count, item.keys)
        for item in result.violations
    ]
