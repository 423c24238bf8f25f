"""What every engine can do through SQLAlchemy alone; the other modules override what one of them
does better.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Iterator, Optional, Sequence, Tuple

from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.values import Kind, Row

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

ENTRY_POINT_GROUP = "kallithea_tune.dialects"
BATCH = 1000  # rows fetched at a time
WIDE_BATCH = 20  # the same where a row may hold blobs, so that memory stays flat

# A piece of a table: how many rows, and their text.
Lines = Iterator[Tuple[int, bytes]]


class Dialect:
    """One engine, as the source of a migration and as its target. It has no state: connections are
    passed in.
    """

    __dialect__ = "default"
    known: ClassVar[dict[str, type[Dialect]]] = {}

    transactional_ddl = False
    """Whether tables made in a transaction vanish when it is rolled back."""

    keeps_nul = True
    """Whether text may hold the character NUL."""

    constraints_later = True
    """Whether unique and foreign keys can be added to a filled table."""

    primary_key_later = False
    """Whether it pays to add the primary key after the rows."""

    strict = False
    """Whether a row that preflight would find ends its writing, or arrives visibly changed."""

    keys_together = False
    """Whether one statement adds all keys of a table, foreign ones before what they refer to, too.
    """

    def __init_subclass__(cls) -> None:
        """Make the engine known by its SQLAlchemy name."""
        Dialect.known[cls.__dialect__] = cls

    # As the source

    def begin_snapshot(self, connection: Connection) -> None:
        """Begin a transaction in which every statement sees the same moment."""
        connection.execution_options(isolation_level="SERIALIZABLE")

    def marker(self, connection: Connection) -> str:
        """Return a text that stays the same only while nobody writes; empty where the engine has
        none.
        """
        return ""

    def data_bytes(self, connection: Connection, table: Table) -> int:
        """Return about how many bytes the rows of `table` hold; 0 where unknown."""
        return 0

    def last_key(self, connection: Connection, table: Table) -> int:
        """Return the greatest key that the engine ever gave out for `table`; 0 where it does not
        remember.
        """
        return 0

    def read_broken_text(self, connection: Connection) -> None:
        """From now on have `rows` read text that is not valid UTF-8 with surrogates, where it would
        fail otherwise.
        """

    def rows(
        self, connection: Connection, table: Table, where: str = ""
    ) -> Iterator[Sequence[Row]]:
        """Yield all rows, or those that meet a condition in SQL, in storage form, by primary key,
        some at a time.
        """
        import sqlalchemy

        query = table.select().order_by(*table.primary_key.columns)
        if where:
            query = query.where(sqlalchemy.text(where.replace(":", r"\:")))
        result = connection.execution_options(stream_results=True).execute(query)
        try:
            for batch in values.batches(result, batch_size(table)):
                yield [tuple(map(values.stored, row)) for row in batch]
        finally:
            result.close()

    def lines(self, connection: Connection, table: Table, keep_nul: bool) -> Lines:
        """Yield all rows as text. Unless `keep_nul`, text may be cut at a NUL, which the target
        refuses anyway.
        """
        for batch in self.rows(connection, table):
            yield len(batch), values.encode(batch)

    # As the target

    def lock(self, connection: Connection, name: str) -> bool:
        """Keep others that ask for the same `name` out until the connection ends; False where one
        was first.
        """
        return True

    def column_type(self, column: Column) -> Any:
        """Return the type for `column`, None for the one that the application would get."""
        return None

    def risk(self, column: Column) -> str:
        """Say what the type of the target's `column` refuses or changes; preflight finds the rows.
        Empty: nothing.
        """
        kind, length = values.kind_of(column), getattr(column.type, "length", None)
        if kind is Kind.text and length:
            return "text over %d characters is refused" % length
        return ""

    def unfit(self, connection: Connection) -> str:
        """Say why this server or database cannot take the rows: version, encoding. Empty: it
        can.
        """
        return ""

    def begin_load(self, connection: Connection) -> None:
        """Prepare the session for many rows."""

    def add_keys(self, connection: Connection, table: Table, keys: Sequence[Any]) -> None:
        """Add unique keys, indexes and foreign keys to a filled table; to many at once only with
        `keys_together`.
        """
        from sqlalchemy import Index
        from sqlalchemy.schema import AddConstraint, CreateIndex

        for key in keys:
            connection.execute(CreateIndex(key) if isinstance(key, Index) else AddConstraint(key))

    def end_load(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Undo that, and check what the engine did not. Raises TuneError for references to
        nothing.
        """

    def load(self, connection: Connection, table: Table, lines: Lines) -> None:
        """Write rows that come as text. Raises what the driver raises for a row that does not
        fit.
        """
        raise NotImplementedError

    def insert(self, connection: Connection, table: Table, rows: Iterator[Sequence[Row]]) -> None:
        """Write rows in storage form. Raises what the driver raises for a row that does not fit."""
        kinds = [values.kind_of(column) for column in table.columns]
        names = [column.name for column in table.columns]
        for batch in rows:
            connection.execute(
                table.insert(),
                [
                    {name: self._typed(value, kind) for name, value, kind in zip(names, row, kinds)}
                    for row in batch
                ],
            )

    def _typed(self, value: Any, kind: Kind) -> Any:
        import datetime

        if value is None or kind not in (Kind.boolean, Kind.moment, Kind.date, Kind.time):
            return value
        if kind is Kind.boolean:
            return bool(value)
        type_: Any = {
            Kind.moment: datetime.datetime,
            Kind.date: datetime.date,
            Kind.time: datetime.time,
        }[kind]
        return type_.fromisoformat(value)

    def takes_lines(self, connection: Connection) -> bool:
        """Whether `load` is there and the server allows it."""
        return type(self).load is not Dialect.load

    def set_last_key(self, connection: Connection, table: Table, column: Column, key: int) -> None:
        """Make `key` the last one that `table` gave; 0 for none."""

    def begin_changes(self, connection: Connection) -> None:
        """Let rows be deleted and inserted in any order, in a transaction that is open, until
        `end_changes`.
        """

    def end_changes(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Have references checked again, those of the rows in `tables` now."""

    def analyze(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Let the planner of the engine learn about the new rows."""

    # For both

    def quoted(self, connection: Connection, name: str) -> str:
        """Return an identifier as it stands in SQL."""
        result: str = connection.dialect.identifier_preparer.quote(name)
        return result

    def cursor(self, connection: Connection) -> Any:
        """Return a DB-API cursor on the connection, in its transaction."""
        return connection.connection.cursor()


def key_column(table: Table) -> Optional[Column]:
    """Return the column whose values the engine gives out itself, if the table has one."""
    columns = list(table.primary_key.columns)
    if (
        len(columns) != 1
        or columns[0].foreign_keys
        or values.kind_of(columns[0]) is not Kind.integer
    ):
        return None
    return columns[0] if columns[0].autoincrement in (True, "auto") else None


def batch_size(table: Table) -> int:
    """Return how many rows of a table are fetched at a time."""
    return (
        WIDE_BATCH
        if any(values.kind_of(column) is Kind.binary for column in table.columns)
        else BATCH
    )


def dialect_of(connectable: Any) -> Dialect:
    """Return what we know about the engine of a SQLAlchemy engine or connection."""
    name = connectable.dialect.name
    if name not in Dialect.known:
        _find(name)
    return Dialect.known.get(name, Dialect)()


def _find(name: str) -> None:
    from importlib.metadata import entry_points

    try:
        importlib.import_module("kallithea_tune.db_migrate.engines." + name)
    except ModuleNotFoundError as error:
        if error.name != "kallithea_tune.db_migrate.engines." + name:
            raise
        found: Any = entry_points()
        select = getattr(found, "select", None)
        for entry in (
            select(group=ENTRY_POINT_GROUP) if select else found.get(ENTRY_POINT_GROUP, ())
        ):
            entry.load()
