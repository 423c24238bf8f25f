"""Random dirt: values of any kind in any column of Kallithea's tables, as far as a source stores
them.
"""

from __future__ import annotations

import random
from typing import Any, Iterator

from dirt import a_row, put
from kallithea_tables import models
from plants import Source, key_name

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.values import Value

INTEGERS = [0, 1, 2, 3, -1, 7, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**40, 2**53 + 1]
INTEGERS += [2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.5, 2.0, 0.1, 1e300, -1e-320, 1e15, 123456789.123456789]
FLOATS += [float("inf"), float("-inf"), float("nan")]
TEXTS = ["", " ", "a\0b", "\0", "a\0", "caf\udce9", "\udcff\udcfe", "é", "😀", "a😀b", "見積"]
TEXTS += [
    "text",
    "TEXT",
    "Text",
    "téxt",
    "text ",
    "text\t",
    "ﬁ",
    "ß",
    "ss",
    "İ",
    "\ufeffx",
    "\ud7ff",
]
TEXTS += ["1", "0", "12.0", " 1", "1.5", "1e3", "0x10", "-0", "yes", "true", "F", "NULL", "nan"]
TEXTS += [
    "'",
    '"',
    "\\",
    "\\N",
    "a\\",
    "%s",
    "%",
    ":x",
    "?",
    "a\nb",
    "a\r\nb",
    "\n",
    "\x1a",
    "\x7f",
]
TEXTS += ["--", "'; --", ",", "'a','b'", "\\x00", "{}", "\u2028", "\x01\x02"]
MOMENTS = ["2024-02-29 23:59:59.999999", "2024-02-29 00:00:00", "1000-01-01 00:00:00.000000"]
MOMENTS += ["0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999", "2024-02-30 12:00:00"]
MOMENTS += ["2024-02-29T12:00:00", "2024-02-29 12:00:00Z", "2024-02-29 12:00", "2024-02-29", "2024"]
MOMENTS += [
    "2024-02-29 24:00:00",
    "2024-02-29 12:00:60",
    "0000-00-00 00:00:00",
    "2024-00-01 00:00:00",
]
MOMENTS += ["infinity", "-infinity", "10000-01-01 00:00:00", "0044-03-15 00:00:00 BC", "now"]
MOMENTS += [
    "2024-02-29 12:00:00.5",
    "2024-02-29 12:00:00.1234567",
    "1969-12-31 23:59:59.5",
    "24:00",
]
MOMENTS += ["2024-03-31 02:30:00.000000", " 2024-02-29 12:00:00", "2024-02-29 12:00:00+02:00", ""]
BLOBS = [
    b"",
    b"\0",
    b"\xff",
    b"blob",
    b"caf\xc3\xa9",
    b"{}",
    b"\\x00",
    b"1",
    b"'\n\r\\",
    b"\x80" * 300,
]
LENGTHS = (9, 10, 11, 40, 41, 128, 255, 256, 1000, 1001, 4097, 10001, 65535, 65536, 70000)


def value(rng: random.Random, kind: Kind) -> Value:
    """Anything, often of the kind that a column has."""
    if rng.random() < 0.06:
        return None
    if kind is Kind.moment and rng.random() < 0.7:
        return rng.choice(MOMENTS)
    if kind in (Kind.text, Kind.binary) and rng.random() < 0.25:
        part: Any = rng.choice(
            ["x", "é", "😀", "e\u0301"] if kind is Kind.text else [b"\xff", b"{}"]
        )
        return part * rng.choice(LENGTHS)  # type: ignore[no-any-return]
    usual = {
        Kind.integer: INTEGERS,
        Kind.number: FLOATS,
        Kind.boolean: INTEGERS,
        Kind.binary: BLOBS,
    }
    pool: Any = usual.get(kind, TEXTS)
    if rng.random() < 0.35:
        pool = rng.choice([INTEGERS, FLOATS, TEXTS, MOMENTS, BLOBS])
    chosen: Value = rng.choice(pool)
    return chosen


def pollute(source: Source, rng: random.Random) -> None:
    """Empty a source and put rows in, about half of them dirty."""
    empty(source)
    tables = list(models().sorted_tables)
    for table in tables:
        put(source, table.name, a_row(table.name, 1))
    for table in rng.sample(tables, 8):
        for key in _keys(rng):
            for row in _attempts(source, rng, table, key):
                if _is_stored(source, table.name, row):
                    break


def empty(source: Source) -> None:
    for table in source.tables:
        source.run(f"DELETE FROM {source.quoted(table.name)}")
    if source.dialect == "sqlite":
        source.run("DELETE FROM sqlite_sequence")


def _keys(rng: random.Random) -> list[int]:
    keys = set(range(2, rng.randint(3, 7)))
    if rng.random() < 0.2:
        keys.add(rng.choice([0, -1, 2**31 - 2, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**31) - 1]))
    return sorted(keys)


def _attempts(
    source: Source, rng: random.Random, table: Any, key: int
) -> Iterator[dict[str, Value]]:
    """Yield a row with dirt, then with less of it, since the source may refuse some."""
    clean = a_row(table.name, 1, **{key_name(table.name): key})
    for column in table.columns:
        if kind_of(column) is Kind.text and rng.random() < 0.8:
            clean[column.name] = "text%d" % key
        if column.foreign_keys:
            clean[column.name] = rng.choice([1, 1, 1, 2, 2, 3, 99, None])
        if not column.foreign_keys and not column.primary_key and kind_of(column) is Kind.integer:
            clean[column.name] = rng.randint(0, 100)
    row = dict(clean)
    columns = [column for column in table.columns if not column.primary_key]
    for column in rng.sample(columns, min(len(columns), rng.choice([0, 0, 1, 1, 2, 3]))):
        row[column.name] = value(rng, kind_of(column))
    yield row
    for name, dirt in row.items():
        yield {**clean, name: dirt}
    yield clean


def _is_stored(source: Source, table: str, row: dict[str, Value]) -> bool:
    try:
        put(source, table, row)
    except (source.connection.dialect.dbapi.Error, ValueError, OverflowError, UnicodeError):
        source.connection.connection.rollback()
        return False
    return True
