"""The schema of the database beside that of the application: revisions, and what tables lack.

The application's migrations are read without being run; its models are imported in a child.
"""

from __future__ import annotations

import ast
import enum
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, NamedTuple, Sequence

from kallithea_tune.app import application
from kallithea_tune.app.package import package_directory
from kallithea_tune.config.instance import as_bool
from kallithea_tune.db.tables import Described, key_column, modelled, reported
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.server import connected, database_facts, query_on
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.system import child
from kallithea_tune.system.files import entries

if TYPE_CHECKING:
    from sqlalchemy import Column, Constraint, Index, Table
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import Dialect

Revisions = Mapping[str, "frozenset[str]"]
REBUILT = "kallithea_tune_rebuilt"
_SEQUENCE = re.compile(r"nextval\('(?P<name>.+)'::regclass\)")


@dataclass(frozen=True)
class Migrations:
    """Each revision with those it follows; `starts_anyway` is ignore_alembic_revision of `ini`."""

    revisions: Revisions
    ini: str
    starts_anyway: bool

    @property
    def heads(self) -> list[str]:
        """The newest revisions: those that no other follows."""
        followed = {previous for parents in self.revisions.values() for previous in parents}
        return sorted(set(self.revisions) - followed)

    @property
    def examined(self) -> Examined:
        """The revisions."""
        return Examined(len(self.revisions), len(self.revisions), "revision")


@measurement()
def migrations(context: Context) -> Migrations:
    """Read the application's migrations as text.

    Raises NotMeasured where the application's package is not found.
    """
    instance = context.instance
    ignored = as_bool(instance.settings.get("ignore_alembic_revision", "false"))
    return Migrations(read_revisions(package_directory()), instance.path, ignored)


def read_revisions(package: str) -> Revisions:
    """Return the revisions in Alembic's scripts below the directory `package`, unimported."""
    revisions = {}
    for entry in entries(os.path.join(package, "alembic", "versions")):
        if entry.name.endswith(".py"):
            with open(entry.path, encoding="utf-8") as file:
                constants = dict(_constants(ast.parse(file.read())))
            revision, parents = constants.get("revision"), constants.get("down_revision") or ()
            if isinstance(revision, str) and isinstance(parents, (str, tuple, list)):
                revisions[revision] = frozenset([parents] if isinstance(parents, str) else parents)
    return revisions


def _constants(tree: ast.Module) -> Iterator[tuple[str, object]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                yield node.targets[0].id, ast.literal_eval(node.value)
            except ValueError:
                continue


class Aspect(enum.Enum):
    """What a table may lack, in the order in which it is made."""

    table = "table"
    column = "column"
    not_null = "NOT NULL"
    nullable = "NULL"
    primary_key = "primary key"
    generated_key = "generated key"
    next_key = "next key"
    unique_key = "unique key"
    index = "index"
    foreign_key = "foreign key"


class Lack(NamedTuple):
    """What a `table` lacks of its model: the columns in `what`, and the `sql` that adds them.

    In SQLite the table is made anew for most, with the same SQL for each.
    """

    aspect: Aspect
    table: str
    what: str
    sql: str


@dataclass(frozen=True)
class Lacks:
    """What the tables of the models lack in the database, in the order of repairs."""

    lacks: tuple[Lack, ...]
    tables: int

    @property
    def examined(self) -> Examined:
        """The tables of the models."""
        return Examined(self.tables, self.tables, "tables")


@measurement(
    seconds=3.0,
    needs=("database",),
    uses=(migrations, database_facts),
    decided_by=("sqlalchemy.*",),
)
def schema_lacks(context: Context) -> Lacks:
    """Compare the database with Kallithea's models, which are imported in a child.

    Raises NotMeasured where the database is of another revision: it has to differ then.
    """
    known, facts = context.measure(migrations), context.measure(database_facts)
    if not facts.tables:
        return Lacks((), 0)
    if facts.revisions and known.revisions and sorted(facts.revisions) != known.heads:
        raise NotMeasured("the database is not at the application's revision, see DB014")
    seconds = max(context.deadline.left, 2.0) + 8
    return child.call(compare, seconds, url=context.instance.database_url)


def compare(url: str) -> Lacks:
    """Return what the database of `url` lacks of the models; for a child."""
    tables = list(application.metadata().tables.values())
    with connected(url) as connection:
        found = [lack for table in tables for lack in table_lacks(connection, table)]
    order = list(Aspect)
    return Lacks(tuple(sorted(found, key=lambda lack: order.index(lack.aspect))), len(tables))


def table_lacks(connection: Connection, table: Table) -> Iterator[Lack]:
    """Yield what one table lacks, with the SQL of the connection's dialect that adds it.

    What serves as well is enough: an index that begins with the same columns, a unique index in
    place of a constraint, another name.
    """
    import sqlalchemy
    from sqlalchemy.schema import CreateIndex, CreateTable

    inspector, dialect = sqlalchemy.inspect(connection), connection.dialect
    if table.name not in inspector.get_table_names():
        sql = [str(CreateTable(table).compile(dialect=dialect)).strip()]
        sql += [str(CreateIndex(index).compile(dialect=dialect)) for index in _indexes(table)]
        yield Lack(Aspect.table, table.name, table.name, "; ".join(sql))
        return
    present, repair = reported(inspector, table.name), _Repair(table, dialect)
    yield from _missing_keys(table, present, repair)
    yield from _columns(table, present, repair, inspector.get_columns(table.name))
    column = key_column(table)
    if column is not None and dialect.name != "sqlite":
        yield from _next_key(connection, column, repair)


def _indexes(table: Table) -> list[Index]:
    return sorted(table.indexes, key=lambda index: str(index.name))


def _missing_keys(table: Table, present: Described, repair: _Repair) -> Iterator[Lack]:
    """Yield the keys and indexes that neither the database has, nor what is added anyway serves."""
    from sqlalchemy import UniqueConstraint

    expected, name = modelled(table), table.name
    uniques = {frozenset(columns) for columns in (*present.uniques, present.primary_key)}
    uniques |= {frozenset(index.columns) for index in present.indexes if index.unique}
    if frozenset(expected.primary_key) != frozenset(present.primary_key):
        yield repair.constraint(Aspect.primary_key, table.primary_key)
    for constraint in sorted(table.constraints, key=lambda item: str(item.name)):
        is_unique = isinstance(constraint, UniqueConstraint)
        if is_unique and frozenset(constraint.columns.keys()) not in uniques:
            yield repair.constraint(Aspect.unique_key, constraint)
    for key in sorted(table.foreign_key_constraints, key=lambda item: str(item.name)):
        if (tuple(key.column_keys), key.referred_table.name) not in present.foreign_keys:
            yield repair.constraint(Aspect.foreign_key, key)
    serving = [present.primary_key, *present.uniques, expected.primary_key, *expected.uniques]
    serving += [index.columns for index in present.indexes]
    for index in _indexes(table):
        columns = tuple(index.columns.keys())
        if not any(columns == other[: len(columns)] for other in serving):
            yield Lack(Aspect.index, name, ", ".join(columns), repair.index(index))


def _columns(
    table: Table, present: Described, repair: _Repair, described: Sequence[Mapping[str, object]]
) -> Iterator[Lack]:
    """Yield missing columns, those that differ in taking NULL, and unknown ones that refuse it."""
    shapes = {shape.name: shape for shape in present.columns}
    keys = set(table.primary_key.columns.keys())
    for column in table.columns:
        shape = shapes.get(column.name)
        if shape is None:
            yield Lack(Aspect.column, table.name, column.name, repair.column("ADD", column))
        elif column.name in keys:
            continue
        elif shape.nullable and not column.nullable:
            yield Lack(Aspect.not_null, table.name, column.name, repair.not_null(column, True))
        elif column.nullable and not shape.nullable:
            yield Lack(Aspect.nullable, table.name, column.name, repair.not_null(column, False))
    for item in described:
        name = str(item["name"])
        if name not in table.columns and not item["nullable"] and item.get("default") is None:
            yield Lack(Aspect.nullable, table.name, name, repair.drop(name))


class _Repair:
    """The SQL that adds to one table what it lacks; SQLite can only make the table anew."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        self._table, self._dialect = table, dialect
        self._quoted: Callable[[str], str] = dialect.identifier_preparer.quote
        self._sqlite = dialect.name == "sqlite"
        # Before AddConstraint takes its constraint out of it.
        self._create = self._compiled("CreateTable", table)
        self._anew = ""

    def _compiled(self, kind: str, item: object) -> str:
        from sqlalchemy import schema

        return str(getattr(schema, kind)(item).compile(dialect=self._dialect)).strip()

    @property
    def name(self) -> str:
        """The table's name as SQL has it."""
        return self._quoted(self._table.name)

    def constraint(self, aspect: Aspect, item: Constraint) -> Lack:
        columns = list(item.columns.keys())
        if self._sqlite and aspect is Aspect.unique_key:
            # An index is as good.
            names = ", ".join(map(self._quoted, columns))
            unique = self._quoted(f"{item.name or 'uq_' + '_'.join(columns)}")
            sql = f"CREATE UNIQUE INDEX {unique} ON {self.name} ({names})"
        else:
            sql = self.rebuild() if self._sqlite else self._compiled("AddConstraint", item)
        return Lack(aspect, self._table.name, ", ".join(columns), sql)

    def index(self, item: Index) -> str:
        return self._compiled("CreateIndex", item)

    def column(self, verb: str, column: Column) -> str:
        """Return the SQL that adds a column or changes it to what the model has."""
        if self._sqlite:
            return self.rebuild()
        return f"ALTER TABLE {self.name} {verb} COLUMN {self._compiled('CreateColumn', column)}"

    def not_null(self, column: Column, wanted: bool) -> str:
        if self._dialect.name == "mysql":
            return self.column("MODIFY", column)
        if self._sqlite:
            return self.rebuild()
        verb = "SET" if wanted else "DROP"
        return f"ALTER TABLE {self.name} ALTER COLUMN {self._quoted(column.name)} {verb} NOT NULL"

    def drop(self, name: str) -> str:
        """Return the SQL with which a column that Kallithea does not know may be left out."""
        if self._dialect.name == "postgresql":
            return f"ALTER TABLE {self.name} ALTER COLUMN {self._quoted(name)} DROP NOT NULL"
        return ""

    def rebuild(self) -> str:
        """Return the SQL that makes the table anew: https://www.sqlite.org/lang_altertable.html,
        making other kinds of table schema changes.
        """
        columns = ", ".join(self._quoted(column.name) for column in self._table.columns)
        create = self._create.replace(f"CREATE TABLE {self.name}", f"CREATE TABLE {REBUILT}", 1)
        steps = [
            "PRAGMA foreign_keys = OFF",
            "BEGIN",
            " ".join(create.split()),
            f"INSERT INTO {REBUILT} ({columns}) SELECT {columns} FROM {self.name}",
            f"DROP TABLE {self.name}",
            f"ALTER TABLE {REBUILT} RENAME TO {self.name}",
            *(self.index(index) for index in _indexes(self._table)),
            "COMMIT",
        ]
        return "; ".join(steps)

    def generated(self, column: Column) -> str:
        """Return the SQL that has the server generate the values of a key again."""
        if self._dialect.name == "mysql":
            return self.column("MODIFY", column)
        name = f"{self._table.name}_{column.name}_seq"
        sequence, quoted = self._quoted(name), self._quoted(column.name)
        return "; ".join(
            (
                f"CREATE SEQUENCE IF NOT EXISTS {sequence} OWNED BY {self.name}.{quoted}",
                f"ALTER TABLE {self.name} ALTER COLUMN {quoted} SET DEFAULT nextval('{sequence}')",
                self.next_key(column, name),
            )
        )

    def next_key(self, column: Column, sequence: str) -> str:
        highest = f"SELECT coalesce(max({self._quoted(column.name)}), 0) + 1 FROM {self.name}"
        return f"SELECT setval('{sequence}', ({highest}), false)"


def _next_key(connection: Connection, column: Column, repair: _Repair) -> Iterator[Lack]:
    """Yield that a server generates no keys, or next one that is in use."""
    import sqlalchemy

    table, query = column.table.name, query_on(connection)
    described = {item["name"]: item for item in sqlalchemy.inspect(connection).get_columns(table)}
    found = described.get(column.name)
    if found is None:
        return
    sequence = _SEQUENCE.search(str(found.get("default") or ""))
    if not sequence:
        if not found.get("autoincrement") and not found.get("identity"):
            yield Lack(Aspect.generated_key, table, column.name, repair.generated(column))
        return
    name = sequence["name"]
    next_key = query(f"SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {name}")
    quoted = connection.dialect.identifier_preparer.quote
    highest = query(f"SELECT max({quoted(column.name)}) FROM {repair.name}").scalar()
    if int(next_key.scalar()) <= int(highest or 0):
        yield Lack(Aspect.next_key, table, column.name, repair.next_key(column, name))
