"""Source and target compared: every column of every table, by range of keys, down to the row.

Both sides compute fingerprints at the same time. Only ranges whose fingerprints differ are fetched.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import (
    TYPE_CHECKING,
    Callable,
    Iterator,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from kallithea_tune.db_migrate.verify import unkeyed
from kallithea_tune.db_migrate.verify.difference import (
    Difference,
    Differences,
    ExpectedRows,
    OnDifference,
    TableComparison,
    merged,
)
from kallithea_tune.db_migrate.verify.fingerprint import (
    ROWS,
    Fingerprinter,
    KeyRange,
    RangeFingerprint,
    integer_key,
    ranges,
)
from kallithea_tune.db_migrate.verify.pieces import RowPieces, written_row

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.engines import Engine


RANGES_AHEAD = 8  # that one side may be ahead of the other
ROWS_TOGETHER = 100  # that are fetched at a time to apply fixes to them
SOURCE, TARGET = 0, 1

# Receives the name of the table and how many of its rows were compared since the last call.
Progress = Callable[[str, int], None]

_Unlike = Tuple[int, Optional[RowPieces], Optional[RowPieces]]
_T = TypeVar("_T")


def differences(
    source: Engine,
    target: Engine,
    tables: Sequence[Table],
    progress: Optional[Progress] = None,
    fixes: Optional[ExpectedRows] = None,
) -> list[Difference]:
    """Return every difference between the `tables` of two databases.

    What `fixes` change in a row is no difference. The connections are used by one thread each, and
    not committed.
    """
    compared = compare_tables(source, target, tables, progress, fixes)
    return [item for comparison in compared for item in comparison.differences]


def compare_tables(
    source: Union[Engine, Fingerprinter],
    target: Union[Engine, Fingerprinter],
    tables: Sequence[Table],
    progress: Optional[Progress] = None,
    fixes: Optional[ExpectedRows] = None,
    on_difference: Optional[OnDifference] = None,
) -> Iterator[TableComparison]:
    """Yield the comparison of each table; `on_difference` is called for every row that differs."""
    sides = [
        side if isinstance(side, Fingerprinter) else Fingerprinter(side)
        for side in (source, target)
    ]
    with ThreadPoolExecutor(1) as worker:
        for table in tables:
            applied = fixes if fixes and fixes.touches(table.name) else None
            if integer_key(table) is None:
                yield unkeyed.compare_table(table, sides, applied, on_difference)
            else:
                hooks = _Hooks(applied, progress, on_difference)
                yield _RangeComparison(table, sides, worker, hooks).run()


class _Hooks(NamedTuple):
    fixes: Optional[ExpectedRows]
    progress: Optional[Progress]
    on_difference: Optional[OnDifference]


class _RangeComparison:
    """The comparison of one table with an integer key.

    This thread uses one side, the worker the other one. SQLite's connections may be bound to the
    thread that made them, so that they are always used here.
    """

    def __init__(
        self,
        table: Table,
        sides: Sequence[Fingerprinter],
        worker: ThreadPoolExecutor,
        hooks: _Hooks,
    ) -> None:
        self._table, self._sides, self._worker = table, sides, worker
        self._fixes, self._progress, _ = hooks
        self._columns = list(table.columns)
        is_local = [side.engine.connection.dialect.name == "sqlite" for side in sides]
        self._here = TARGET if is_local[TARGET] and not is_local[SOURCE] else SOURCE
        self._all_here = all(is_local)
        self._rows = [0, 0]
        self._sums = [[0, 0] for _ in self._columns]
        self._differences = Differences(table.name, self._columns, hooks.on_difference)

    def run(self) -> TableComparison:
        """Compare range after range."""
        pending: deque[tuple[KeyRange, list[Future[RangeFingerprint]]]] = deque()
        try:
            for keys in ranges(self._sides[self._here], self._table):
                pending.append((keys, self._begin(keys)))
                if len(pending) > RANGES_AHEAD:
                    self._settle(*pending.popleft())
            while pending:
                self._settle(*pending.popleft())
        finally:
            for _, futures in pending:
                futures[1 - self._here].cancel()
        checksums = {
            column.name: (f"{source:016x}", f"{target:016x}")
            for column, (source, target) in zip(self._columns, self._sums)
        }
        rows = self._rows[SOURCE], self._rows[TARGET]
        return TableComparison(self._table.name, rows, checksums, self._differences.sorted())

    def _begin(self, keys: KeyRange) -> list[Future[RangeFingerprint]]:
        """Request the fingerprints of both sides, the worker's first, so that both work at once."""
        requests: dict[int, Future[RangeFingerprint]] = {}
        for side in (1 - self._here, self._here):
            requests[side] = self._request(side, lambda used: used.fingerprint(self._table, keys))
        return [requests[SOURCE], requests[TARGET]]

    def _request(self, side: int, query: Callable[[Fingerprinter], _T]) -> Future[_T]:
        if side != self._here and not self._all_here:
            return self._worker.submit(query, self._sides[side])
        answered: Future[_T] = Future()
        answered.set_result(query(self._sides[side]))
        return answered

    def _settle(self, keys: KeyRange, requests: Sequence[Future[RangeFingerprint]]) -> None:
        """Compare the fingerprints of a range, and its rows where they differ."""
        source, target = (request.result() for request in requests)
        if source != target or not source.complete:
            counts = self._compare_rows(keys)
        else:
            counts = source.rows, target.rows
        for side, fingerprint in enumerate((source, target)):
            self._rows[side] += counts[side]
            for sums, digest in zip(self._sums, fingerprint.digests):
                text = f"{keys.low}:{digest}"
                part = int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)
                sums[side] = (sums[side] + part) % (1 << 64)
        if self._progress:
            self._progress(self._table.name, counts[SOURCE])

    def _compare_rows(self, keys: KeyRange) -> tuple[int, int]:
        """Compare row by row; return how many rows each side has."""
        counts = [0, 0]
        unlike: list[_Unlike] = []
        for key, source, target in merged(self._fetch(SOURCE, keys), self._fetch(TARGET, keys)):
            counts[SOURCE] += source is not None
            counts[TARGET] += target is not None
            if source != target:
                unlike.append((key, source, target))
            if len(unlike) == ROWS_TOGETHER:
                self._add(unlike)
                unlike = []
        self._add(unlike)
        return counts[SOURCE], counts[TARGET]

    def _fetch(self, side: int, keys: KeyRange) -> Iterator[tuple[int, RowPieces]]:
        while True:
            page = self._page(side, keys)
            yield from page
            if len(page) < ROWS:
                return
            keys = KeyRange(page[-1][0] + 1, keys.high)

    def _page(self, side: int, keys: KeyRange) -> list[tuple[int, RowPieces]]:
        request = self._request(side, lambda used: used.rows(self._table, self._columns, keys))
        return request.result()

    def _add(self, unlike: Sequence[_Unlike]) -> None:
        fixed = self._fixed([key for key, source, _ in unlike if source is not None])
        for key, source, target in unlike:
            expected = fixed.get(key, source)
            if expected != target:
                self._differences.add(key, expected, target)

    def _fixed(self, keys: Sequence[int]) -> dict[int, Optional[RowPieces]]:
        """Return rows of the source as the fixes change them; None for those left out."""
        fixed: dict[int, Optional[RowPieces]] = {}
        if keys and self._fixes:
            names = [column.name for column in self._columns]
            place = self._columns.index(next(iter(self._table.primary_key.columns)))
            request = self._request(SOURCE, lambda used: used.stored_rows(self._table, keys))
            for row in request.result():
                expected = self._fixes.expected(self._table.name, names, row)
                key = row[place]
                assert isinstance(key, int)
                fixed[key] = None if expected is None else written_row(self._columns, expected)
        return fixed
