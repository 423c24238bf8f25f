"""Fingerprints of the source that another process computes while rows are being copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional, Sequence

from kallithea_tune.db_migrate.verify.fingerprint import (
    Fingerprinter,
    KeyRange,
    RangeFingerprint,
    integer_key,
    ranges,
)

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.engines import Engine


class Fingerprinted(NamedTuple):
    """A range of keys of one table, and its fingerprint."""

    table: str
    keys: KeyRange
    fingerprint: RangeFingerprint


def fingerprints(source: Engine, tables: Sequence[Table]) -> Iterator[Fingerprinted]:
    """Yield the fingerprints of all ranges of the tables that have an integer key."""
    used = Fingerprinter(source)
    for table in tables:
        if integer_key(table) is not None:
            for keys in ranges(used, table):
                yield Fingerprinted(table.name, keys, used.fingerprint(table, keys))


class FingerprintedAhead(Fingerprinter):
    """Takes fingerprints from `ahead`, in the order of `fingerprints`; computes what is not there.

    That is the case for ranges of other keys, which the other side has where rows differ.
    """

    def __init__(self, source: Engine, ahead: Iterator[Fingerprinted]) -> None:
        super().__init__(source)
        self._ahead = ahead
        self._ready: dict[tuple[str, Optional[int]], Fingerprinted] = {}
        self._complete: set[str] = set()

    def next_key(self, table: Table, low: Optional[int], rows: int) -> Optional[int]:
        """Return where the range that begins with `low` ends."""
        item = self._item(table, low)
        return item.keys.high if item else super().next_key(table, low, rows)

    def fingerprint(self, table: Table, keys: KeyRange) -> RangeFingerprint:
        """Return the fingerprint of the range."""
        item = self._item(table, keys.low)
        if item and item.keys == keys:
            del self._ready[table.name, keys.low]
            return item.fingerprint
        return super().fingerprint(table, keys)

    def _item(self, table: Table, low: Optional[int]) -> Optional[Fingerprinted]:
        while (table.name, low) not in self._ready and table.name not in self._complete:
            item = next(self._ahead, None)
            if item is None:
                return None
            self._ready[item.table, item.keys.low] = item
            if item.keys.high is None:
                self._complete.add(item.table)
        return self._ready.get((table.name, low))
