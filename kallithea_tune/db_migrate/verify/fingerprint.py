"""Fingerprints of rows, the same in every engine: computed where the rows are, so that only digests
travel.

A value is written as one or two *pieces* of text: a number or moment as its text, ``N`` for NULL;
text as its length in bytes and itself, or its digest where it is long; binary data as length and
digest. The fingerprint of a column over a range of keys is the SHA-256 of its pieces, by key,
joined by commas.
"""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, Optional, Sequence, Tuple

from kallithea_tune.db_migrate.values import Kind, kind_of, stored
from kallithea_tune.db_migrate.verify.expressions import NULL, Expressions, expressions_of, sha256

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

ROWS = 2000  # in a range; of the sizes tried (250 to 4000) more gains nothing
SHORT = 200  # bytes of text that are taken as they are where there may be many more
UNBOUNDED = 255  # characters; a column that may hold more is one where there may be many more

Pieces = Tuple[str, ...]


class Range(NamedTuple):
    """Integer keys from `low` (included) to `high` (not included); None is no limit."""

    low: Optional[int]
    high: Optional[int]


class Print(NamedTuple):
    """The fingerprint of a range: number of rows, and a digest for each column; empty without rows.

    `whole` is False when there were more rows than anyone expected, so that the digests cover only
    the first of them.
    """

    rows: int
    digests: tuple[str, ...]
    whole: bool = True


def integer_key(table: Table) -> Optional[Column]:
    """Return the primary key where it is one integer column."""
    columns = list(table.primary_key.columns)
    return columns[0] if len(columns) == 1 and kind_of(columns[0]) is Kind.integer else None


def is_long(column: Column) -> bool:
    """Tell whether the texts of `column` may be long."""
    return (getattr(column.type, "length", None) or UNBOUNDED + 1) > UNBOUNDED


def written(column: Column, value: Any) -> Pieces:
    """Write a value in storage form as pieces, as the engines do it."""
    kind = kind_of(column)
    if value is None:
        return (NULL, "") if kind is Kind.text else (NULL,)
    if kind is Kind.text:
        octets = (
            value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        )
        short = not is_long(column) or len(octets) <= SHORT
        return str(len(octets)), octets.decode("utf-8", "surrogateescape") if short else sha256(
            octets
        )
    if kind is Kind.binary:
        octets = (
            value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
        )
        return ("%d:%s" % (len(octets), sha256(octets)),)
    if kind is Kind.moment:
        return ((str(value) + ".000000")[:26],)
    if kind is Kind.number:
        return (_number(column, value),)
    return (str(int(value) if kind in (Kind.integer, Kind.boolean) else value),)


def _number(column: Column, value: Any) -> str:
    from sqlalchemy.types import Float

    try:
        if isinstance(column.type, Float):
            return repr(float(value))
        return format(decimal.Decimal(str(value)).normalize(), "f")
    except (ValueError, decimal.InvalidOperation):
        # SQLite holds anything; a fix may have been made of it.
        return repr(value)


class Side:
    """One of the two databases, asked for fingerprints.

    With `unchanging` it stays as it is, so that no range is read twice: fingerprints are kept,
    about a kilobyte for 2,000 rows.
    """

    def __init__(self, connection: Connection, unchanging: bool = False) -> None:
        self.connection = connection
        self._kept: Optional[dict[tuple[str, Range], Print]] = {} if unchanging else None
        self.expressions: Optional[Expressions] = expressions_of(connection)

    def computes(self, column: Column) -> bool:
        """Tell whether the engine writes `column` as all the others do; floats none does."""
        known = self.expressions.written if self.expressions else {}
        return (
            kind_of(column) in known or bool(known) and kind_of(column) in (Kind.text, Kind.binary)
        )

    def next_key(self, table: Table, low: Optional[int], rows: int) -> Optional[int]:
        """Return the key that comes `rows` rows after the first one from `low` on; None when there
        are fewer.
        """
        key = self._key(table)
        where = f"{key} >= :low" if low is not None else "1 = 1"
        found = self._ask(
            "SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1 OFFSET %d"
            % (key, self._name(table.name), where, key, rows),
            Range(low, None),
        )
        return int(found[0][0]) if found else None

    def print(self, table: Table, limits: Range) -> Print:
        """Fingerprint the rows of a table with an integer key within `limits`."""
        if self._kept is None:
            return self._printed(table, limits)
        if (table.name, limits) not in self._kept:
            self._kept[table.name, limits] = self._printed(table, limits)
        return self._kept[table.name, limits]

    def _printed(self, table: Table, limits: Range) -> Print:
        computed = [column for column in table.columns if self.computes(column)]
        counts = [len(self._pieces(column)) for column in computed]
        rows, digests = self._computed(table, computed, limits) if self.expressions else (0, ())
        found: dict[str, str] = {}
        for column, count in zip(computed, counts):
            found[column.name], digests = "".join(digests[:count]), digests[count:]
        if len(computed) < len(table.columns):
            rest = [column for column in table.columns if not self.computes(column)]
            fetched = self.rows(table, rest, limits, 2 * ROWS + 1)
            rows = rows if computed else len(fetched)
            for number, column in enumerate(rest):
                joined = [
                    ",".join(texts) for texts in zip(*[pieces[number] for _, pieces in fetched])
                ]
                found[column.name] = "".join(
                    sha256(text.encode("utf-8", "surrogateescape")) for text in joined
                )
        whole = rows <= 2 * ROWS
        return Print(
            rows, tuple(found[column.name] for column in table.columns) if rows else (), whole
        )

    def _computed(
        self, table: Table, columns: Sequence[Column], limits: Range
    ) -> tuple[int, Sequence[str]]:
        sql = self.expressions
        assert sql
        digests = [
            sql.digest(sql.joined(piece)) for column in columns for piece in self._pieces(column)
        ]
        some = sql.some_rows(
            self._name(table.name),
            ", ".join(self._name(column.name) for column in columns),
            self._where(table, limits),
            self._key(table),
            2 * ROWS + 1,
        )
        found = self._ask("SELECT count(*), {} {}".format(", ".join(digests), some), limits)[0]
        return int(found[0]), [str(item) for item in found[1:]]

    def rows(
        self, table: Table, columns: Sequence[Column], limits: Range, most: int = ROWS
    ) -> list[tuple[int, tuple[Pieces, ...]]]:
        """Return key and pieces of each of `columns` of the first `most` rows by key."""
        expressions = [self._fetched(column) for column in columns]
        sizes = [len(items) for items in expressions]
        found = self._ask(
            "SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d"
            % (
                ", ".join([self._key(table)] + [item for items in expressions for item in items]),
                self._name(table.name),
                self._where(table, limits),
                self._key(table),
                most,
            ),
            limits,
        )
        return [(int(row[0]), tuple(self._read(columns, sizes, row[1:]))) for row in found]

    def stored_rows(self, table: Table, keys: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return the whole rows with these integer keys in storage form, bytes that are no UTF-8 as
        surrogates.
        """
        where = " WHERE {} IN ({})".format(self._key(table), ", ".join(map(str, keys)))
        return list(self.all_rows(table, where))

    def all_rows(self, table: Table, where: str = "") -> Iterator[tuple[Any, ...]]:
        """Yield all rows as `stored_rows` returns them, in any order."""
        import sqlalchemy

        wanted = [self._name(column.name) for column in table.columns]
        if self.expressions:
            kinds = [kind_of(column) for column in table.columns]
            wanted = [self.expressions.stored(name, kind) for name, kind in zip(wanted, kinds)]
        statement = sqlalchemy.text(
            "SELECT {} FROM {}{}".format(", ".join(wanted), self._name(table.name), where)
        )
        for row in self.connection.execute(statement.execution_options(stream_results=True)):
            yield tuple(
                self._decoded(column, stored(value)) for column, value in zip(table.columns, row)
            )

    def _decoded(self, column: Column, value: Any) -> Any:
        if (
            isinstance(value, bytes)
            and kind_of(column) is Kind.text
            and not (self.expressions and self.expressions.any_type)
        ):
            return value.decode("utf-8", "surrogateescape")
        return value

    def _pieces(self, column: Column) -> list[str]:
        """Return the SQL of the pieces of a column."""
        sql, name, kind = self.expressions, self._name(column.name), kind_of(column)
        assert sql
        if kind is Kind.text:
            return [
                f"coalesce({self._as_text(sql.octets(name))}, '{NULL}')",
                "coalesce({}, '')".format(self._short(column)),
            ]
        if kind is Kind.binary:
            size = self._as_text(sql.octets(name, kind))
            return [
                "CASE WHEN {} IS NULL THEN '{}' ELSE {} END".format(
                    name, NULL, sql.concatenated(size, "':'", sql.digest(name, kind))
                )
            ]
        return [f"coalesce({sql.written[kind] % name}, '{NULL}')"]

    def _short(self, column: Column) -> str:
        sql, name = self.expressions, self._name(column.name)
        assert sql
        if not is_long(column):
            return sql.text(name)
        return "CASE WHEN %s > %d THEN %s ELSE %s END" % (
            sql.octets(name),
            SHORT,
            sql.digest(name),
            sql.text(name),
        )

    def _as_text(self, number: str) -> str:
        assert self.expressions
        return self.expressions.written[Kind.integer] % number

    def _fetched(self, column: Column) -> list[str]:
        """Return the SQL that fetches the pieces of a column, or the value from which they are made
        here.
        """
        if not self.computes(column):
            return [self._name(column.name)]
        return self._pieces(column)

    def _read(
        self, columns: Sequence[Column], sizes: Sequence[int], values: Sequence[Any]
    ) -> Iterator[Pieces]:
        start = 0
        for column, size in zip(columns, sizes):
            items = values[start : start + size]
            start += size
            yield (
                tuple(map(_text, items))
                if self.computes(column)
                else written(column, stored(items[0]))
            )

    def _where(self, table: Table, limits: Range) -> str:
        key = self._key(table)
        tests = [f"{key} >= :low"] * (limits.low is not None) + [f"{key} < :high"] * (
            limits.high is not None
        )
        return " AND ".join(tests) or "1 = 1"

    def _key(self, table: Table) -> str:
        return self._name(list(table.primary_key.columns)[0].name)

    def _name(self, name: str) -> str:
        return str(self.connection.dialect.identifier_preparer.quote(name)).replace(":", r"\:")

    def _ask(self, statement: str, limits: Range) -> list[Any]:
        import sqlalchemy

        given = {name: value for name, value in limits._asdict().items() if value is not None}
        return list(self.connection.execute(sqlalchemy.text(statement), given).fetchall())


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
