"""What differs between two databases, down to the row, without showing secrets or long values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Callable,
    Iterable,
    Iterator,
    Optional,
    Protocol,
    Sequence,
    TypeVar,
    Union,
)

from kallithea_tune.config.redact import MASK, Redactor
from kallithea_tune.config.secret_names import is_secret_column
from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.db_migrate.verify.pieces import NULL, SHORT, Pieces, RowPieces, is_long

if TYPE_CHECKING:
    from sqlalchemy import Column

MOST_KEYS = 20  # of a difference that are listed
MOST_CHARACTERS = 60  # of a value that are shown
DIGEST_CHARACTERS = 12  # of a SHA-256 that are shown

Key = Union[int, str]  # a text for tables without an integer key

# Called for every row that differs: table, key, and whether the source and the target have it.
OnDifference = Callable[[str, Key, bool, bool], None]

_K = TypeVar("_K", int, str)


class ExpectedRows(Protocol):
    """Knows how rows were changed on purpose, as `fixes.Fixes` does."""

    def touches(self, table: str) -> bool:
        """Tell whether rows of `table` may have been changed or left out."""

    def expected(self, table: str, columns: Sequence[str], row: Row) -> Optional[Row]:
        """Return a row in storage form as it is expected in the target; None when left out."""


class DifferenceKind(str, enum.Enum):
    """In what way rows differ."""

    missing = "missing"
    """From the target."""
    extra = "extra"
    """In the target only."""
    changed = "changed"


@dataclass
class Difference:
    """Rows of one table that are not the same.

    `column` is the one that differs, for changed rows. `count` is exact unless `at_least`; `keys`
    are the first 20, and `values` those of the source and the target at these keys, for changed
    rows: shortened, secrets masked.
    """

    table: str
    column: str
    kind: DifferenceKind
    count: int = 0
    at_least: bool = False
    keys: list[Key] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """A description for the admin."""
        at_least = "at least " if self.at_least else ""
        rows = f"{at_least}{self.count} {'row' if self.count == 1 else 'rows'}"
        if self.kind is DifferenceKind.changed:
            source, target = self.values[0]
            return (
                f"{self.table}.{self.column} differs in {rows}: at key {self.keys[0]}"
                f" the source has {source} and the target {target}"
            )
        is_missing = self.kind is DifferenceKind.missing
        where = "missing from the target" if is_missing else "in the target only"
        keys = ", ".join(map(str, self.keys))
        more = ", ..." if self.count > len(self.keys) else ""
        return f"{self.table}: {rows} {where} (key {keys}{more})"


@dataclass
class TableComparison:
    """The comparison of one table, each pair with the source first.

    The checksums of a column do not depend on the order of the rows; those of both sides are equal
    where nothing differs.
    """

    table: str
    rows: tuple[int, int]
    checksums: dict[str, tuple[str, str]]
    differences: list[Difference] = field(default_factory=list)


class Differences:
    """Collects the differences of one table while they are found."""

    def __init__(
        self, table: str, columns: Sequence[Column], on_difference: Optional[OnDifference]
    ) -> None:
        self._table, self._columns, self._on_difference = table, columns, on_difference
        self._found: dict[tuple[DifferenceKind, str], Difference] = {}

    def add(self, key: Key, source: Optional[RowPieces], target: Optional[RowPieces]) -> None:
        """Add the row `key`; None for the side that does not have it."""
        if self._on_difference:
            self._on_difference(self._table, key, source is not None, target is not None)
        if source is None:
            self._difference(DifferenceKind.extra, key)
        elif target is None:
            self._difference(DifferenceKind.missing, key)
        else:
            self._add_changes(key, source, target)

    def _add_changes(self, key: Key, source: RowPieces, target: RowPieces) -> None:
        for column, here, there in zip(self._columns, source, target):
            if here != there:
                item = self._difference(DifferenceKind.changed, key, column.name)
                if len(item.values) < MOST_KEYS:
                    item.values.append((shown(column, here), shown(column, there)))

    def _difference(self, kind: DifferenceKind, key: Key, column: str = "") -> Difference:
        item = self._found.setdefault((kind, column), Difference(self._table, column, kind))
        item.count += 1
        if len(item.keys) < MOST_KEYS:
            item.keys.append(key)
        return item

    def sorted(self, at_least: bool = False) -> list[Difference]:
        """Return all differences, of rows before those of columns."""
        for item in self._found.values():
            item.at_least = at_least
        return sorted(
            self._found.values(),
            key=lambda item: (item.kind is DifferenceKind.changed, item.kind.value),
        )


def merged(
    source: Iterable[tuple[_K, RowPieces]], target: Iterable[tuple[_K, RowPieces]]
) -> Iterator[tuple[_K, Optional[RowPieces], Optional[RowPieces]]]:
    """Walk two sides in the order of their keys, yielding each key with the row of both sides.

    The row is None for a side that does not have it.
    """
    sources, targets = iter(source), iter(target)
    here, there = next(sources, None), next(targets, None)
    while here is not None or there is not None:
        if there is None or here is not None and here[0] < there[0]:
            assert here
            yield here[0], here[1], None
            here = next(sources, None)
        elif here is None or there[0] < here[0]:
            yield there[0], None, there[1]
            there = next(targets, None)
        else:
            yield here[0], here[1], there[1]
            here, there = next(sources, None), next(targets, None)


def shown(column: Column, pieces: Pieces) -> str:
    """Return a value as it may be seen: short, and without anything that looks like a secret."""
    kind, text = kind_of(column), pieces[-1]
    if pieces[0] == NULL:
        return "NULL"
    octets = int(pieces[0].split(":")[0]) if kind in (Kind.text, Kind.binary) else len(text)
    if is_secret_column(column.name):
        return f"{MASK} ({octets} bytes)"
    is_digest = kind is Kind.binary or kind is Kind.text and is_long(column) and octets > SHORT
    if is_digest:
        digest = text.split(":")[-1][:DIGEST_CHARACTERS]
        return f"{octets} bytes (SHA-256 {digest}...)"
    if kind is not Kind.text:
        return text
    text = Redactor().text(text)
    # repr, so that control characters and invalid UTF-8 do not reach the terminal.
    return repr(text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "...")
