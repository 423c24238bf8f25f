"""How long a migration takes, from a sample that is verified and copied into a temporary table."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Sequence, TypeVar

from kallithea_tune.db_migrate.copy import Amend, copy_table
from kallithea_tune.db_migrate.engines import Engine, base
from kallithea_tune.db_migrate.engines.base.reading import Lines
from kallithea_tune.db_migrate.plan import Plan, Transfer
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.db_migrate.verify.fingerprint import ROWS, Fingerprinter, KeyRange, integer_key

if TYPE_CHECKING:
    from sqlalchemy import Table

NAME = "kallithea_tune_sample"
SAMPLE = 20000  # rows at most
SECONDS = 3.0  # of copying at most
RANGES = 5  # whose fingerprints are computed

T = TypeVar("T")


@dataclass(frozen=True)
class Estimate:
    """What was measured on the largest table, and what follows for all rows, without the keys.

    Rates are rows per second, times seconds; 0 where there is nothing to measure.
    """

    table: str = ""
    rows: int = 0
    copy_rate: float = 0
    verify_rate: float = 0
    copy_seconds: float = 0
    verify_seconds: float = 0

    @property
    def sentence(self) -> str:
        """Describe it to the admin, in lines of 80 columns."""
        if not self.rows:
            return "There are no rows, so this takes a second or two."
        copying, verifying = _about(self.copy_seconds), _about(self.verify_seconds)
        return (
            f"Time: about {copying} to copy and {verifying} to verify, plus keys and indexes.\n"
            f"Measured: {self.rows:,} rows of {self.table} into a temporary table, "
            f"{self.copy_rate:,.0f} rows/s."
        )


class _Sampled(base.Reader):
    """Another reader that stops early."""

    def __init__(self, reader: base.Reader) -> None:
        super().__init__(reader.connection)
        self._reader = reader

    def rows(self, table: Table, where: str = "") -> Iterator[Sequence[Row]]:
        """Yield the first rows."""
        yield from _first(self._reader.rows(table, where), len)

    def lines(self, table: Table, keep_nul: bool) -> Lines:
        """Yield the text of the first rows."""
        yield from _first(self._reader.lines(table, keep_nul), lambda piece: piece[0])


def _first(pieces: Iterator[T], count: Callable[[T], int]) -> Iterator[T]:
    done, end = 0, time.perf_counter() + SECONDS
    for piece in pieces:
        yield piece
        done += count(piece)
        if done >= SAMPLE or time.perf_counter() > end:
            return


def measure(transfer: Transfer, plan: Plan, amend: Callable[[str], Optional[Amend]]) -> Estimate:
    """Measure a sample of the largest table, with what `amend` does to the rows of each table.

    The temporary table is dropped with the connection; the snapshot of the source is of no use
    afterwards.
    """
    largest = max(plan.tables, key=lambda table: table.rows, default=None)
    if largest is None or not largest.rows:
        return Estimate()
    ((table, copy),) = transfer.only({largest.name}).pairs
    verify_rate = _rate(lambda: _verify_sample(transfer.source, table))
    temporary = _temporary(copy)
    temporary.create(transfer.target.connection)
    sampled = _Sampled(transfer.source.reader)
    rows = 0

    def copy_sample() -> int:
        nonlocal rows
        writer, changes = transfer.target.writer, amend(table.name)
        rows = copy_table(sampled, writer, table, temporary, amend=changes)
        return rows

    copy_rate = _rate(copy_sample)
    return Estimate(
        largest.name,
        rows,
        copy_rate,
        verify_rate,
        plan.rows / copy_rate,
        plan.rows / verify_rate if verify_rate else 0,
    )


def _rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    done = work()
    return done / max(time.perf_counter() - started, 0.001)


def _verify_sample(source: Engine, table: Table) -> int:
    if integer_key(table) is None:
        return 0
    fingerprinter, low, done = Fingerprinter(source), None, 0
    for _ in range(RANGES):
        high = fingerprinter.next_key(table, low, ROWS)
        done += fingerprinter.fingerprint(table, KeyRange(low, high)).rows
        if high is None:
            break
        low = high
    return done


def _temporary(copy: Table) -> Table:
    import sqlalchemy

    columns = [
        sqlalchemy.Column(
            column.name,
            column.type,
            primary_key=column.primary_key,
            nullable=column.nullable,
            autoincrement=False,
        )
        for column in copy.columns
    ]
    return sqlalchemy.Table(NAME, sqlalchemy.MetaData(), *columns, prefixes=["TEMPORARY"])


def _about(seconds: float) -> str:
    if seconds < 2:
        return "a second"
    return f"{int(seconds)} s" if seconds < 120 else f"{round(seconds / 60)} min"
