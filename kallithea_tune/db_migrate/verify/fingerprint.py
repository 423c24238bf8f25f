"""Fingerprints of rows, computed where the rows are, so that only digests travel.

The fingerprint of a column over a range of keys is the SHA-256 of its values as text, by key, with
a separator between them that none of them contains; see `pieces.joinable`.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Iterable, Iterator, NamedTuple, Optional, Sequence

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base.fingerprint_sql import (
    LONG,
    NOTHING,
    SEPARATOR,
    RowSelection,
)
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.db_migrate.verify.pieces import (
    NULL,
    SHORT,
    Pieces,
    RowPieces,
    is_long,
    joinable,
    sha256,
    written,
)
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Row as ResultRow

    from kallithea_tune.db_migrate.engines import Engine

ROWS = 2000  # in a range; of the sizes tried (250 to 4000) more gains nothing


class KeyRange(NamedTuple):
    """Integer keys from `low` (included) to `high` (not included); None is no limit."""

    low: Optional[int]
    high: Optional[int]


ALL_KEYS = KeyRange(None, None)


class RangeFingerprint(NamedTuple):
    """The fingerprint of a range: number of rows, and a digest for each column; none without rows.

    `complete` is False when there were more rows than expected, so that the digests cover only the
    first of them.
    """

    rows: int
    digests: tuple[str, ...]
    complete: bool = True


def integer_key(table: Table) -> Optional[Column]:
    """Return the primary key where it is one integer column."""
    columns = list(table.primary_key.columns)
    return columns[0] if len(columns) == 1 and kind_of(columns[0]) is Kind.integer else None


def ranges(used: Fingerprinter, table: Table) -> Iterator[KeyRange]:
    """Divide the keys of a table into ranges of `ROWS` rows, the first and last ones open."""
    low = None
    while True:
        high = used.next_key(table, low, ROWS)
        yield KeyRange(low, high)
        if high is None:
            return
        low = high


class Fingerprinter:
    """Computes the fingerprints of one of the two databases.

    With `keeping` no range is read twice, unless `forget` was called for a key in it: fingerprints
    are kept, about a kilobyte for 2,000 rows.
    """

    def __init__(self, engine: Engine, keeping: bool = False) -> None:
        self.engine = engine
        self._kept: Optional[dict[tuple[str, KeyRange], RangeFingerprint]] = {} if keeping else None
        self._sql = engine.fingerprint_sql()

    def computes(self, column: Column) -> bool:
        """Tell whether the engine writes `column` as all others do; none does so with floats."""
        if self._sql is None or not self._sql.written:
            return False
        kind = kind_of(column)
        return kind in self._sql.written or kind in (Kind.text, Kind.binary)

    def next_key(self, table: Table, low: Optional[int], rows: int) -> Optional[int]:
        """Return the key that comes `rows` rows after the first one from `low` on; else None."""
        key = self._key(table)
        where = f"{key} >= :low" if low is not None else "1 = 1"
        result = self._query(
            f"SELECT {key} FROM {self._name(table.name)} WHERE {where}"
            f" ORDER BY {key} LIMIT 1 OFFSET {rows}",
            KeyRange(low, None),
        )
        return int(result[0][0]) if result else None

    def fingerprint(self, table: Table, keys: KeyRange) -> RangeFingerprint:
        """Fingerprint the rows of a table with an integer key within `keys`."""
        if self._kept is None:
            return self._fingerprint(table, keys)
        if (table.name, keys) not in self._kept:
            self._kept[table.name, keys] = self._fingerprint(table, keys)
        return self._kept[table.name, keys]

    def forget(self, table: str, keys: Sequence[int]) -> None:
        """Forget the kept fingerprints of ranges of `table` that contain one of `keys`."""
        ordered = sorted(keys)
        for kept in list(self._kept or {}):
            name, (low, high) = kept
            first = 0 if low is None else bisect.bisect_left(ordered, low)
            last = len(ordered) if high is None else bisect.bisect_left(ordered, high)
            if self._kept and name == table and first < last:
                del self._kept[kept]

    def forget_all(self) -> None:
        """Forget all kept fingerprints."""
        (self._kept or {}).clear()

    def _fingerprint(self, table: Table, keys: KeyRange) -> RangeFingerprint:
        computed = [column for column in table.columns if self.computes(column)]
        rest = [column for column in table.columns if not self.computes(column)]
        digests: dict[str, str]
        rows, digests = self._computed(table, computed, keys) if computed else (0, {})
        if rest:
            fetched = self.rows(table, rest, keys, 2 * ROWS + 1)
            rows = rows if computed else len(fetched)
            digests.update(_digests(rest, [pieces for _, pieces in fetched]))
        ordered = tuple(digests[column.name] for column in table.columns) if rows else ()
        return RangeFingerprint(rows, ordered, rows <= 2 * ROWS)

    def _computed(
        self, table: Table, columns: Sequence[Column], keys: KeyRange
    ) -> tuple[int, dict[str, str]]:
        """Return the number of rows, and by column the digests that the engine computes."""
        sql = self._sql
        assert sql
        digests = [sql.digest(sql.joined(self._joinable(column))) for column in columns]
        selection = RowSelection(
            self._name(table.name),
            ", ".join(self._name(column.name) for column in columns),
            self._where(table, keys),
            self._key(table),
            2 * ROWS + 1,
        )
        selected = ", ".join(["count(*)", *digests])
        row = self._query(f"SELECT {selected} {sql.from_rows(selection)}", keys)[0]
        return int(row[0]), {column.name: str(item) for column, item in zip(columns, row[1:])}

    def rows(
        self, table: Table, columns: Sequence[Column], keys: KeyRange, most: int = ROWS
    ) -> list[tuple[int, RowPieces]]:
        """Return key and pieces of each of `columns` of the first `most` rows by key."""
        expressions = [self._fetched(column) for column in columns]
        sizes = [len(items) for items in expressions]
        key = self._key(table)
        selected = ", ".join([key, *(item for items in expressions for item in items)])
        result = self._query(
            f"SELECT {selected} FROM {self._name(table.name)} WHERE {self._where(table, keys)}"
            f" ORDER BY {key} LIMIT {most}",
            keys,
        )
        return [(int(row[0]), tuple(self._read(columns, sizes, row[1:]))) for row in result]

    def stored_rows(self, table: Table, keys: Sequence[int]) -> list[Row]:
        """Return the rows with these integer keys in storage form."""
        where = " WHERE {} IN ({})".format(self._key(table), ", ".join(map(str, keys)))
        return list(self.all_rows(table, where))

    def row_count(self, table: Table) -> int:
        """Count the rows of a table."""
        return int(self._query(f"SELECT count(*) FROM {self._name(table.name)}")[0][0])

    def all_rows(self, table: Table, where: str = "") -> Iterator[Row]:
        """Yield all rows in storage form, in any order."""
        import sqlalchemy

        names = [self._name(column.name) for column in table.columns]
        if self._sql:
            kinds = [kind_of(column) for column in table.columns]
            names = [self._sql.stored(name, kind) for name, kind in zip(names, kinds)]
        statement = sqlalchemy.text(
            "SELECT {} FROM {}{}".format(", ".join(names), self._name(table.name), where)
        )
        streamed = statement.execution_options(stream_results=True)
        decodes = [self._decodes(column) for column in table.columns]
        for row in self.engine.connection.execute(streamed):
            yield tuple(
                values.from_utf8(value) if decoded and isinstance(value, bytes) else value
                for value, decoded in zip(map(values.stored, row), decodes)
            )

    def _decodes(self, column: Column) -> bool:
        """Tell whether the bytes of a column that the driver returns are text."""
        stores_any_type = self._sql is not None and self._sql.stores_any_type
        return kind_of(column) is Kind.text and not stores_any_type

    def _pieces(self, column: Column) -> list[str]:
        """Return the SQL of the pieces of a column."""
        sql, name, kind = self._sql, self._name(column.name), kind_of(column)
        assert sql
        if kind is Kind.text:
            size = self._as_text(sql.octets(name))
            return [f"coalesce({size}, '{NULL}')", f"coalesce({self._short(column)}, '')"]
        if kind is Kind.binary:
            size = self._as_text(sql.octets(name, kind))
            piece = sql.concatenated(size, "':'", sql.digest(name, kind))
            return [f"CASE WHEN {name} IS NULL THEN '{NULL}' ELSE {piece} END"]
        return [f"coalesce({sql.written[kind] % name}, '{NULL}')"]

    def _joinable(self, column: Column) -> str:
        """Return the SQL of `pieces.joinable`."""
        sql, name, kind = self._sql, self._name(column.name), kind_of(column)
        assert sql
        if kind is Kind.text:
            value = self._short(column, f"'{LONG}'")
        elif kind is Kind.binary:
            value = sql.digest(name, kind)
        else:
            value = sql.written[kind] % name
        return f"coalesce({value}, '{NOTHING}')"

    def _short(self, column: Column, before: str = "") -> str:
        sql, name = self._sql, self._name(column.name)
        assert sql
        if not is_long(column):
            return sql.text(name)
        digest = sql.concatenated(*filter(None, (before, sql.digest(name))))
        return f"CASE WHEN {sql.octets(name)} > {SHORT} THEN {digest} ELSE {sql.text(name)} END"

    def _as_text(self, number: str) -> str:
        assert self._sql
        return self._sql.written[Kind.integer] % number

    def _fetched(self, column: Column) -> list[str]:
        """Return the SQL of a column's pieces, or of the value from which they are made here."""
        if self.computes(column):
            return self._pieces(column)
        name = self._name(column.name)
        return [self._sql.stored(name, kind_of(column)) if self._sql else name]

    def _read(
        self, columns: Sequence[Column], sizes: Sequence[int], row: Sequence[object]
    ) -> Iterator[Pieces]:
        start = 0
        for column, size in zip(columns, sizes):
            items = row[start : start + size]
            start += size
            if self.computes(column):
                yield tuple(map(_text, items))
            else:
                yield written(column, values.stored(items[0]))

    def _where(self, table: Table, keys: KeyRange) -> str:
        key = self._key(table)
        tests = [f"{key} >= :low"] * (keys.low is not None) + [f"{key} < :high"] * (
            keys.high is not None
        )
        return " AND ".join(tests) or "1 = 1"

    def _key(self, table: Table) -> str:
        return self._name(list(table.primary_key.columns)[0].name)

    def _name(self, name: str) -> str:
        return self.engine.quoted_in_text(name)

    def _query(self, statement: str, keys: KeyRange = ALL_KEYS) -> Sequence[ResultRow]:
        import sqlalchemy

        interruption.check()
        parameters = {name: value for name, value in keys._asdict().items() if value is not None}
        result = self.engine.connection.execute(sqlalchemy.text(statement), parameters)
        return list(result.fetchall())


def _digests(columns: Sequence[Column], rows: Sequence[RowPieces]) -> Iterable[tuple[str, str]]:
    """Yield by column the digests of rows that were fetched."""
    for number, column in enumerate(columns):
        joined = SEPARATOR.join(joinable(column, row[number]) for row in rows)
        yield column.name, sha256(values.utf8(joined))


def _text(value: object) -> str:
    return values.from_utf8(value) if isinstance(value, bytes) else str(value)
