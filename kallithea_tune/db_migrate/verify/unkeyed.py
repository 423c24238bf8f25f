"""The comparison of tables that have no integer key: the rows of both sides are read, and sorted
into buckets.

Slower than ranges of keys, and meant for the few rows of tables that are in no model.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Sequence

from kallithea_tune.db_migrate.verify.difference import Difference, Differences, Row, Wanted, row_of

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.verify.fingerprint import Side

BUCKETS = 1024
LOOKED_INTO = (
    16  # differing buckets whose rows are compared; with more of them, counts are lower bounds
)

Rows = Callable[[], Iterator[Row]]


def check(
    table: Table,
    sides: Sequence[Side],
    fixes: Optional[Wanted],
    each: Any = None,
) -> tuple[tuple[int, int], list[tuple[str, str]], list[Difference]]:
    """Return rows, checksums of the columns and differences of one table."""
    columns = list(table.columns)
    places = [columns.index(column) for column in table.primary_key.columns] or list(
        range(len(columns))
    )

    def source() -> Iterator[Row]:
        names = [column.name for column in columns]
        for stored in sides[0].all_rows(table):
            fixed = fixes.expected(table.name, names, stored) if fixes else stored
            if fixed is not None:
                yield row_of(columns, fixed)

    def target() -> Iterator[Row]:
        return (row_of(columns, stored) for stored in sides[1].all_rows(table))

    sums = [_sums(rows, places, len(columns)) for rows in (source, target)]
    unlike = [number for number in range(BUCKETS) if sums[0][number] != sums[1][number]]
    found = Differences(table.name, columns, each)
    if unlike:
        chosen = frozenset(unlike[:LOOKED_INTO])
        _name(
            found,
            _rows_in(chosen, source, places),
            _rows_in(chosen, target, places),
            len(places) < len(columns),
        )
    totals = [[sum(item) % (1 << 64) for item in zip(*side)] for side in sums]
    checksums = [(f"{one:016x}", f"{two:016x}") for one, two in zip(totals[0][1:], totals[1][1:])]
    return (totals[0][0], totals[1][0]), checksums, found.found(at_least=len(unlike) > LOOKED_INTO)


def _sums(rows: Rows, places: Sequence[int], width: int) -> list[list[int]]:
    """Return for each bucket the number of rows, and for each column the sum of the digests of key
    and value.
    """
    sums = [[0] * (width + 1) for _ in range(BUCKETS)]
    for row in rows():
        key = _key(row, places)
        bucket = sums[_bucket(key)]
        bucket[0] += 1
        for number, pieces in enumerate(row, 1):
            bucket[number] = (bucket[number] + _digest((key, pieces))) % (1 << 64)
    return sums


def _rows_in(
    buckets: frozenset[int], rows: Rows, places: Sequence[int]
) -> Counter[tuple[Any, Row]]:
    keyed = ((_key(row, places), row) for row in rows())
    return Counter((key, row) for key, row in keyed if _bucket(key) in buckets)


def _name(found: Differences, source: Counter[Any], target: Counter[Any], by_key: bool) -> None:
    gone, come = source - target, target - source
    there = {key: row for key, row in come.elements()} if by_key else {}
    for key, row in sorted(gone.elements(), key=repr):
        found.add(_named(key), row, there.pop(key, None))
    for key, row in sorted(there.items() if by_key else come.elements(), key=repr):
        found.add(_named(key), None, row)


def _key(row: Row, places: Sequence[int]) -> Row:
    return tuple(row[place] for place in places)


def _named(key: Row) -> str:
    """Return a key as it is shown: the values, a long one as its digest."""
    return ", ".join(pieces[-1] for pieces in key)


def _bucket(key: Row) -> int:
    return _digest(key) % BUCKETS


def _digest(value: Any) -> int:
    return int(hashlib.sha256(repr(value).encode("utf-8", "surrogateescape")).hexdigest()[:16], 16)
