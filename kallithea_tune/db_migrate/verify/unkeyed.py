"""The comparison of tables without an integer key: all rows of both sides are read.

Slower than ranges of keys, and meant for the few rows of tables that no model describes. Many rows
are sorted into buckets by their key, and only rows of buckets that differ are compared, so that
memory stays flat.
"""

from __future__ import annotations

import collections
import hashlib
from typing import TYPE_CHECKING, Callable, Counter, Iterator, Optional, Sequence, Tuple

from kallithea_tune.config.redact import MASK
from kallithea_tune.config.secret_names import is_secret_column
from kallithea_tune.db_migrate.verify.difference import (
    Differences,
    ExpectedRows,
    OnDifference,
    TableComparison,
)
from kallithea_tune.db_migrate.verify.pieces import RowPieces, written_row

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.verify.fingerprint import Fingerprinter

ROWS_TOGETHER = 10000  # in one bucket, as long as there are no more than MOST_BUCKETS
MOST_BUCKETS = 1024
# Differing buckets whose rows are compared; with more of them, counts are lower bounds.
MOST_EXAMINED = 16

Rows = Callable[[], Iterator[RowPieces]]
KeyedRows = Counter[Tuple[RowPieces, RowPieces]]


def compare_table(
    table: Table,
    sides: Sequence[Fingerprinter],
    fixes: Optional[ExpectedRows],
    on_difference: Optional[OnDifference],
) -> TableComparison:
    """Compare one table."""
    columns = list(table.columns)
    most_rows = max(side.row_count(table) for side in sides)
    buckets = Buckets(table, min(MOST_BUCKETS, most_rows // ROWS_TOGETHER + 1))

    def source() -> Iterator[RowPieces]:
        names = [column.name for column in columns]
        for row in sides[0].all_rows(table):
            expected = fixes.expected(table.name, names, row) if fixes else row
            if expected is not None:
                yield written_row(columns, expected)

    def target() -> Iterator[RowPieces]:
        return (written_row(columns, row) for row in sides[1].all_rows(table))

    here, there = buckets.sums(source), buckets.sums(target)
    unlike = [number for number in range(buckets.number) if here[number] != there[number]]
    differences = Differences(table.name, columns, on_difference)
    if unlike:
        examined = frozenset(unlike[:MOST_EXAMINED])
        _add_differences(
            differences,
            buckets.rows_in(examined, source),
            buckets.rows_in(examined, target),
            buckets,
        )
    counts, *sums = zip(_totals(here), _totals(there))
    checksums = {
        column.name: (f"{one:016x}", f"{other:016x}") for column, (one, other) in zip(columns, sums)
    }
    found = differences.sorted(at_least=len(unlike) > MOST_EXAMINED)
    return TableComparison(table.name, counts, checksums, found)


class Buckets:
    """Divides the rows of a table by their primary key, or all columns where there is none."""

    def __init__(self, table: Table, number: int) -> None:
        columns = list(table.columns)
        self.number, self._width = number, len(columns)
        key = [columns.index(column) for column in table.primary_key.columns]
        self._places = key or list(range(len(columns)))
        self._secret = [is_secret_column(columns[place].name) for place in self._places]

    @property
    def key_is_row(self) -> bool:
        """Whether every column is part of the key."""
        return len(self._places) == self._width

    def sums(self, rows: Rows) -> list[list[int]]:
        """Return for each bucket the number of rows, and for each column a sum of digests.

        The digests are those of key and value.
        """
        sums = [[0] * (self._width + 1) for _ in range(self.number)]
        for row in rows():
            key = self._key(row)
            bucket = sums[self._bucket(key)]
            bucket[0] += 1
            for number, pieces in enumerate(row, 1):
                bucket[number] = (bucket[number] + _digest((key, pieces))) % (1 << 64)
        return sums

    def rows_in(self, buckets: frozenset[int], rows: Rows) -> KeyedRows:
        """Count the rows of some buckets, with their keys."""
        keyed = ((self._key(row), row) for row in rows())
        return collections.Counter((key, row) for key, row in keyed if self._bucket(key) in buckets)

    def _key(self, row: RowPieces) -> RowPieces:
        return tuple(row[place] for place in self._places)

    def shown_key(self, key: RowPieces) -> str:
        """Return a key as it is shown: the values, a long one as its digest, secrets masked."""
        parts = zip(key, self._secret)
        return ", ".join(MASK if is_secret else pieces[-1] for pieces, is_secret in parts)

    def _bucket(self, key: RowPieces) -> int:
        return _digest(key) % self.number if self.number > 1 else 0


def _totals(sums: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) % (1 << 64) for column in zip(*sums)]


def _add_differences(
    differences: Differences, source: KeyedRows, target: KeyedRows, buckets: Buckets
) -> None:
    has_key = not buckets.key_is_row
    missing, extra = source - target, target - source
    changed = dict(extra.elements()) if has_key else {}
    for key, row in sorted(missing.elements(), key=repr):
        differences.add(buckets.shown_key(key), row, changed.pop(key, None))
    for key, row in sorted(changed.items() if has_key else extra.elements(), key=repr):
        differences.add(buckets.shown_key(key), None, row)


def _digest(value: object) -> int:
    octets = repr(value).encode("utf-8", "surrogateescape")
    return int(hashlib.sha256(octets).hexdigest()[:16], 16)
