"""Keys of the source in a temporary table of the target, which compares them as it always does."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Iterator, Sequence

from kallithea_tune.db_migrate import connect
from kallithea_tune.db_migrate.copy import copy_table
from kallithea_tune.db_migrate.driver_errors import message_of
from kallithea_tune.db_migrate.preflight.conditions import Scope
from kallithea_tune.db_migrate.preflight.fixes import TableFixes
from kallithea_tune.db_migrate.preflight.scan import key_columns
from kallithea_tune.db_migrate.values import Row
from kallithea_tune.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import Table


class TemporaryKeys:
    """The primary key and the unique key `columns` of all rows of a table."""

    def __init__(self, scope: Scope, table: Table, columns: Sequence[str]) -> None:
        self._source, self._target, self._table = scope.source, scope.target, table
        self._copy, self._columns = scope.copies[table.name], columns
        self._own_key = key_columns(table)
        self._names = list(dict.fromkeys([*self._own_key, *columns]))

    def repeated(self, fixes: TableFixes) -> Sequence[Row]:
        """Return the rows, as fixed, whose unique key is also that of another one.

        Each has the values of the unique key, then those of the primary key, by which they come.
        Raises Refused where the target's user cannot make temporary tables.
        """
        with self._temporary_table() as into:
            self._fill(into, fixes)
            return self._query(into.name)

    def _fill(self, into: Table, fixes: TableFixes) -> None:
        if not fixes.needed:
            reader, writer = self._source.reader, self._target.writer
            copy_table(reader, writer, self._narrow_table(), into)
            return
        places = [fixes.columns.index(name) for name in self._names]

        def amend(rows: Sequence[Row]) -> Sequence[Row]:
            fixed = [fixes.apply(row).row for row in rows]
            return [tuple(row[place] for place in places) for row in fixed if row is not None]

        copy_table(self._source.reader, self._target.writer, self._table, into, amend=amend)

    def _query(self, table: str) -> Sequence[Row]:
        cursor, names = self._target.cursor(), list(map(self._target.quoted, self._columns))
        selected = ", ".join(f"{name} AS u{number}" for number, name in enumerate(names))
        filled = " AND ".join(f"{name} IS NOT NULL" for name in names)
        # MySQL does not open a temporary table twice in one statement.
        cursor.execute(
            f"CREATE TEMPORARY TABLE {table}_twice AS SELECT {selected} FROM {table}"
            f" WHERE {filled} GROUP BY {', '.join(names)} HAVING count(*) > 1"
        )
        own = ", ".join(f"t.{self._target.quoted(key)}" for key in self._own_key)
        unique = ", ".join(f"g.u{number}" for number in range(len(names)))
        matches = " AND ".join(f"g.u{number} = t.{name}" for number, name in enumerate(names))
        cursor.execute(
            f"SELECT {unique}, {own} FROM {table} AS t JOIN {table}_twice AS g ON {matches}"
            f" ORDER BY {own}"
        )
        rows: Sequence[Row] = cursor.fetchall()
        return rows

    @contextlib.contextmanager
    def _temporary_table(self) -> Iterator[Table]:
        import sqlalchemy
        from sqlalchemy.schema import CreateTable

        columns = [
            sqlalchemy.Column(name, self._copy.columns[name].type, autoincrement=False)
            for name in self._names
        ]
        table = sqlalchemy.Table(
            "tune_" + secrets.token_hex(8),
            sqlalchemy.MetaData(),
            *columns,
            prefixes=["TEMPORARY"],
        )
        connection, cursor = self._target.connection, self._target.cursor()
        try:
            cursor.execute(str(CreateTable(table).compile(dialect=connection.dialect)))
            yield table
        except connection.dialect.dbapi.Error as error:
            raise Refused(
                f"the target {connect.label(connection.engine.url)} cannot compare keys in a"
                f" temporary table: {message_of(error)}"
            ) from None
        finally:
            connection.connection.rollback()
            for name in (f"{table.name}_twice", table.name):
                cursor.execute(f"DROP TABLE IF EXISTS {name}")
            connection.connection.commit()

    def _narrow_table(self) -> Table:
        """Describe the table of the source with the columns of both keys only."""
        import sqlalchemy

        keys = set(self._table.primary_key.columns.keys())
        columns = [
            sqlalchemy.Column(
                name,
                self._table.columns[name].type,
                primary_key=name in keys,
                autoincrement=False,
            )
            for name in self._names
        ]
        return sqlalchemy.Table(self._table.name, sqlalchemy.MetaData(), *columns)
