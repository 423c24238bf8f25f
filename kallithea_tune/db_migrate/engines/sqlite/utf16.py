"""A SQLite file in UTF-16, copied into one in UTF-8: casts and functions see the bytes of a text.

SQLite itself cannot: an attached file has to have the same encoding, and VACUUM keeps it.
"""

from __future__ import annotations

import sqlite3
from itertools import groupby
from typing import Sequence, Union

from kallithea_tune.system import interruption

BATCH = 1000  # rows

_Value = Union[None, int, float, str, bytes]


class _Invalid(bytes):
    """Text that is not valid UTF-8, such as half of a surrogate pair."""


def is_utf16(connection: sqlite3.Connection) -> bool:
    """Whether the text of the file is stored in UTF-16."""
    return bool(connection.execute("PRAGMA encoding").fetchone()[0] != "UTF-8")


def convert(source: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    """Copy everything in `source`, as of one moment, into the new and empty file `copy`.

    Values are what the application gets from SQLite; indexes are made anew.
    """
    decoded, source.text_factory = source.text_factory, _text
    copy.execute("PRAGMA ignore_check_constraints = ON")
    source.execute("BEGIN")
    try:
        schema = source.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
        ).fetchall()
        # A virtual table has no rows of its own, and what it is made of is an ordinary table.
        real = [item for item in schema if item[0] == "table" and not _is_virtual(item[3])]
        for _, _, _, statement in real:
            copy.execute(statement)
        for _, name, _, _ in real:
            _copy_rows(source, copy, name)
        if copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
            _copy_rows(source, copy, "sqlite_sequence")
        for item in schema:
            if item[0] == "index":
                interruption.check()
                copy.execute(item[3])
        _note(copy, [item for item in schema if item[0] != "index" and item not in real])
    finally:
        source.rollback()
        source.text_factory = decoded
    copy.execute("PRAGMA ignore_check_constraints = OFF")


def _is_virtual(statement: str) -> bool:
    return statement.upper().startswith("CREATE VIRTUAL")


def _text(octets: bytes) -> Union[str, _Invalid]:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return _Invalid(octets)


def _copy_rows(source: sqlite3.Connection, copy: sqlite3.Connection, table: str) -> None:
    quoted = _quoted(table)
    described = source.execute(f"PRAGMA table_xinfo({quoted})").fetchall()
    # Hidden columns are generated.
    names = [_quoted(column[1]) for column in described if not column[6]]
    columns = ", ".join(names)
    rows = source.execute(f"SELECT {columns} FROM {quoted}")
    if table == "sqlite_sequence":
        copy.execute(f"DELETE FROM {quoted}")
    while True:
        batch = rows.fetchmany(BATCH)
        if not batch:
            break
        interruption.check()
        for marks, alike in groupby(batch, _marks):
            copy.executemany(f"INSERT INTO {quoted} ({columns}) VALUES ({marks})", alike)
    copy.commit()


def _marks(row: Sequence[_Value]) -> str:
    return ", ".join("CAST(? AS TEXT)" if type(value) is _Invalid else "?" for value in row)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _note(copy: sqlite3.Connection, items: Sequence[Sequence[str]]) -> None:
    """Enter views, triggers and virtual tables into the schema: nothing of them is executed."""
    copy.execute("PRAGMA writable_schema = ON")
    copy.executemany(
        "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, 0, ?)",
        items,
    )
    copy.commit()
    copy.execute("PRAGMA writable_schema = RESET")
