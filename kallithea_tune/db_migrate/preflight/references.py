"""Which rows refer to which."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, AbstractSet, Iterable, Iterator, Mapping, NamedTuple, Sequence

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.values import Row, Value, stored

if TYPE_CHECKING:
    from sqlalchemy import Table

VALUES_TOGETHER = 500  # in one statement; SQLite before 3.32 takes 999


class Place(NamedTuple):
    """A column of a table."""

    table: str
    column: str


# For columns that others refer to, the values of rows that are left out.
Lost = Mapping[Place, AbstractSet[Value]]


class References:
    """Which column refers to which, in the tables that are copied.

    References of several columns are left aside.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self.to: dict[Place, list[Place]] = defaultdict(list)
        for table in tables:
            for constraint in table.foreign_key_constraints:
                if len(constraint.elements) == 1:
                    element = constraint.elements[0]
                    referred, _, column = element.target_fullname.rpartition(".")
                    place = Place(table.name, element.parent.name)
                    self.to[Place(referred, column)].append(place)

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table that others refer to."""
        return [place.column for place in self.to if place.table == table]


def parts(values: AbstractSet[Value]) -> Iterator[set[Value]]:
    """Divide values among statements, in a certain order."""
    expected = sorted(values, key=repr)
    for start in range(0, len(expected), VALUES_TOGETHER):
        yield set(expected[start : start + VALUES_TOGETHER])


def referring_rows(
    source: base.Engine,
    table: str,
    selected: str,
    wanted: Mapping[str, AbstractSet[Value]],
    most: int = 0,
) -> Iterator[Row]:
    """Select, in SQL, from the rows with one of the `wanted` values in a column, in storage form.

    These are `most` rows at most; 0 is no limit.
    """
    import sqlalchemy

    quoted = source.quoted_in_text
    columns = [(name, values) for name, values in wanted.items() if values]
    tests = " OR ".join(f"{quoted(name)} IN :v{n}" for n, (name, _) in enumerate(columns))
    limit = f" LIMIT {most}" if most else ""
    statement = sqlalchemy.text(f"SELECT {selected} FROM {quoted(table)} WHERE {tests}{limit}")
    bound = statement.bindparams(
        *(
            sqlalchemy.bindparam(f"v{n}", list(values), expanding=True)
            for n, (_, values) in enumerate(columns)
        )
    )
    for row in source.connection.execute(bound):
        yield tuple(map(stored, row))


def names_in_text(source: base.Engine, names: Sequence[str]) -> str:
    """Return columns as they are selected by `referring_rows`."""
    return ", ".join(map(source.quoted_in_text, names))
