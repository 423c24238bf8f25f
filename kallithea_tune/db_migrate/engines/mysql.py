"""MariaDB and MySQL: LOAD DATA LOCAL from a pipe, INSERT where the server forbids it, no
transaction around tables.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from kallithea_tune.db_migrate import values
from kallithea_tune.db_migrate.engines.base import Dialect, Lines, batch_size
from kallithea_tune.db_migrate.engines.stream import through_pipe
from kallithea_tune.db_migrate.values import Kind, Row
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

# How a column is read in storage form; the others need nothing. A % is doubled for the drivers.
STORED = {
    Kind.moment: "DATE_FORMAT(%s, '%%%%Y-%%%%m-%%%%d %%%%H:%%%%i:%%%%s.%%%%f')",
    Kind.date: "CAST(%s AS CHAR)",
    Kind.time: "TIME_FORMAT(%s, '%%%%H:%%%%i:%%%%s.%%%%f')",
}
# Of a key in characters; 3,072 bytes are allowed for all columns of a key.
KEY_LENGTH = 255
# The first with keys of 3,072 bytes by default.
OLDEST = {"MariaDB": (10, 2), "MySQL": (5, 7)}
DUPLICATE = 1062  # ER_DUP_ENTRY
PACKET_SHARE = (
    4  # a line may take this part of max_allowed_packet; CONCAT gives NULL for what takes more
)


class MySQL(Dialect):
    """MariaDB and MySQL through mysqlclient or PyMySQL."""

    __dialect__ = "mysql"
    strict = True
    # Each statement that alters a table takes 30 to 70 ms, however small the table is.
    keys_together = True

    # As the source

    def begin_snapshot(self, connection: Connection) -> None:
        """Begin InnoDB's consistent snapshot."""
        cursor = self.cursor(connection)
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def marker(self, connection: Connection) -> str:
        """Return when each table was last written to; it is waited until that second is over."""
        cursor = self.cursor(connection)
        cursor.execute(
            "SELECT NOW() - INTERVAL 1 SECOND > MAX(update_time) FROM information_schema.tables"
            " WHERE table_schema = DATABASE()"
        )
        if cursor.fetchone()[0] == 0:
            time.sleep(2)
        # The times are forgotten when the server stops, and a moment that is still under way is
        # like no other one.
        cursor.execute(
            "SELECT table_name, update_time, IF(update_time < NOW() - INTERVAL 1 SECOND, '', NOW(6))"
            " FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name"
        )
        return repr(tuple(map(repr, cursor.fetchall())))

    def data_bytes(self, connection: Connection, table: Table) -> int:
        """Return InnoDB's estimate, which leaves out indexes."""
        cursor = self.cursor(connection)
        cursor.execute(
            "SELECT data_length FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = %s",
            [table.name],
        )
        found = cursor.fetchone()
        return int(found[0] or 0) if found else 0

    def last_key(self, connection: Connection, table: Table) -> int:
        """Return what AUTO_INCREMENT was before; the statement that shows it is never behind."""
        cursor = self.cursor(connection)
        cursor.execute("SHOW CREATE TABLE " + self._in_statement(connection, table.name))
        found = re.search(r"\) ENGINE=.* AUTO_INCREMENT=(\d+)", str(cursor.fetchone()[1]))
        return int(found.group(1)) - 1 if found else 0

    def rows(
        self, connection: Connection, table: Table, where: str = ""
    ) -> Iterator[Sequence[Row]]:
        """Yield rows as the server sends them."""
        numbers = any(values.kind_of(column) is Kind.number for column in table.columns)
        columns = ", ".join(
            STORED.get(values.kind_of(column), "%s") % self._in_statement(connection, column.name)
            for column in table.columns
        )
        for batch in self._streamed(connection, table, columns, where):
            yield [tuple(map(values.stored, row)) for row in batch] if numbers else batch

    def lines(self, connection: Connection, table: Table, keep_nul: bool) -> Lines:
        """Yield all rows as text that the server writes."""
        if self._has_huge(connection, table):
            yield from super().lines(connection, table, keep_nul)
            return
        literals = ", ',', ".join(self._literal(connection, column) for column in table.columns)
        for batch in self._streamed(connection, table, f"CAST(CONCAT({literals}) AS BINARY)"):
            yield len(batch), b"\n".join([line for (line,) in batch]) + b"\n"

    def _streamed(
        self,
        connection: Connection,
        table: Table,
        columns: str,
        where: str = "",
    ) -> Iterator[Sequence[Row]]:
        cursor: Any = connection.connection.cursor(connection.dialect.dbapi.cursors.SSCursor)
        order = ", ".join(
            self._in_statement(connection, column.name) for column in table.primary_key.columns
        )
        try:
            # The empty arguments have both drivers read %% as %.
            cursor.execute(
                "SELECT {} FROM {}{}{}".format(
                    columns,
                    self._in_statement(connection, table.name),
                    " WHERE " + where.replace("%", "%%") if where else "",
                    " ORDER BY " + order if order else "",
                ),
                (),
            )
            yield from values.batches(cursor, batch_size(table))
        finally:
            try:
                cursor.close()
            except AttributeError:
                # PyMySQL stumbles over the socket that it has closed itself, and would twice more
                # when both are gone.
                cursor.connection, cursor._result.unbuffered_active = None, False

    def _literal(self, connection: Connection, column: Column) -> str:
        name, kind = self._in_statement(connection, column.name), values.kind_of(column)
        if kind is Kind.binary:
            return rf"IF({name} IS NULL, 'NULL', CONCAT('\\x', HEX({name})))"
        if kind is Kind.text:
            return f"IFNULL(CONCAT('''', REPLACE({name}, '''', ''''''), ''''), 'NULL')"
        return "IFNULL(CONCAT('''', {}, ''''), 'NULL')".format(STORED.get(kind, "%s") % name)

    def _has_huge(self, connection: Connection, table: Table) -> bool:
        cursor = self.cursor(connection)
        cursor.execute("SELECT @@max_allowed_packet")
        most = int(cursor.fetchone()[0]) // PACKET_SHARE
        long = [column.name for column in table.columns if self._unbounded(column)]
        if not long or self.data_bytes(connection, table) < most:
            return False
        sizes = " + ".join(
            f"IFNULL(LENGTH({self._in_statement(connection, name)}), 0)" for name in long
        )
        cursor.execute(
            "SELECT EXISTS(SELECT 1 FROM %s WHERE %s > %d)"
            % (self._in_statement(connection, table.name), sizes, most),
            (),
        )
        return bool(cursor.fetchone()[0])

    def _unbounded(self, column: Column) -> bool:
        kind = values.kind_of(column)
        return kind is Kind.binary or kind is Kind.text and not getattr(column.type, "length", None)

    # As the target

    def lock(self, connection: Connection, name: str) -> bool:
        """Take a lock, which is one of the whole server."""
        cursor = self.cursor(connection)
        cursor.execute("SELECT GET_LOCK(CONCAT(%s, SHA1(DATABASE())), 0)", [name])
        return bool(cursor.fetchone()[0])

    def column_type(self, column: Column) -> Any:
        """Keep microseconds, and texts over 65,535 bytes; but a key must have a limit."""
        from sqlalchemy.dialects import mysql

        kind, unbounded = values.kind_of(column), self._unbounded(column)
        if unbounded and _is_key(column):
            return mysql.VARBINARY(KEY_LENGTH) if kind is Kind.binary else mysql.VARCHAR(KEY_LENGTH)
        if unbounded:
            return mysql.LONGBLOB() if kind is Kind.binary else mysql.LONGTEXT()
        return {Kind.moment: mysql.DATETIME(fsp=6), Kind.time: mysql.TIME(fsp=6)}.get(kind)

    def unfit(self, connection: Connection) -> str:
        """Require versions with large keys, and a character set for all of Unicode; preflight looks
        into utf8mb3.
        """
        cursor = self.cursor(connection)
        cursor.execute("SELECT VERSION(), @@character_set_database")
        version, charset = cursor.fetchone()
        family = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST[family]:
            return "%s %s is too old, %d.%d is needed" % (family, version, *OLDEST[family])
        if not charset.startswith("utf8"):
            return f"its character set is {charset}; change it with ALTER DATABASE ... CHARACTER SET utf8mb4"
        cursor.execute("SELECT @@innodb_default_row_format")
        if cursor.fetchone()[0] not in ("dynamic", "compressed"):
            return (
                "its rows have no room for the keys; SET GLOBAL innodb_default_row_format = dynamic"
            )
        return ""

    def begin_load(self, connection: Connection) -> None:
        """Leave keys and references, which are added and checked afterwards, alone."""
        self.cursor(connection).execute(
            "SET SESSION foreign_key_checks = 0, unique_checks = 0, default_storage_engine = 'InnoDB'"
        )

    def add_keys(self, connection: Connection, table: Table, keys: Sequence[Any]) -> None:
        """Add all by one statement, which the server carries out wholly or not at all."""
        from sqlalchemy import DDL

        statement = "ALTER TABLE {} {}".format(
            connection.dialect.identifier_preparer.format_table(table),
            ", ".join("ADD " + _definition(connection, key) for key in keys),
        )
        # Identifiers come with % doubled, as DDL wants it.
        connection.execute(DDL(statement))

    def end_load(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Look for references to nothing, since to add a foreign key with the check on copies the
        whole table.
        """
        self._check_references(connection, tables)
        self.cursor(connection).execute("SET SESSION foreign_key_checks = 1, unique_checks = 1")

    def begin_changes(self, connection: Connection) -> None:
        """Have the server not look at foreign keys."""
        self.cursor(connection).execute("SET SESSION foreign_key_checks = 0")

    def end_changes(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Look for references to nothing, which the server never does afterwards."""
        self._check_references(connection, tables)
        self.cursor(connection).execute("SET SESSION foreign_key_checks = 1")

    def _check_references(self, connection: Connection, tables: Sequence[Table]) -> None:
        cursor = self.cursor(connection)
        for table in tables:
            for constraint in table.foreign_key_constraints:
                cursor.execute(self._orphans(connection, constraint), ())
                if cursor.fetchone()[0]:
                    raise TuneError(
                        "{}.{} refers to rows that are not in {}".format(
                            table.name,
                            ", ".join(constraint.column_keys),
                            constraint.referred_table.name,
                        )
                    )

    def _orphans(self, connection: Connection, constraint: Any) -> str:
        def name(column: Any, alias: str) -> str:
            return f"{alias}.{self._in_statement(connection, column.name)}"

        pairs = [
            (name(element.parent, "one"), name(element.column, "other"))
            for element in constraint.elements
        ]
        return "SELECT EXISTS(SELECT 1 FROM {} AS one LEFT JOIN {} AS other ON {} WHERE {} AND {} IS NULL)".format(
            self._in_statement(connection, constraint.table.name),
            self._in_statement(connection, constraint.referred_table.name),
            " AND ".join("{} = {}".format(*pair) for pair in pairs),
            " AND ".join(f"{one} IS NOT NULL" for one, _ in pairs),
            pairs[0][1],
        )

    def takes_lines(self, connection: Connection) -> bool:
        """Whether the server allows LOAD DATA LOCAL."""
        cursor = self.cursor(connection)
        cursor.execute("SELECT @@local_infile")
        return bool(cursor.fetchone()[0])

    def load(self, connection: Connection, table: Table, lines: Lines) -> None:
        """Write rows by LOAD DATA LOCAL, which turns what does not fit into warnings: none is let
        pass.
        """
        cursor, sent = self.cursor(connection), 0

        def counted() -> Lines:
            nonlocal sent
            for number, text in lines:
                sent += number
                yield number, text

        def execute(path: str) -> None:
            try:
                cursor.execute(self._load_statement(connection, table, path))
            except AttributeError:
                # PyMySQL stumbles over the socket that it has just closed itself.
                raise connection.dialect.dbapi.OperationalError(
                    2013, "Lost connection to the server"
                ) from None

        through_pipe(counted(), execute)
        taken = cursor.rowcount
        cursor.execute("SHOW WARNINGS LIMIT 1")
        warning = cursor.fetchone()
        if warning:
            raise TuneError(
                f"{table.name}: {self._explained(connection, table, warning, taken == sent)}"
            )
        if taken != sent:
            raise TuneError("%s: the server took %d of %d rows" % (table.name, taken, sent))

    def _load_statement(self, connection: Connection, table: Table, path: str) -> str:
        names = [self.quoted(connection, column.name) for column in table.columns]
        binary = {
            number
            for number, column in enumerate(table.columns)
            if values.kind_of(column) is Kind.binary
        }
        fields = ", ".join(
            "@v%d" % number if number in binary else name for number, name in enumerate(names)
        )
        decoded = ", ".join(
            "%s = UNHEX(SUBSTRING(@v%d, 3))" % (names[number], number) for number in sorted(binary)
        )
        return (
            "LOAD DATA LOCAL INFILE '{}' INTO TABLE {} CHARACTER SET utf8mb4 FIELDS TERMINATED BY ','"
            " OPTIONALLY ENCLOSED BY '''' ESCAPED BY '' LINES TERMINATED BY '\\n' ({}){}".format(
                path,
                self.quoted(connection, table.name),
                fields,
                " SET " + decoded if decoded else "",
            )
        )

    def _explained(
        self, connection: Connection, table: Table, warning: Sequence[Any], whole: bool
    ) -> str:
        """Name the row of the first warning, by its key unless rows were left out."""
        _, code, said = warning
        if code == DUPLICATE:
            return "two rows have the same {}".format(str(said).rpartition(" for ")[2] or "key")
        place = re.search(r" at row (\d+)$", str(said))
        keys = [self.quoted(connection, column.name) for column in table.primary_key.columns]
        if not place or not keys or not whole:
            return str(said)
        cursor = self.cursor(connection)
        cursor.execute(
            "SELECT %s FROM %s ORDER BY %s LIMIT 1 OFFSET %d"
            % (
                ", ".join(keys),
                self.quoted(connection, table.name),
                ", ".join(keys),
                int(place.group(1)) - 1,
            )
        )
        return "{} in the row with the key {}".format(
            str(said)[: place.start()], ", ".join(map(str, cursor.fetchone() or ("?",)))
        )

    def insert(self, connection: Connection, table: Table, rows: Iterator[Sequence[Row]]) -> None:
        """Write rows by INSERT; both drivers put many into one statement."""
        statement = "INSERT INTO {} ({}) VALUES ({})".format(
            self._in_statement(connection, table.name),
            ", ".join(self._in_statement(connection, column.name) for column in table.columns),
            ", ".join("%s" for _ in table.columns),
        )
        cursor = self.cursor(connection)
        for batch in rows:
            if batch:
                cursor.executemany(statement, batch)

    def set_last_key(self, connection: Connection, table: Table, column: Column, key: int) -> None:
        """Set AUTO_INCREMENT, which commits, unless the rows themselves have brought it there."""
        if self.last_key(connection, table) != key:
            self.cursor(connection).execute(
                "ALTER TABLE %s AUTO_INCREMENT = %d"
                % (self.quoted(connection, table.name), key + 1)
            )

    def analyze(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Run ANALYZE TABLE, which commits."""
        if tables:
            cursor = self.cursor(connection)
            cursor.execute(
                "ANALYZE TABLE "
                + ", ".join(self.quoted(connection, table.name) for table in tables)
            )
            cursor.fetchall()

    def _in_statement(self, connection: Connection, name: str) -> str:
        """Quote an identifier for a statement that has arguments."""
        return self.quoted(connection, name).replace("%", "%%")


def _is_key(column: Column) -> bool:
    from sqlalchemy import CheckConstraint

    keys = [item for item in column.table.constraints if not isinstance(item, CheckConstraint)]
    return any(column.name in item.columns for item in [*keys, *column.table.indexes])


def _definition(connection: Connection, key: Any) -> str:
    """Return a key or an index as it stands in ALTER TABLE."""
    from sqlalchemy import Index
    from sqlalchemy.schema import CreateIndex

    compiler = connection.dialect.ddl_compiler(connection.dialect, None)
    if not isinstance(key, Index):
        return str(compiler.process(key))
    # CREATE UNIQUE INDEX name ON table (columns)
    made = str(compiler.process(CreateIndex(key)))
    name, _, columns = made.partition(
        f" ON {connection.dialect.identifier_preparer.format_table(key.table)} "
    )
    return "{} {}".format(name.replace("CREATE ", "", 1), columns)
