"""LOAD DATA LOCAL INFILE from a pipe, with its warnings taken for errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kallithea_tune.db.kinds import Kind, kind_of
from kallithea_tune.db_migrate.engines.base.messages import without_values
from kallithea_tune.db_migrate.engines.base.reading import Lines
from kallithea_tune.db_migrate.engines.base.stream import through_pipe
from kallithea_tune.db_migrate.engines.mysql.connection import Connected
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

UTC = "+00:00"
DUPLICATE = 1062  # ER_DUP_ENTRY
LOST_CONNECTION = 2013  # CR_SERVER_LOST


class LoadData(Connected):
    """Loads rows into one table."""

    def __init__(self, connection: Connection, table: Table) -> None:
        super().__init__(connection)
        self._table = table

    def run(self, lines: Lines) -> None:
        """Load the rows. Raises TuneError for the first warning, or when rows are missing."""
        cursor, sent = self.cursor(), 0

        def counted() -> Lines:
            nonlocal sent
            for number, text in lines:
                sent += number
                yield number, text

        def execute(path: str) -> None:
            try:
                cursor.execute(self.statement(path))
            except AttributeError:
                # PyMySQL stumbles over the socket that it has just closed itself.
                raise self.connection.dialect.dbapi.OperationalError(
                    LOST_CONNECTION, "Lost connection to the server"
                ) from None

        through_pipe(counted(), execute)
        loaded = cursor.rowcount
        cursor.execute("SHOW WARNINGS LIMIT 1")
        warning = cursor.fetchone()
        if warning:
            _, code, message = warning
            reason = self._reason(int(code), without_values(str(message)), loaded == sent)
            raise TuneError(f"{self._table.name}: {reason}")
        if loaded != sent:
            raise TuneError(f"{self._table.name}: the server loaded {loaded} of {sent} rows")

    def statement(self, path: str) -> str:
        """Return the statement that reads the rows from a file."""
        fields, decoded = self._fields()
        assignments = " SET " + decoded if decoded else ""
        return (
            f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {self.quoted(self._table.name)}"
            " CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY ''''"
            f" ESCAPED BY '' LINES TERMINATED BY '\\n' ({fields}){assignments}"
        )

    def _fields(self) -> tuple[str, str]:
        """Return the fields of a line, and what decodes those of binary columns."""
        fields, decoded = [], []
        for number, column in enumerate(self._table.columns):
            name = self.quoted(column.name)
            if kind_of(column) is Kind.binary:
                fields.append(f"@v{number}")
                decoded.append(f"{name} = UNHEX(SUBSTRING(@v{number}, 3))")
            elif kind_of(column) is Kind.instant:
                # Without its zone, which is that of the session.
                fields.append(f"@v{number}")
                decoded.append(f"{name} = REPLACE(@v{number}, '{UTC}', '')")
            else:
                fields.append(name)
        return ", ".join(fields), ", ".join(decoded)

    def _reason(self, code: int, message: str, complete: bool) -> str:
        """Name the row of the first warning by its key, unless rows were left out."""
        if code == DUPLICATE:
            return "two rows have the same {}".format(message.rpartition(" for ")[2] or "key")
        place = re.search(r" at row (\d+)$", message)
        keys = ", ".join(self.quoted(column.name) for column in self._table.primary_key.columns)
        if not place or not keys or not complete:
            return message
        cursor = self.cursor()
        cursor.execute(
            f"SELECT {keys} FROM {self.quoted(self._table.name)} ORDER BY {keys}"
            f" LIMIT 1 OFFSET {int(place.group(1)) - 1}"
        )
        key = ", ".join(map(str, cursor.fetchone() or ("?",)))
        return f"{message[: place.start()]} in the row with the key {key}"
