"""Transfers the rows that are new, changed or deleted since the copy, found by fingerprints.

Only ranges of keys whose fingerprints differ are read row by row, so that this takes as long as
verifying and not as long as copying.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.db_migrate.copy import copy_table
from kallithea_tune.db_migrate.engines import Engine, base
from kallithea_tune.db_migrate.plan import Transfer
from kallithea_tune.db_migrate.preflight.fixes import Fixes
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.db_migrate.verify import compare
from kallithea_tune.db_migrate.verify.fingerprint import Fingerprinter, integer_key
from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import Table

    from kallithea_tune.db_migrate.verify.difference import ExpectedRows, TableComparison

BATCH = 500  # rows that one statement fetches or deletes


# Called with the name of a table and a row of the source, in storage form, that a fix touches.
OnFixed = Callable[[str, Row], None]


@dataclass
class Change:
    """How many rows of a table were transferred."""

    table: str
    new: int = 0
    changed: int = 0
    deleted: int = 0


class CaughtUp(NamedTuple):
    """The tables that changed, and the verification of all tables after that."""

    changes: list[Change]
    verified: list[TableComparison]


@dataclass
class _DifferingKeys:
    """The keys of the rows of one table that differ, eight bytes each."""

    change: Change
    in_source: array[int] = field(default_factory=lambda: array("q"))
    in_target: array[int] = field(default_factory=lambda: array("q"))

    def note(self, key: object, in_source: bool, in_target: bool) -> None:
        self.change.new += not in_target
        self.change.deleted += not in_source
        self.change.changed += in_source and in_target
        if isinstance(key, int):
            if in_source:
                self.in_source.append(key)
            if in_target:
                self.in_target.append(key)


class _ByKey(base.Reader):
    """Reads the rows with certain keys, as if there were no others."""

    def __init__(self, source: Engine, keys: Sequence[int]) -> None:
        super().__init__(source.connection)
        self._fingerprinter, self._keys = Fingerprinter(source), keys

    def rows(self, table: Table, where: str = "") -> Iterator[Sequence[Row]]:
        """Yield the rows in storage form."""
        for start in range(0, len(self._keys), BATCH):
            keys = self._keys[start : start + BATCH]
            yield self._fingerprinter.stored_rows(table, keys)


class _Observed:
    """The fixes, with a call for each row that they touch: not all of those are transferred."""

    def __init__(self, fixes: ExpectedRows, on_fixed: OnFixed) -> None:
        self._fixes, self._on_fixed = fixes, on_fixed

    def touches(self, table: str) -> bool:
        """Tell whether rows of `table` may be changed."""
        return self._fixes.touches(table)

    def expected(self, table: str, columns: Sequence[str], row: Row) -> Optional[Row]:
        """Return what a row becomes."""
        expected = self._fixes.expected(table, columns, row)
        if expected != row:
            self._on_fixed(table, row)
        return expected


def apply_changes(
    transfer: Transfer,
    last_keys: Mapping[str, int],
    progress: Optional[compare.Progress] = None,
    fixes: Optional[Fixes] = None,
    on_fixed: OnFixed = lambda table, row: None,
) -> CaughtUp:
    """Make the target contain what the source does, as the `fixes` change its rows.

    `on_fixed` is called before anything is written, at least once for each new or changed row that
    is fixed. The caller commits. Raises Refused when the target has rows above `last_keys`, the
    highest keys that were transferred before, by table: somebody else wrote these.
    """
    keys = {table.name: _DifferingKeys(Change(table.name)) for table in transfer.tables}

    def note(table: str, key: object, in_source: bool, in_target: bool) -> None:
        if not in_source and isinstance(key, int) and key > last_keys.get(table, key):
            raise Refused(
                f"the target has rows that the source never had ({table} has the key {key}), and "
                "--catch-up would delete them; --replace starts over"
            )
        keys[table].note(key, in_source, in_target)

    # The second comparison reads only what was written between the two.
    source = Fingerprinter(transfer.source, keeping=True)
    target = Fingerprinter(transfer.target, keeping=True)
    expected = _Observed(fixes, on_fixed) if fixes else None
    compared = compare.compare_tables(source, target, transfer.tables, progress, expected, note)
    verified = list(compared)
    differing = {item.table for item in verified if item.differences}
    if differing:
        touched = transfer.only(differing)
        writer = transfer.target.writer
        before = writer.rows_written()
        changed = _apply(touched, keys, fixes or Fixes())
        # Rows that others refer to may have been deleted.
        writer.end_changes(_referring(transfer.copies, differing))
        after = writer.rows_written()
        again = touched.tables
        if before is None or after is None or after - before != changed:
            # Others may have been written, too, by a trigger.
            again = transfer.tables
            target.forget_all()
        for name in differing:
            target.forget(name, [*keys[name].in_source, *keys[name].in_target])
        # The rest was equal a moment ago, in the same two transactions.
        compared = compare.compare_tables(source, target, again, fixes=fixes)
        later = {item.table: item for item in compared}
        verified = [later.get(item.table, item) for item in verified]
    return CaughtUp([keys[table].change for table in keys if table in differing], verified)


def _apply(
    touched: Transfer,
    keys: Mapping[str, _DifferingKeys],
    fixes: Fixes,
) -> int:
    """Return how many rows were deleted and inserted."""
    source, target, changed = touched.source, touched.target, 0
    target.writer.begin_changes()
    # Changed rows are deleted and inserted again, so that two of them can swap unique values;
    # foreign keys are checked at the end.
    for copy in reversed(touched.copies):
        changed += _delete(target, copy, keys[copy.name].in_target)
    for table, copy in touched.pairs:
        reader = source.reader
        if integer_key(table) is not None:
            reader = _ByKey(source, keys[table.name].in_source)
        amend = fixes.amend(table.name) or (lambda batch: batch)
        changed += copy_table(reader, target.writer, table, copy, amend=amend)
    return changed


def _referring(copies: Sequence[Table], touched: set[str]) -> list[Table]:
    """Return the `touched` tables and those that refer to them: their references may be broken."""
    return [
        copy
        for copy in copies
        if copy.name in touched
        or any(key.referred_table.name in touched for key in copy.foreign_key_constraints)
    ]


def _delete(target: Engine, table: Table, keys: Sequence[int]) -> int:
    """Delete the rows with `keys`, all of a table without an integer key; return how many."""
    import sqlalchemy

    name, key = target.quoted_in_text(table.name), integer_key(table)
    if key is None:
        return int(target.connection.execute(sqlalchemy.text(f"DELETE FROM {name}")).rowcount)
    column = target.quoted_in_text(key.name)
    for start in range(0, len(keys), BATCH):
        batch = ", ".join(map(str, keys[start : start + BATCH]))
        target.connection.execute(
            sqlalchemy.text(f"DELETE FROM {name} WHERE {column} IN ({batch})")
        )
    return len(keys)
