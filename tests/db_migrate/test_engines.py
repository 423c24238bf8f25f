"""What is true of all engine packages."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

import pytest
import sqlalchemy
from kallithea_tables import Database

from kallithea_tune import db_migrate
from kallithea_tune.db_migrate.engines import Engine, base, engine_class

PACKAGE = Path(db_migrate.__file__).parent
ENGINES = ["sqlite", "postgresql", "mysql"]
CHECKER = [
    *PACKAGE.glob("engines/*/fingerprint_sql.py"),
    *(PACKAGE / "verify" / f"{name}.py" for name in ("compare", "fingerprint", "pieces")),
    *(PACKAGE / "verify" / f"{name}.py" for name in ("difference", "unkeyed")),
]
COPIER = {"reading", "writing", "load_data", "keys", "stream", "copy", "schema"}


def imported(path: Path) -> Iterator[str]:
    """The last parts of the modules and names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield str(node.module).rpartition(".")[2]
            yield from (alias.name for alias in node.names)


def test_the_checker_shares_no_sql_with_the_copier() -> None:
    assert len(CHECKER) == 9
    for path in CHECKER:
        assert COPIER.isdisjoint(imported(path)), path
        source = path.read_text(encoding="utf-8")
        assert ".reader" not in source and ".writer" not in source, path
    # The copier imports what the checker must not.
    assert "stream" in set(imported(PACKAGE / "engines" / "postgresql" / "reading.py"))


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_all_parts(name: str) -> None:
    engine = engine_class(name)
    assert engine.__dialect__ == name and engine.__module__.endswith(f".engines.{name}")
    assert issubclass(engine.reader_class, base.Reader) and engine.reader_class is not base.Reader
    assert issubclass(engine.writer_class, base.Writer) and engine.writer_class is not base.Writer
    assert engine.column_limits_class is not base.ColumnLimits
    assert engine.violation_sql_class is not base.ViolationSql
    assert engine.fingerprint_sql_class is not None


def test_an_engine_that_nobody_knows_is_what_sqlalchemy_makes_of_it() -> None:
    assert engine_class("oracle") is Engine
    assert engine_class("no such dialect") is Engine


AWKWARD = ["plain", "100%:", "a%%b", 'q"u`o', "select", "größe"]


@pytest.mark.parametrize("name", ENGINES)
def test_any_identifier_can_be_quoted(databases: dict[str, Database], name: str) -> None:
    engine = databases[name].engine
    columns = ", ".join(f"{engine.quoted(column)} integer" for column in AWKWARD)
    cursor = engine.cursor()
    cursor.execute(f"CREATE TEMPORARY TABLE awkward ({columns})")
    cursor.execute("INSERT INTO awkward VALUES (1, 2, 3, 4, 5, 6)")
    try:
        for number, column in enumerate(AWKWARD, 1):
            cursor.execute(f"SELECT {engine.quoted(column)} FROM awkward")
            assert (cursor.description[0][0], cursor.fetchone()[0]) == (column, number)
            query = sqlalchemy.text(f"SELECT {engine.quoted_in_text(column)} FROM awkward")
            assert engine.connection.execute(query).scalar() == number
    finally:
        cursor.execute("DROP TABLE awkward")
        databases[name].commit()
