"""Prints docs/db-migrate-types.rst: what each engine makes of the types of Kallithea's own models.

usage: types_table.py > docs/db-migrate-types.rst

Run by the Python of the virtual environment that holds Kallithea. A test holds the page against
this.
"""

from __future__ import annotations

import warnings
from typing import Any, Iterator

from sqlalchemy.dialects import mysql, postgresql, sqlite

from kallithea_tune.db.kinds import kind_of
from kallithea_tune.db_migrate import schema
from kallithea_tune.db_migrate.engines import engine_class

ENGINES = {
    "SQLite": sqlite.dialect(),
    "PostgreSQL": postgresql.dialect(),
    "MariaDB": mysql.dialect(),
}
HEAD = """\
====================
How the types change
====================

Every table is created from Kallithea's models, with the types that ``kallithea-cli
db-create`` would use, except where MariaDB would lose something. Before anything is written,
preflight finds the rows that the last column is about.

Kallithea 0.7.0 has these {count} columns:

"""


def columns() -> Iterator[tuple[Any, ...]]:
    """Yield for each column of the models the name, the kind, and for each engine its type and what
    that refuses.
    """
    from kallithea.model import db, meta

    assert db.User
    tables = schema.ordered(meta.Base.metadata)
    targets = {}
    for name, dialect in ENGINES.items():
        writer = engine_class(dialect.name).writer_class(connection=None)
        targets[name] = writer, schema.for_target(tables, writer, meta.Base.metadata)
    for table in tables:
        for column in table.columns:
            seen = []
            for name, dialect in ENGINES.items():
                writer, copies = targets[name]
                copy = copies.tables[table.name].columns[column.name]
                usual, chosen = (item.type.compile(dialect=dialect) for item in (column, copy))
                said = chosen if usual == chosen else f"{chosen} instead of {usual}"
                seen.append((said, writer.risk(copy)))
            yield f"{table.name}.{column.name}", kind_of(column), seen


def page() -> str:
    """Return the page."""
    groups: dict[Any, list[str]] = {}
    count = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, _, seen in columns():
            count += 1
            groups.setdefault(tuple(seen), []).append(name)
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 17 17 17 21 28", ""]
    for row in [
        ("Columns", *ENGINES, "What would be refused or changed"),
        *map(_row, sorted(groups.items(), key=lambda item: -len(item[1]))),
    ]:
        lines += [
            "   {} {}".format("  -" if number else "* -", text) for number, text in enumerate(row)
        ]
    return HEAD.format(count=count) + "\n".join(lines) + "\n"


def _row(group: tuple[Any, list[str]]) -> tuple[str, ...]:
    seen, names = group
    named = ", ".join(f"``{name}``" for name in names[:3]) + (
        " and %d more" % ((len(names) - 3,)) if len(names) > 3 else ""
    )
    risks = {engine: said for engine, (_, said) in zip(ENGINES, seen) if said}
    together = {
        said: [engine for engine in risks if risks[engine] == said] for said in risks.values()
    }
    said = "; ".join(
        "{}: {}".format(" and ".join(engines), risk) for risk, engines in together.items()
    )
    return (named, *(text for text, _ in seen), said or "nothing")


if __name__ == "__main__":
    print(page(), end="")
