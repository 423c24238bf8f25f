"""Which rows refer to which."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, AbstractSet, Iterable, Iterator, Mapping, NamedTuple, Sequence

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.values import Value, stored

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


def referring_rows(
    source: base.Engine, place: Place, selected: str, values: AbstractSet[Value], most: int = 0
) -> Iterator[Sequence[Value]]:
    """Select, in SQL, from the rows whose column `place` has one of `values`, in storage form.

    These are divided among several statements, each of which returns `most` rows at most; 0 is no
    limit.
    """
    import sqlalchemy

    quoted = source.quoted_in_text
    statement = sqlalchemy.text(
        f"SELECT {selected} FROM {quoted(place.table)} WHERE {quoted(place.column)} IN :values"
        + (f" LIMIT {most}" if most else "")
    )
    expected = sorted(values, key=repr)
    for start in range(0, len(expected), VALUES_TOGETHER):
        bound = statement.bindparams(
            sqlalchemy.bindparam(
                "values", expected[start : start + VALUES_TOGETHER], expanding=True
            )
        )
        for row in source.connection.execute(bound):
            yield tuple(map(stored, row))


def names_in_text(source: base.Engine, names: Sequence[str]) -> str:
    """Return columns as they are selected by `referring_rows`."""
    return ", ".join(map(source.quoted_in_text, names))
