"""What differs between two databases, named down to the row, without showing secrets or long
values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Optional, Protocol, Sequence, Tuple

from kallithea_tune.config.redact import MASK, Redactor, is_secret_key
from kallithea_tune.db_migrate.values import Kind, kind_of
from kallithea_tune.db_migrate.verify.expressions import NULL
from kallithea_tune.db_migrate.verify.fingerprint import SHORT, Pieces, is_long, written

if TYPE_CHECKING:
    from sqlalchemy import Column

NAMED = 20  # rows of a difference that are named
SHOWN = 60  # characters of a value that are shown
# Settings of every kind, passwords among them, in one column.
SECRET_COLUMNS = frozenset({"app_settings_value"})

Row = Tuple[Pieces, ...]


class Wanted(Protocol):
    """Knows what became of rows on purpose, as `fixes.Fixes` does."""

    def touches(self, table: str) -> bool:
        """Tell whether rows of `table` may have been changed or left out."""

    def expected(
        self, table: str, columns: Sequence[str], row: Sequence[Any]
    ) -> Optional[Sequence[Any]]:
        """Return what a row in storage form became; None when it was left out."""


@dataclass
class Difference:
    """Rows of one table that are not the same: `kind` is ``missing`` and ``extra`` (in the target)
    or ``changed``.

    `column` is named for changed ones. `count` is exact unless `at_least`; `keys` are the first 20,
    and `values` those of the source and the target at these keys, where the kind is changed:
    shortened, secrets masked.
    """

    table: str
    column: str
    kind: str
    count: int = 0
    at_least: bool = False
    keys: list[Any] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """Say it to the admin."""
        rows = "%s%d %s" % (
            "at least " if self.at_least else "",
            self.count,
            "row" if self.count == 1 else "rows",
        )
        if self.kind == "changed":
            source, target = self.values[0]
            return f"{self.table}.{self.column} differs in {rows}: at key {self.keys[0]} the source has {source} and the target {target}"
        where = {"missing": "missing from the target", "extra": "in the target only"}[self.kind]
        more = ", ..." if self.count > len(self.keys) else ""
        return "{}: {} {} (key {}{})".format(
            self.table, rows, where, ", ".join(map(str, self.keys)), more
        )


class Differences:
    """Collects the differences of one table as they are found."""

    def __init__(self, table: str, columns: Sequence[Column], each: Any = None) -> None:
        self._table, self._columns, self._each = table, columns, each
        self._found: dict[tuple[str, str], Difference] = {}

    def add(self, key: Any, source: Optional[Row], target: Optional[Row]) -> None:
        """Note that the row `key` differs; None where one side does not have it."""
        if self._each:
            self._each(self._table, key, source is not None, target is not None)
        if source is None or target is None:
            self._note("", "missing" if target is None else "extra", key)
            return
        for column, one, other in zip(self._columns, source, target):
            if one != other:
                self._note(column.name, "changed", key, (shown(column, one), shown(column, other)))

    def _note(
        self, column: str, kind: str, key: Any, values: Optional[tuple[str, str]] = None
    ) -> None:
        item = self._found.setdefault((kind, column), Difference(self._table, column, kind))
        item.count += 1
        if len(item.keys) < NAMED:
            item.keys.append(key)
            item.values += [values] if values else []

    def found(self, at_least: bool = False) -> list[Difference]:
        """Return them, rows before columns."""
        for item in self._found.values():
            item.at_least = at_least
        return sorted(self._found.values(), key=lambda item: (item.kind == "changed", item.kind))


def merged(
    source: Iterable[tuple[Any, Row]],
    target: Iterable[tuple[Any, Row]],
) -> Iterator[tuple[Any, Optional[Row], Optional[Row]]]:
    """Walk two sides in the order of their keys, yielding what each has at a key; None where it has
    nothing.
    """
    here, there = iter(source), iter(target)
    one, other = next(here, None), next(there, None)
    while one is not None or other is not None:
        if other is None or one is not None and one[0] < other[0]:
            assert one
            yield one[0], one[1], None
            one = next(here, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(there, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(here, None), next(there, None)


def row_of(columns: Sequence[Column], stored: Sequence[Any]) -> Row:
    """Write a row in storage form."""
    return tuple(written(column, value) for column, value in zip(columns, stored))


def shown(column: Column, pieces: Pieces) -> str:
    """Return a value as it may be seen: short, and without what looks like a secret."""
    kind, text = kind_of(column), pieces[-1]
    if pieces[0] == NULL:
        return "NULL"
    octets = int(pieces[0].split(":")[0]) if kind in (Kind.text, Kind.binary) else len(text)
    if is_secret_key(column.name) or column.name in SECRET_COLUMNS:
        return "%s (%d bytes)" % (MASK, octets)
    digested = kind is Kind.binary or kind is Kind.text and is_long(column) and octets > SHORT
    if digested:
        return "%d bytes (SHA-256 %s...)" % (octets, text.split(":")[-1][:12])
    if kind is not Kind.text:
        return text
    text = Redactor().text(text)
    # repr, so that control characters and broken UTF-8 are seen instead of sent to the terminal.
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
