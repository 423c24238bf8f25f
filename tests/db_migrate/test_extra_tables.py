"""Tables without a model, with everything that all engines have, from each to each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, Options
from kallithea_tune.db_migrate.inventory.items import Fate

ENGINES = ["sqlite", "postgresql", "mysql"]
# In SQL of each engine: {key} is a generated key, {text} text of any length ...
TABLES = """
    CREATE TABLE plug_note (
        id {key}, user_id INTEGER REFERENCES users (user_id) ON DELETE CASCADE, txt {text},
        "done%" INTEGER DEFAULT 5, "it's" VARCHAR(20) DEFAULT 'it''s 100%' NOT NULL,
        "a:b c" {text}, "Upper" BIGINT,
        CHECK (char_length("it's") < 50), CHECK ("done%" BETWEEN -1 AND 5000 OR "done%" IS NULL));
    CREATE INDEX "idx%a" ON plug_note ("done%", "Upper");
    CREATE TABLE "Plug Two" (
        a INTEGER NOT NULL, b VARCHAR(40) NOT NULL, note_id {note},
        at {moment} DEFAULT CURRENT_TIMESTAMP, born DATE DEFAULT '2000-01-31', tm {time},
        seen {instant}, flag {boolean} DEFAULT {true} NOT NULL, CHECK (b IN ('x', 'y%', 'it''s')),
        PRIMARY KEY (a, b), UNIQUE (note_id, born),
        FOREIGN KEY (note_id) REFERENCES plug_note (id));
    CREATE TABLE plug_text (name VARCHAR(60) PRIMARY KEY, price NUMERIC(10, 2) DEFAULT 1.50,
        exact {exact}, ratio {double}, raw {binary}, single {double});
    CREATE TABLE plug_bare (n BIGINT, t {text})
"""
"""
"""
TYPES = {
    "sqlite": {
        "key": "INTEGER PRIMARY KEY",
        "note": "INTEGER",
        "text": "TEXT",
        "moment": "DATETIME",
        "time": "TIME",
        "instant": "TIMESTAMP WITH TIME ZONE",
        "boolean": "BOOLEAN",
        "true": "1",
        "exact": "DECIMAL_TEXT(40, 12)",
        "double": "DOUBLE",
        "binary": "BLOB",
    },
    "postgresql": {
        "key": "SERIAL PRIMARY KEY",
        "note": "INTEGER",
        "text": "TEXT",
        "moment": "TIMESTAMP",
        "time": "TIME",
        "instant": "TIMESTAMP WITH TIME ZONE",
        "boolean": "BOOLEAN",
        "true": "true",
        "exact": "NUMERIC(40, 12)",
        "double": "DOUBLE PRECISION",
        "binary": "BYTEA",
    },
    "mysql": {
        "key": "INTEGER PRIMARY KEY AUTO_INCREMENT",
        "note": "INTEGER",
        "text": "LONGTEXT",
        "moment": "DATETIME(6)",
        "time": "TIME(6)",
        "instant": "TIMESTAMP(6) NULL",
        "boolean": "BOOLEAN",
        "true": "1",
        "exact": "DECIMAL(40, 12)",
        "double": "DOUBLE",
        "binary": "LONGBLOB",
    },
}
ROWS = """
    INSERT INTO plug_note (id, user_id, txt, "done%", "it's", "a:b c", "Upper") VALUES
        (1, 1, 'größe', 7, '', NULL, 9223372036854775807),
        (5, NULL, '', NULL, 'it''s', ':a %s', -1);
    INSERT INTO plug_note (id, "Upper") VALUES (7, 0);
    INSERT INTO "Plug Two" VALUES
        (1, 'x', 1, '2024-02-29 23:59:59.123456', '2024-01-31', '23:59:59.5',
         '2024-07-01 12:00:00{utc}', {true}), (1, 'y%', NULL, NULL, NULL, NULL, NULL, {true});
    INSERT INTO plug_text (name, exact, ratio, raw) VALUES
        ('one', {quote}1234567890123456789012345678.000000000001{quote}, 0.1e0, {raw}),
        ('two', {quote}-0.5{quote}, 1.7976931348623157e308, NULL), ('', NULL, 5e-324, NULL);
    INSERT INTO plug_bare VALUES (1, 'same'), (1, 'same'), (NULL, NULL)
"""
LITERALS = {
    "sqlite": {"utc": ".000000+00:00", "true": "1", "quote": "'", "raw": "x'00ff'"},
    "postgresql": {"utc": "+00", "true": "true", "quote": "", "raw": "'\\x00ff'"},
    "mysql": {"utc": "", "true": "1", "quote": "", "raw": "x'00ff'"},
}


def executed(url: str, statements: str) -> None:
    """Run statements that go to the driver as they are."""
    engine = sqlalchemy.create_engine(url)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    name = engine.dialect.name
    if name == "mysql":
        cursor.execute("SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+00:00'")
    for statement in statements.split(";\n"):
        if name == "sqlite":
            statement = statement.replace("char_length", "length")
            statement = statement.replace("23:59:59.5'", "23:59:59.500000'")
        cursor.execute(statement)
    connection.commit()
    connection.close()
    engine.dispose()


def migrated(ini: Path, url: str, **options: Any) -> Migration:
    with Migration(instances.load(str(ini)), url, Options(extra_tables=True, **options)) as moving:
        assert [item for item in moving.plan.items if item.fate is Fate.NOT_CARRIED] == []
        moving.check()
        assert moving.run().violations == []
        return moving


def emptied(request: Any, engine: str, name: str, tmp_path: Path) -> str:
    if engine == "sqlite":
        return "sqlite:///{}".format(tmp_path / f"{name}.db")
    fixture = {"postgresql": "postgresql", "mysql": "mariadb"}[engine]
    url: str = request.getfixturevalue(fixture).url(name)
    return url


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("source", ENGINES)
def test_everything_that_all_engines_have_arrives(
    source: str, target: str, instance: Path, with_url: Any, tmp_path: Path, request: Any
) -> None:
    ini, url = instance, "sqlite:///{}".format(instance.parent / "kallithea.db")
    if source != "sqlite":
        url = emptied(request, source, "extra_source", tmp_path)
        migrated(instance, url)
        ini = with_url(instance, url)
    executed(url, TABLES.format(**TYPES[source]))
    executed(url, ROWS.format(**LITERALS[source]))
    into = emptied(request, target, "extra_target", tmp_path)
    migrated(ini, into)
    with Migration(instances.load(str(ini)), into, Options(extra_tables=True)) as moving:
        assert moving.verify().differences == []
