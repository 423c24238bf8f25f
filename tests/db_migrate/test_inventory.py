"""Things of every kind, planted in sources of all three engines, are in the target or named."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import sqlalchemy

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, Options
from kallithea_tune.db_migrate.inventory.items import Fate, ItemKind, not_carried
from kallithea_tune.errors import Refused

pytestmark = pytest.mark.once


ENGINES = ("sqlite", "postgresql", "mariadb")

# What is carried from everywhere to everywhere.
CARRIED = (
    "ALTER TABLE users ADD COLUMN phone VARCHAR(40)",
    "ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 3 NOT NULL",
    "UPDATE users SET phone = 'it''s 555', level = user_id + 4",
    "CREATE INDEX user_logs_action_date_idx ON user_logs (action_date)",
    "CREATE UNIQUE INDEX users_level_idx ON users (level, username)",
)
PLANTED: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "CREATE TABLE note (id INTEGER PRIMARY KEY, t VARCHAR(20))",
        "CREATE VIEW names AS SELECT username FROM users",
        "CREATE TRIGGER audit AFTER INSERT ON users BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE found USING fts4(a)",
        "CREATE INDEX some_logs ON user_logs (action_date) WHERE user_id > 3",
        "CREATE INDEX lower_action ON user_logs (lower(action))",
        "ALTER TABLE users ADD COLUMN twice INTEGER GENERATED ALWAYS AS (level * 2) VIRTUAL",
        "ALTER TABLE users ADD COLUMN small INTEGER CHECK (small < 50)",
    ),
    "postgresql": (
        "CREATE TABLE note (id INTEGER PRIMARY KEY, t VARCHAR(20))",
        "CREATE VIEW names AS SELECT username FROM users",
        "CREATE MATERIALIZED VIEW kept AS SELECT username FROM users",
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER audit BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION nothing()",
        "CREATE RULE quiet AS ON DELETE TO note DO INSTEAD NOTHING",
        "CREATE SEQUENCE tickets START 7",
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE SCHEMA other CREATE TABLE apart (id INTEGER)",
        "CREATE INDEX some_logs ON user_logs (action_date) WHERE user_id > 3",
        "CREATE INDEX lower_action ON user_logs (lower(action))",
        "CREATE INDEX hashed ON user_logs USING hash (username)",
        "ALTER TABLE users ADD COLUMN twice INTEGER GENERATED ALWAYS AS (level * 2) STORED",
        "ALTER TABLE users ADD CONSTRAINT small CHECK (level < 5000)",
        "ALTER TABLE users ADD CONSTRAINT level_once UNIQUE (level, lastname)",
        "ALTER TABLE users ADD CONSTRAINT level_again UNIQUE (level, firstname)",
        "CREATE INDEX phone ON users (phone)",
    ),
    "mariadb": (
        "CREATE TABLE note (id INTEGER PRIMARY KEY, t VARCHAR(20))",
        "CREATE VIEW names AS SELECT username FROM users",
        "CREATE TRIGGER audit BEFORE INSERT ON users FOR EACH ROW SET @a = 1",
        "CREATE PROCEDURE nothing() SELECT 1",
        "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        "CREATE SEQUENCE tickets START WITH 7",
        "CREATE INDEX start_idx ON user_logs (action(10))",
        "CREATE FULLTEXT INDEX words_idx ON user_logs (action)",
        "ALTER TABLE users ADD COLUMN twice INTEGER GENERATED ALWAYS AS (level * 2) STORED",
        "ALTER TABLE users ADD CONSTRAINT small CHECK (level < 5000)",
        "CREATE TABLE versions (id INTEGER PRIMARY KEY) WITH SYSTEM VERSIONING",
    ),
}
# By kind and full name, what the target lacks and --leave accepts.
NAMED: dict[str, set[str]] = {
    "sqlite": {
        "table note",
        "view names",
        "trigger users.audit",
        "table found",
        "index user_logs.some_logs",
        "index user_logs.lower_action",
        "generated column users.twice",
    },
    "postgresql": {
        "table note",
        "view names",
        "view kept",
        "routine nothing",
        "trigger users.audit",
        "sequence tickets",
        "type mood",
        "table of another schema other.apart",
        "index user_logs.some_logs",
        "index user_logs.lower_action",
        "index user_logs.hashed",
        "generated column users.twice",
    },
    "mariadb": {
        "table note",
        "view names",
        "trigger users.audit",
        "routine nothing",
        "event nightly",
        "sequence tickets",
        "index user_logs.start_idx",
        "index user_logs.words_idx",
        "generated column users.twice",
        "table versions",
    },
}

Sources = Callable[[str], Path]


@pytest.fixture(scope="module")
def sources(
    postgresql: Any, mariadb: Any, pristine: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sources]:
    """A real database in each engine, as an ini file; the same one for all tests of the module."""
    directory = tmp_path_factory.mktemp("sources") / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    inis = {"sqlite": directory / "my.ini"}

    def ini_of(engine: str) -> Path:
        if engine not in inis:
            url = {"postgresql": postgresql, "mariadb": mariadb}[engine].url("inventory")
            with Migration(instances.load(str(directory / "my.ini")), url) as migration:
                migration.run()
            inis[engine] = directory / f"{engine}.ini"
            text = (directory / "my.ini").read_text()
            inis[engine].write_text(
                text.replace("sqlite:///%(here)s/kallithea.db?timeout=60", url.replace("%", "%%"))
            )
        return inis[engine]

    for engine in ENGINES:
        ini_of(engine)
    yield ini_of


def run(ini: Path, *statements: str) -> list[Any]:
    engine = sqlalchemy.create_engine(instances.load(str(ini)).database_url)
    with engine.connect() as connection:
        for statement in statements:
            result = connection.execute(sqlalchemy.text(statement))
        rows = list(result) if result.returns_rows else []
        connection.connection.commit()
    engine.dispose()
    return rows


def target_url(engine: str, request: Any, tmp_path: Path, name: str = "lists") -> str:
    if engine == "sqlite":
        return f"sqlite:///{tmp_path / name}.db"
    url: str = request.getfixturevalue(engine).url(name)
    return url


@pytest.mark.parametrize("engine", ENGINES)
def test_a_database_with_nothing_but_the_models_loses_nothing(
    sources: Sources, engine: str, request: Any, tmp_path: Path
) -> None:
    url = target_url("sqlite", request, tmp_path)
    with Migration(instances.load(str(sources(engine))), url) as migration:
        migration.check()
        items = migration.plan.items
    assert not_carried(items) == []
    tables = [item for item in items if item.kind is ItemKind.TABLE and item.fate is Fate.CARRIED]
    columns = [item for item in items if item.kind is ItemKind.COLUMN and item.fate is Fate.CARRIED]
    assert (len(tables), len(columns)) == (29, 176)
    made = {
        kind: {
            (item.table, item.name)
            for item in items
            if item.kind is kind and item.fate in (Fate.FROM_MODELS, Fate.INTERNAL)
        }
        for kind in (ItemKind.INDEX, ItemKind.FOREIGN_KEY)
    }
    assert len(made[ItemKind.INDEX]) >= 22 and len(made[ItemKind.FOREIGN_KEY]) == 54
    own = {item.label for item in items if item.fate is Fate.CARRIED} - {
        item.label for item in tables + columns
    }
    # PostgreSQL alone has sequences.
    assert len(own) == (29 if engine == "postgresql" else 0), own


@pytest.mark.parametrize(
    "source, target", [("sqlite", "postgresql"), ("postgresql", "mariadb"), ("mariadb", "sqlite")]
)
def test_what_was_planted_is_in_the_target_or_named(
    sources: Sources, source: str, target: str, request: Any, tmp_path: Path
) -> None:
    ini = sources(source)
    run(ini, *CARRIED, *PLANTED[source])
    url = target_url(target, request, tmp_path)
    loaded = instances.load(str(ini))
    with Migration(loaded, url) as migration:
        lost = not_carried(migration.plan.items)
        with pytest.raises(Refused, match=f"{len(lost)} objects .* --leave NAME"):
            migration.check()
    labels = {item.label for item in lost}
    assert labels == NAMED[source]
    assert all(item.reason for item in lost)
    leave = [item.full_name for item in lost]
    with Migration(loaded, url, Options(leave=leave)) as migration:
        migration.check()
        assert {item.label for item in not_carried(migration.plan.items)} == NAMED[source]
        assert migration.run().differences == []
    engine = sqlalchemy.create_engine(url)
    inspector = sqlalchemy.inspect(engine)
    indexes = {
        index["name"]: (index["column_names"], bool(index["unique"]))
        for table in ("users", "user_logs")
        for index in inspector.get_indexes(table)
    }
    assert indexes["user_logs_action_date_idx"] == (["action_date"], False)
    assert indexes["users_level_idx"] == (["level", "username"], True)
    if source == "postgresql":
        assert indexes["level_once"] == (["level", "lastname"], True)
        assert indexes["level_again"] == (["level", "firstname"], True)
        assert indexes["phone"] == (["phone"], False)
    assert "note" not in inspector.get_table_names()
    with engine.connect() as connection:
        query = "SELECT user_id, phone, level FROM users ORDER BY 1"
        rows = [tuple(row) for row in connection.execute(sqlalchemy.text(query))]
        assert rows and rows == [(key, "it's 555", key + 4) for key, _, _ in rows]
    engine.dispose()


def test_keys_without_names_of_their_own_get_different_ones(tmp_path: Path, instance: Path) -> None:
    with contextlib.closing(sqlite3.connect(str(instance.parent / "kallithea.db"))) as connection:
        connection.executescript("""
            CREATE TABLE pair (a INTEGER, b INTEGER, c INTEGER, UNIQUE (a, b), UNIQUE (a, c));
            CREATE INDEX twin ON users (lastname);
            CREATE TABLE twins (a INTEGER);
        """)
    url = f"sqlite:///{tmp_path / 'pair.db'}"
    with Migration(instances.load(str(instance)), url, Options(extra_tables=True)) as migration:
        migration.check()
        assert migration.run().differences == []
    engine = sqlalchemy.create_engine(url)
    keys = sqlalchemy.inspect(engine).get_unique_constraints("pair")
    engine.dispose()
    assert {key["name"]: key["column_names"] for key in keys} == {
        "uq_pair_a_b": ["a", "b"],
        "uq_pair_a_c": ["a", "c"],
    }


def test_an_index_that_the_target_cannot_have_is_named(mariadb: Any, instance: Path) -> None:
    with contextlib.closing(sqlite3.connect(str(instance.parent / "kallithea.db"))) as connection:
        connection.executescript("""
            ALTER TABLE users ADD COLUMN story TEXT;
            CREATE INDEX action_idx ON user_logs (action);
            CREATE INDEX story_idx ON users (story);
            CREATE INDEX date_idx ON user_logs (action_date);
        """)
    loaded, url = instances.load(str(instance)), mariadb.url("long")
    with Migration(loaded, url) as migration:
        named = {item.full_name: item.reason for item in not_carried(migration.plan.items)}
        assert set(named) == {"user_logs.action_idx"}
        assert "would limit action to" in named["user_logs.action_idx"]
        with pytest.raises(Refused, match="index user_logs.action_idx"):
            migration.check()
    with Migration(loaded, url, Options(leave=["action_idx"])) as migration:
        migration.check()
        assert migration.run().differences == []
    cursor = mariadb.connect("long").cursor()
    cursor.execute("SHOW COLUMNS FROM user_logs LIKE 'action'")
    assert "text" in cursor.fetchone()[1]
