"""What is in databases and quarantine files, read without any code of the tool."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path
from typing import Any, Dict, Mapping

import sqlalchemy
from kallithea_tables import models

from kallithea_tune.db.kinds import Kind, kind_of_type
from kallithea_tune.db_migrate.values import Value

# Table, key, row.
Contents = Dict[str, Dict[Value, Dict[str, Value]]]


def contents(url: str) -> Contents:
    """Read every row of Kallithea's tables: numbers and text as they are, dates as SQLAlchemy
    writes them in SQLite, text that is not UTF-8 with surrogates.
    """
    engine = sqlalchemy.create_engine(url)
    raw = engine.raw_connection()
    if engine.dialect.name == "sqlite":
        raw.connection.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
    quote = engine.dialect.identifier_preparer.quote
    found: Contents = {}
    for table in models().sorted_tables:
        (key,) = (column.name for column in table.primary_key.columns)
        cursor = raw.cursor()
        selected = ", ".join(
            # The driver fails on infinity and on what Python has no dates for.
            f"CAST({quote(column.name)} AS text)"
            if engine.dialect.name == "postgresql" and isinstance(column.type, sqlalchemy.DateTime)
            else quote(column.name)
            for column in table.columns
        )
        cursor.execute(f"SELECT {selected} FROM {quote(table.name)}")
        rows = [
            {column.name: plain(value, column.type) for column, value in zip(table.columns, row)}
            for row in cursor.fetchall()
        ]
        found[table.name] = {row[key]: row for row in rows}
        assert len(found[table.name]) == len(rows), table.name
    raw.close()
    engine.dispose()
    return found


def next_key(url: str, name: str) -> int:
    """Return the key that a new row gets, which does not stay; one in a row of samples."""
    table = models().tables[name]
    row = {
        column.name: datetime.datetime(2024, 2, 29)
        if isinstance(column.type, sqlalchemy.DateTime)
        else 1
        if isinstance(column.type, (sqlalchemy.Integer, sqlalchemy.Boolean))
        else "new"
        for column in table.columns
        if not column.primary_key and not column.nullable
    }
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        trial = connection.begin()
        (key,) = connection.execute(table.insert().values(**row)).inserted_primary_key
        trial.rollback()
    engine.dispose()
    return int(key)


def plain(value: Any, type_: Any) -> Value:
    """Write a value that a driver returned."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(type_, sqlalchemy.DateTime) and isinstance(value, str):
        seconds, _, fraction = value.partition(".")
        is_short = len(fraction) < 6 and len(seconds) == len("2024-02-29 12:00:00")
        return f"{seconds}.{fraction:0<6}" if is_short else value
    if kind_of_type(type_) is Kind.binary and isinstance(value, str):
        # The same bytes, whatever SQLite calls them.
        return value.encode("utf-8", "surrogateescape")
    result: Value = value
    return result


def same(one: Any, other: Any) -> bool:
    """Whether values, rows or contents are the same; there is one NaN, and two zeros."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, (int, float)) and repr(float(one)) == repr(float(other))
    return type(one) is type(other) and bool(one == other)


def quarantined(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a quarantine file, with their rows as they were in the source."""
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        entry["row"] = {name: _value(value) for name, value in entry["row"].items()}
        ((_, entry["key"]),) = entry["key"].items()
    return entries


def _value(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    ((form, text),) = value.items()
    if form == "float":
        return float(text)
    octets = base64.b64decode(text)
    return octets.decode("utf-8", "surrogateescape") if form == "text-base64" else octets
