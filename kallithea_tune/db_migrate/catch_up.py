"""The second round: rows that are new, changed or gone since the copy, found by fingerprints and
brought over.

Ranges of keys whose fingerprints are the same on both sides are not looked into, so that this takes
as long as verifying, and not as long as copying.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.db_migrate.copy import Amend, End, copy_table
from kallithea_tune.db_migrate.engines import Dialect
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.db_migrate.verify import compare
from kallithea_tune.db_migrate.verify.fingerprint import Side, integer_key
from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from kallithea_tune.db_migrate.verify.compare import Checked
    from kallithea_tune.db_migrate.verify.difference import Wanted

TOGETHER = 500  # rows that are fetched or deleted by one statement


@dataclass
class Change:
    """How many rows of a table were brought over."""

    table: str
    new: int = 0
    changed: int = 0
    deleted: int = 0


@dataclass
class _Found:
    """The keys of the rows of one table that differ, eight bytes each."""

    change: Change
    wanted: array[int] = field(default_factory=lambda: array("q"))
    unwanted: array[int] = field(default_factory=lambda: array("q"))

    def note(self, key: Any, in_source: bool, in_target: bool) -> None:
        self.change.new += not in_target
        self.change.deleted += not in_source
        self.change.changed += in_source and in_target
        if isinstance(key, int):
            if in_source:
                self.wanted.append(key)
            if in_target:
                self.unwanted.append(key)


class _Chosen(Dialect):
    """Reads the rows with certain keys, as if there were no others."""

    __dialect__ = "chosen rows"

    def __init__(self, keys: Sequence[int]) -> None:
        self._keys = keys

    def rows(
        self, connection: Connection, table: Table, where: str = ""
    ) -> Iterator[Sequence[Row]]:
        """Yield the rows in storage form."""
        side = Side(connection)
        for start in range(0, len(self._keys), TOGETHER):
            yield side.stored_rows(table, self._keys[start : start + TOGETHER])


def bring(
    source: End,
    target: End,
    tables: Sequence[Table],
    copies: Sequence[Table],
    last_keys: Mapping[str, int],
    progress: Optional[compare.Progress] = None,
    fixes: Optional[Wanted] = None,
    amend: Optional[Callable[[str], Optional[Amend]]] = None,
) -> tuple[list[Change], list[Checked]]:
    """Make `tables` of the target hold what the source holds, as `fixes` make it and `amend` does
    for each table; return what was changed, and the verification after it.

    It is for the caller to commit. Raises Refused when the target has rows beyond `last_keys`, the
    greatest keys that were brought over before: someone else wrote these.
    """
    found = {table.name: _Found(Change(table.name)) for table in tables}

    def note(name: str, key: Any, in_source: bool, in_target: bool) -> None:
        if not in_source and isinstance(key, int) and key > last_keys.get(name, key):
            raise Refused(
                "the target was written to since it was filled (%s has the key %d), and catching up would"
                " undo that; --replace starts over" % (name, key)
            )
        found[name].note(key, in_source, in_target)

    # One moment, though it is looked at twice: in the end only the target is read again.
    side = Side(source.connection, unchanging=True)
    checked = list(compare.check(side, target.connection, tables, progress, fixes, note))
    unlike = {item.table for item in checked if item.differences}
    touched = [(table, copy) for table, copy in zip(tables, copies) if table.name in unlike]
    if touched:
        _apply(source, target, touched, found, amend or (lambda name: None))
        # Rows that others refer to may have gone.
        target.dialect.end_changes(
            target.connection, _holding(copies, {copy.name for _, copy in touched})
        )
        # The others were just seen to be the same, in the same two transactions.
        again = compare.check(side, target.connection, [table for table, _ in touched], fixes=fixes)
        later = {item.table: item for item in again}
        checked = [later.get(item.table, item) for item in checked]
    return [found[name].change for name in found if name in unlike], checked


def _apply(
    source: End,
    target: End,
    touched: Sequence[tuple[Table, Table]],
    found: Mapping[str, _Found],
    amend: Callable[[str], Optional[Amend]],
) -> None:
    target.dialect.begin_changes(target.connection)
    # Changed rows go and come again, so that unique values can change hands; foreign keys are
    # checked at the end.
    for _, copy in reversed(touched):
        _delete(target, copy, found[copy.name].unwanted)
    for table, copy in touched:
        chosen = (
            source
            if integer_key(table) is None
            else End(source.connection, _Chosen(found[table.name].wanted))
        )
        copy_table(
            chosen,
            target,
            table,
            copy,
            lambda number: None,
            amend(table.name) or (lambda rows: rows),
        )


def _holding(copies: Sequence[Table], touched: set[str]) -> list[Table]:
    """Return the tables whose references may lead nowhere now: those that were `touched`, or refer
    to such a one.
    """
    return [
        copy
        for copy in copies
        if touched
        & {
            copy.name,
            *(constraint.referred_table.name for constraint in copy.foreign_key_constraints),
        }
    ]


def _delete(target: End, table: Table, keys: Sequence[int]) -> None:
    import sqlalchemy

    name, key = target.dialect.quoted(target.connection, table.name), integer_key(table)
    if key is None:
        target.connection.execute(sqlalchemy.text(f"DELETE FROM {name}"))
        return
    where = target.dialect.quoted(target.connection, key.name)
    for start in range(0, len(keys), TOGETHER):
        some = ", ".join(map(str, keys[start : start + TOGETHER]))
        target.connection.execute(sqlalchemy.text(f"DELETE FROM {name} WHERE {where} IN ({some})"))
