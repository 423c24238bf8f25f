"""How long a migration will take, from a sample that is really read, checked, and written into a
temporary table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Sequence, TypeVar

from kallithea_tune.db_migrate.copy import Amend, End, copy_table
from kallithea_tune.db_migrate.engines.base import Dialect, Lines
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.db_migrate.verify.fingerprint import ROWS, Range, Side, integer_key

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from kallithea_tune.db_migrate.plan import Plan

NAME = "kallithea_tune_sample"
SAMPLE = 20000  # rows at most
SECONDS = 3.0  # of copying at most
RANGES = 5  # whose fingerprints are computed

_T = TypeVar("_T")


@dataclass(frozen=True)
class Estimate:
    """What was measured of the table with the most rows, and what follows for all rows; keys and
    indexes come on top.

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
        """Say it to the admin, in lines of 80 columns."""
        if not self.rows:
            return "There are no rows, so this takes a second or two."
        return "Time: about {} to copy and {} to verify, and the keys and indexes.\n{}".format(
            _about(self.copy_seconds),
            _about(self.verify_seconds),
            f"Measured: {self.rows:,} rows of {self.table} into a temporary table, {self.copy_rate:,.0f} rows/s.",
        )


class _Sampled(Dialect):
    """Another dialect that ends early."""

    __dialect__ = "sample"

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def rows(
        self, connection: Connection, table: Table, where: str = ""
    ) -> Iterator[Sequence[Row]]:
        """Yield the first rows."""
        yield from _first(self._dialect.rows(connection, table, where), len)

    def lines(self, connection: Connection, table: Table, keep_nul: bool) -> Lines:
        """Yield the text of the first rows."""
        yield from _first(self._dialect.lines(connection, table, keep_nul), lambda piece: piece[0])


def _first(pieces: Iterator[_T], count: Callable[[_T], int]) -> Iterator[_T]:
    done, end = 0, time.perf_counter() + SECONDS
    for piece in pieces:
        yield piece
        done += count(piece)
        if done >= SAMPLE or time.perf_counter() > end:
            return


def measure(
    source: End,
    target: End,
    tables: Sequence[Table],
    copies: Sequence[Table],
    plan: Plan,
    amend: Callable[[str], Optional[Amend]],
) -> Estimate:
    """Measure it, with what `amend` does to rows of each table.

    The temporary table goes with the connection; the source's snapshot is of no use afterwards.
    """
    most = max(plan.tables, key=lambda table: table.rows, default=None)
    if most is None or not most.rows:
        return Estimate()
    table = next(table for table in tables if table.name == most.name)
    copy = next(table for table in copies if table.name == most.name)
    verify_rate = _rate(lambda: _verified(source, table))
    into = _temporary(copy)
    into.create(target.connection)
    rows = 0

    def copied() -> int:
        nonlocal rows
        rows = copy_table(
            End(source.connection, _Sampled(source.dialect)),
            target,
            table,
            into,
            lambda number: None,
            amend(table.name),
        )
        return rows

    copy_rate = _rate(copied)
    return Estimate(
        most.name,
        rows,
        copy_rate,
        verify_rate,
        plan.rows / copy_rate,
        plan.rows / verify_rate if verify_rate else 0,
    )


def _rate(work: Callable[[], int]) -> float:
    begun = time.perf_counter()
    done = work()
    return done / max(time.perf_counter() - begun, 0.001)


def _verified(source: End, table: Table) -> int:
    if integer_key(table) is None:
        return 0
    side, low, done = Side(source.connection), None, 0
    for _ in range(RANGES):
        high = side.next_key(table, low, ROWS)
        done += side.print(table, Range(low, high)).rows
        if high is None:
            break
        low = high
    return done


def _temporary(copy: Table) -> Any:
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
    return "%d s" % seconds if seconds < 120 else "%d min" % round(seconds / 60)
