"""Source and target held against one another: every column of every table, by range of keys, down
to the row.

What is copied is not believed: both engines compute fingerprints of what they hold (see
`fingerprint`), at the same time. Only ranges whose fingerprints differ are fetched.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Sequence, Union

from kallithea_tune.db_migrate.verify import unkeyed
from kallithea_tune.db_migrate.verify.difference import (
    Difference,
    Differences,
    Row,
    Wanted,
    merged,
    row_of,
)
from kallithea_tune.db_migrate.verify.fingerprint import ROWS, Print, Range, Side, integer_key

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection


AHEAD = 8  # ranges that one side may be ahead of the other
TOGETHER = 100  # rows that are fetched at a time to see what fixes make of them
SOURCE, TARGET = 0, 1

# Told the name of the table and how many rows of it were checked since the last call.
Progress = Callable[[str, int], None]
# Told of every row that differs: table, key, and whether the source and the target have it.
Each = Callable[[str, Any, bool, bool], None]


@dataclass
class Checked:
    """What was found of one table: rows on both sides, a checksum of every column on both sides,
    differences.

    The checksums do not depend on the order of the rows; those of the two sides are equal where
    nothing differs.
    """

    table: str
    rows: tuple[int, int]
    checksums: dict[str, tuple[str, str]]
    differences: list[Difference] = field(default_factory=list)


def compare(
    source: Connection,
    target: Connection,
    tables: Sequence[Table],
    progress: Optional[Progress] = None,
    fixes: Optional[Wanted] = None,
) -> list[Difference]:
    """Return every difference between the `tables` of two databases; nothing where they hold the
    same.

    What `fixes` make of a row is no difference. The connections are used by one thread each, and
    not committed.
    """
    return [
        item
        for checked in check(source, target, tables, progress, fixes)
        for item in checked.differences
    ]


def check(
    source: Union[Connection, Side],
    target: Connection,
    tables: Sequence[Table],
    progress: Optional[Progress] = None,
    fixes: Optional[Wanted] = None,
    each: Optional[Each] = None,
) -> Iterator[Checked]:
    """Yield what `compare` returns table by table, with rows and checksums; `each` is told of every
    row.
    """
    sides = source if isinstance(source, Side) else Side(source), Side(target)
    with ThreadPoolExecutor(1) as worker:
        for table in tables:
            applied = fixes if fixes and fixes.touches(table.name) else None
            if integer_key(table) is None:
                rows, sums, differences = unkeyed.check(table, sides, applied, each)
            else:
                rows, sums, differences = _Check(
                    table, sides, worker, applied, progress, each
                ).run()
            names = [column.name for column in table.columns]
            yield Checked(table.name, rows, dict(zip(names, sums)), differences)


class _Check:
    """The check of one table with an integer key. One side is asked by this thread, the other one
    by the worker.

    SQLite's connections may be bound to the thread that made them, so that they are always asked
    here.
    """

    def __init__(
        self,
        table: Table,
        sides: Sequence[Side],
        worker: ThreadPoolExecutor,
        fixes: Optional[Wanted],
        progress: Optional[Progress],
        each: Optional[Each],
    ) -> None:
        self._table, self._sides, self._worker, self._fixes, self._progress = (
            table,
            sides,
            worker,
            fixes,
            progress,
        )
        self._columns = list(table.columns)
        local = [side.connection.dialect.name == "sqlite" for side in sides]
        self._here = TARGET if local[TARGET] and not local[SOURCE] else SOURCE
        self._alone = all(local)
        self._rows = [0, 0]
        self._sums = [[0, 0] for _ in self._columns]
        self._differences = Differences(table.name, self._columns, each)

    def run(self) -> tuple[tuple[int, int], list[tuple[str, str]], list[Difference]]:
        """Compare range after range; return rows, checksums of the columns, and differences."""
        pending: deque[tuple[Range, list[Future[Print]]]] = deque()
        try:
            for limits in self._ranges():
                # The other one first, so that both work at the same time.
                order = sorted((SOURCE, TARGET), key=lambda number: number == self._here)
                asked = {
                    number: self._ask(number, Side.print, self._table, limits) for number in order
                }
                pending.append((limits, [asked[SOURCE], asked[TARGET]]))
                if len(pending) > AHEAD:
                    self._settle(*pending.popleft())
            while pending:
                self._settle(*pending.popleft())
        finally:
            for _, futures in pending:
                futures[1 - self._here].cancel()
        sums = [(f"{source:016x}", f"{target:016x}") for source, target in self._sums]
        return (self._rows[SOURCE], self._rows[TARGET]), sums, self._differences.found()

    def _ranges(self) -> Iterator[Range]:
        """Cut the keys into ranges that hold `ROWS` rows each on the side here, open at both
        ends.
        """
        low = None
        while True:
            high = self._sides[self._here].next_key(self._table, low, ROWS)
            yield Range(low, high)
            if high is None:
                return
            low = high

    def _ask(self, number: int, question: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if number != self._here and not self._alone:
            return self._worker.submit(question, self._sides[number], *arguments)
        answered: Future[Any] = Future()
        answered.set_result(question(self._sides[number], *arguments))
        return answered

    def _settle(self, limits: Range, asked: Sequence[Future[Print]]) -> None:
        """Compare the fingerprints of a range, add them to the checksums, and go into the rows
        where they differ.
        """
        prints = [future.result() for future in asked]
        if prints[SOURCE] != prints[TARGET] or not prints[SOURCE].whole:
            counts = self._examine(limits)
        else:
            counts = prints[SOURCE].rows, prints[TARGET].rows
        for number, found in enumerate(prints):
            self._rows[number] += counts[number]
            for sums, digest in zip(self._sums, found.digests):
                text = f"{limits.low}:{digest}"
                sums[number] = (
                    sums[number] + int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)
                ) % (1 << 64)
        if self._progress:
            self._progress(self._table.name, counts[SOURCE])

    def _examine(self, limits: Range) -> tuple[int, int]:
        """Compare row by row; return how many rows each side has."""
        counts = [0, 0]
        unlike: list[tuple[Any, Optional[Row], Optional[Row]]] = []
        for key, source, target in merged(self._fetch(SOURCE, limits), self._fetch(TARGET, limits)):
            counts[SOURCE] += source is not None
            counts[TARGET] += target is not None
            if source != target:
                unlike.append((key, source, target))
            if len(unlike) == TOGETHER:
                self._note(unlike)
                unlike = []
        self._note(unlike)
        return counts[SOURCE], counts[TARGET]

    def _fetch(self, number: int, limits: Range) -> Iterator[tuple[int, Row]]:
        while True:
            page = self._ask(number, Side.rows, self._table, self._columns, limits).result()
            yield from page
            if len(page) < ROWS:
                return
            limits = Range(page[-1][0] + 1, limits.high)

    def _note(self, unlike: Sequence[tuple[Any, Optional[Row], Optional[Row]]]) -> None:
        wanted = (
            self._wanted([key for key, source, _ in unlike if source is not None])
            if self._fixes
            else {}
        )
        for key, source, target in unlike:
            if wanted.get(key, source) != target:
                self._differences.add(key, wanted.get(key, source), target)

    def _wanted(self, keys: Sequence[int]) -> dict[int, Optional[Row]]:
        """Return what the fixes make of rows of the source; None for those that they leave out."""
        assert self._fixes
        names = [column.name for column in self._columns]
        wanted: dict[int, Optional[Row]] = {}
        if keys:
            place = self._columns.index(next(iter(self._table.primary_key.columns)))
            for row in self._ask(SOURCE, Side.stored_rows, self._table, keys).result():
                fixed = self._fixes.expected(self._table.name, names, row)
                wanted[row[place]] = None if fixed is None else row_of(self._columns, fixed)
        return wanted
