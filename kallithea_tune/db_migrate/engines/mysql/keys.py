"""The SQL of keys in MariaDB and MySQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Sequence, Union

if TYPE_CHECKING:
    from sqlalchemy import Column, Constraint, ForeignKeyConstraint, Index, Table
    from sqlalchemy.engine import Dialect


def is_in_key(column: Column) -> bool:
    """Tell whether a key or an index has `column`."""
    from sqlalchemy import CheckConstraint

    keys = [item for item in column.table.constraints if not isinstance(item, CheckConstraint)]
    return any(column.name in item.columns for item in [*keys, *column.table.indexes])


def alter_table(dialect: Dialect, table: Table, keys: Sequence[Union[Constraint, Index]]) -> str:
    """Return the statement that adds keys and indexes to a table."""
    name = dialect.identifier_preparer.format_table(table)
    return f"ALTER TABLE {name} " + ", ".join("ADD " + _definition(dialect, key) for key in keys)


def _definition(dialect: Dialect, key: Union[Constraint, Index]) -> str:
    from sqlalchemy import Index
    from sqlalchemy.schema import CreateIndex

    compiler = dialect.ddl_compiler(dialect, None)
    if not isinstance(key, Index):
        return str(compiler.process(key))
    # CREATE UNIQUE INDEX name ON table (columns)
    statement = str(compiler.process(CreateIndex(key)))
    table = dialect.identifier_preparer.format_table(key.table)
    name, _, columns = statement.partition(f" ON {table} ")
    return "{} {}".format(name.replace("CREATE ", "", 1), columns)


def orphans(constraint: ForeignKeyConstraint, quoted: Callable[[str], str]) -> str:
    """Return a query for whether any row refers to one that does not exist."""
    pairs = [
        (f"child.{quoted(element.parent.name)}", f"parent.{quoted(element.column.name)}")
        for element in constraint.elements
    ]
    matches = " AND ".join(f"{child} = {parent}" for child, parent in pairs)
    filled = " AND ".join(f"{child} IS NOT NULL" for child, _ in pairs)
    return (
        f"SELECT EXISTS(SELECT 1 FROM {quoted(constraint.table.name)} AS child"
        f" LEFT JOIN {quoted(constraint.referred_table.name)} AS parent ON {matches}"
        f" WHERE {filled} AND {pairs[0][1]} IS NULL)"
    )
