"""Prints docs/db-migrate-types.rst: what each engine makes of the types of Kallithea's own models.

usage: types_table.py > docs/db-migrate-types.rst

Run by the Python of the virtual environment that holds Kallithea. A test compares the
page with this.
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
preflight finds the rows to which the last column applies.

Kallithea 0.7.0 has these {count} columns:

"""

FOOT = """\
Tables without a model
======================

With ``--extra-tables``, and for columns that were added to Kallithea's tables, a column has the
type that its database declares:

.. list-table::
   :header-rows: 1
   :widths: 30 20 20 30

   * - Values
     - SQLite
     - PostgreSQL
     - MariaDB
   * - integers, up to 64 bits
     - INTEGER as a key, BIGINT
     - BIGINT, BIGSERIAL as a generated key
     - BIGINT, with AUTO_INCREMENT as a generated key
   * - yes or no; in MariaDB TINYINT(1) with nothing but 0 and 1
     - BOOLEAN
     - BOOLEAN
     - BOOL
   * - floats, single ones as the double of the same value
     - FLOAT
     - FLOAT(53)
     - FLOAT(53)
   * - decimals; those of more than 15 digits are text in SQLite
     - NUMERIC(p, s) or DECIMAL_TEXT(p, s)
     - NUMERIC(p, s)
     - NUMERIC(p, s), DECIMAL(65, 30) where no digits are declared
   * - texts
     - VARCHAR(n) or TEXT
     - VARCHAR(n) or TEXT
     - VARCHAR(n) or LONGTEXT, VARCHAR(255) in a key
   * - dates and times without a zone
     - DATETIME, DATE, TIME
     - TIMESTAMP, DATE, TIME WITHOUT TIME ZONE
     - DATETIME(6), DATE, TIME(6)
   * - moments with a zone, written in UTC whatever the zone of the session or of the database
     - TIMESTAMP WITH TIME ZONE, a text such as ``2024-07-01 12:00:00.000000+00:00``
     - TIMESTAMP WITH TIME ZONE
     - TIMESTAMP(6), from 1970 to 2038
   * - bytes
     - BLOB
     - BYTEA
     - LONGBLOB

If the declared type of a SQLite column is not informative, the column gets the type of its values,
provided that they all have the same one. Keys, unique and ordinary indexes, foreign keys with their
actions, defaults and checks are carried. Defaults can be constants, ``CURRENT_TIMESTAMP`` and
``CURRENT_DATE``; checks can compare columns with constants and each other, and use ``IN``,
``BETWEEN``, ``IS NULL`` and the length of a text, combined with ``AND``, ``OR`` and ``NOT``. Text
can only be compared for equality, since its order depends on collations.

Everything else is an obstacle: ``--dry-run`` lists it with the reason, and only ``--leave`` accepts
it. The rest of the table is carried without it. Obstacles are:

- columns of other types (custom types, domains, enums, SET, arrays, PostgreSQL JSON, UUID, network
  addresses, intervals, BIT, BIGINT UNSIGNED, spatial types, padded CHAR of PostgreSQL), and
  columns that are generated from others;
- partial, functional, full-text and spatial indexes, indexes on prefixes or with their own operator
  class or collation, and deferrable keys;
- unusual collations: the column is carried without its collation;
- values that the target would change: decimals with more digits than declared, a negative zero
  to SQLite and MariaDB, moments beyond those of MariaDB's TIMESTAMP;
- anything that the target itself refuses: each table is first created there as a temporary one, so
  names, keys and rows that are too long are known before anything is written.

To leave a default behind, use ``--leave "TABLE.COLUMN DEFAULT"``; for a collation, ``--leave
"TABLE.COLUMN COLLATE NAME"``; for a unique key of SQLite, which has no name, ``--leave
"TABLE.UNIQUE (COLUMNS)"``.
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
    return HEAD.format(count=count) + "\n".join(lines) + "\n\n" + FOOT


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
