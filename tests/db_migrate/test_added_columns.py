"""Columns and keys that were added to Kallithea's tables, through every step of a migration."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, Options
from kallithea_tune.db_migrate.inventory.items import not_carried
from kallithea_tune.errors import Refused

ADDED = """
    ALTER TABLE users ADD COLUMN phone VARCHAR(12);
    ALTER TABLE users ADD COLUMN level INTEGER NOT NULL DEFAULT 3;
    ALTER TABLE users ADD COLUMN mark VARCHAR(10) NOT NULL DEFAULT 'it''s 5%';
    ALTER TABLE users ADD COLUMN seen BOOLEAN NOT NULL DEFAULT 1;
    ALTER TABLE users ADD COLUMN boss INTEGER REFERENCES users (user_id);
    UPDATE users SET phone = '555-' || user_id, level = user_id, boss = 1, seen = user_id % 2;
    CREATE INDEX user_logs_action_date_idx ON user_logs (action_date, user_id DESC);
    CREATE UNIQUE INDEX users_phone_idx ON users (phone);
"""
COLUMNS = "user_id, phone, level, mark, seen, boss"
NEW_USER = """
    INSERT INTO users (username, password, active, admin, firstname, lastname, api_key, created_on)
    VALUES ('newest', 'x', {0}, {0}, 'Ann', 'B', 'key', '2024-01-01 00:00:00')
"""


def change(ini: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(str(ini.parent / "kallithea.db"))) as connection:
        connection.executescript(script)


def migration(ini: Path, url: str, **options: Any) -> Migration:
    return Migration(instances.load(str(ini)), url, Options(**options))


def users(url: str) -> list[tuple[Any, ...]]:
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        query = f"SELECT {COLUMNS} FROM users ORDER BY user_id"
        rows = [tuple(row) for row in connection.execute(sqlalchemy.text(query))]
    engine.dispose()
    return rows


def in_source(ini: Path) -> list[tuple[Any, ...]]:
    return users(f"sqlite:///{ini.parent / 'kallithea.db'}")


@pytest.mark.once
def test_added_columns_and_keys_come_along_and_the_application_uses_the_target(
    target: str, instance: Path, migrate: Any
) -> None:
    change(instance, ADDED)
    done = migrate(instance, target, asks=target.startswith("postgresql"))
    assert done.returncode == 0, done.stderr
    assert "Not carried" not in done.stdout
    assert users(target) == in_source(instance)
    engine = sqlalchemy.create_engine(target)
    inspector = sqlalchemy.inspect(engine)
    indexes = {
        index["name"]: (index["column_names"], bool(index["unique"]))
        for table in ("users", "user_logs")
        for index in inspector.get_indexes(table)
    }
    assert indexes["user_logs_action_date_idx"] == (["action_date", "user_id"], False)
    assert indexes["users_phone_idx"] == (["phone"], True)
    keys = [key["constrained_columns"] for key in inspector.get_foreign_keys("users")]
    assert keys == [["boss"]]
    with engine.connect() as connection:
        no = "false" if engine.dialect.name == "postgresql" else "0"
        connection.execute(sqlalchemy.text(NEW_USER.format(no)))
        connection.connection.commit()
    engine.dispose()
    assert users(target)[-1][1:] == (None, 3, "it's 5%", True, None)


@pytest.mark.once
def test_added_columns_are_caught_up_with_and_verified(
    target: str, instance: Path, migrate: Any
) -> None:
    change(instance, ADDED)
    with migration(instance, target) as moving:
        moving.check()
        moving.run()
    change(instance, "UPDATE users SET phone = 'changed' WHERE user_id = 2")
    with migration(instance, target) as moving:
        assert [item for item in moving.verify().differences if "users.phone" in item]
    with migration(instance, target) as moving:
        changes = moving.catch_up().changes
        assert [(item.table, item.changed) for item in changes or ()] == [("users", 1)]
    assert users(target) == in_source(instance)
    change(instance, "ALTER TABLE users ADD COLUMN later INTEGER")
    for step in (Migration.catch_up, Migration.verify, Migration.run):
        with migration(instance, target) as moving, pytest.raises(
            Refused, match="lacks 1 of the tables or columns .users.later.*--replace"
        ):
            step(moving)
    # What was left has no part in it.
    with migration(instance, target, leave=["users.later"]) as moving:
        assert moving.verify().differences == []


def test_preflight_finds_rows_that_an_added_column_or_key_does_not_take(
    postgresql: Any, instance: Path
) -> None:
    change(instance, ADDED)
    change(
        instance,
        "UPDATE users SET phone = 'far longer than 12' WHERE user_id = 2;"
        " UPDATE users SET boss = 99 WHERE user_id = 3",
    )
    with migration(instance, postgresql.url("added")) as moving:
        found = moving.run_preflight().violations
    assert {(item.rule.name, item.table, item.columns) for item in found} == {
        ("too-long", "users", ("phone",)),
        ("orphans", "users", ("boss",)),
    }


@pytest.mark.once
def test_a_dry_run_begins_with_what_is_not_carried(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    change(
        instance,
        "CREATE VIEW names AS SELECT username FROM users;"
        " CREATE INDEX some_logs ON user_logs (action_date) WHERE user_id > 3;"
        " CREATE TABLE note (id INTEGER PRIMARY KEY)",
    )
    url = postgresql.url("dry")
    done = migrate(instance, url, "-n", "--leave", "names")
    assert done.returncode == 3
    assert done.stdout.splitlines()[:6] == [
        "Not carried:",
        "  table note: no model has it; --extra-tables copies it",
        "  index user_logs.some_logs: it has a condition",
        "",
        "Not carried, accepted by --leave:",
        "  view names: it is a query in the SQL of its engine",
    ]
    assert "2 objects that the target would lack (table note, index user_logs.some_logs)" in (
        done.stderr
    )
    leave = ("--leave", "names", "--leave", "*.some_logs", "--extra-tables")
    done = migrate(instance, url, "-n", "-f", "json", *leave)
    assert done.returncode == 0
    items = json.loads(done.stdout)["plan"]["items"]
    assert {item["fate"] for item in items} == {
        "carried",
        "made from the models",
        "the engine's own",
        "not carried",
    }
    assert [item for item in items if item["name"] == "some_logs"] == [
        {
            "kind": "index",
            "table": "user_logs",
            "name": "some_logs",
            "fate": "not carried",
            "reason": "it has a condition",
            "accepted": True,
        }
    ]
    for words in ((), ("--verify",)):
        done = migrate(instance, url, *leave, *words)
        assert done.returncode == 0, done.stderr
        assert "Schema compared: 30 tables, 177 columns" in done.stdout
        assert "Not carried: view names, index user_logs.some_logs." in done.stdout
    done = migrate(instance, url, "-n", "--leave", "namse")
    assert done.returncode == 2 and "nothing called namse" in done.stderr


def test_a_target_that_lost_an_index_is_not_equal(postgresql: Any, instance: Path) -> None:
    change(instance, ADDED)
    url = postgresql.url("unequal")
    with migration(instance, url) as moving:
        moving.run()
    connection = postgresql.connect("unequal")
    connection.cursor().execute("DROP INDEX users_phone_idx, cc_revision_idx")
    connection.close()
    with migration(instance, url) as moving:
        differences = moving.verify().differences
    assert ["indexes of changeset_comments" in differences[0], "users_phone_idx" in differences[1]]
    assert len(differences) == 2


@pytest.mark.parametrize(
    "script, message",
    [
        ("DROP TABLE user_ssh_keys", "lacks what Kallithea's models have: user_ssh_keys;"),
        ("ALTER TABLE users RENAME COLUMN user_data TO other", "models have: users.user_data;"),
        (
            "DROP TABLE gists; CREATE VIEW gists AS SELECT 1 AS gist_id",
            "gists in the source cannot be migrated, because it is a view",
        ),
        (
            "UPDATE alembic_version SET version_num = 'ad357ccd9521';"
            " ALTER TABLE users RENAME COLUMN user_data TO extern",
            "upgrade the database first",
        ),
        (
            "UPDATE alembic_version SET version_num = '0123456789ab'",
            "a newer version has upgraded it",
        ),
        ("DELETE FROM alembic_version", "no revision in alembic_version"),
        ("DROP TABLE alembic_version", "no revision in alembic_version"),
        ("INSERT INTO alembic_version VALUES ('ad357ccd9521')", "has 2 rows"),
    ],
)
def test_a_source_that_is_not_kallitheas_is_refused_first(
    tmp_path: Path, instance: Path, script: str, message: str
) -> None:
    change(instance, script)
    place = tmp_path / "new.db"
    with pytest.raises(Refused, match=message):
        migration(instance, f"sqlite:///{place}")
    assert not place.exists()


@pytest.mark.parametrize("words", [(), ("-n",), ("--verify",), ("--catch-up",), ("-n", "--switch")])
def test_every_step_says_to_upgrade_first(
    tmp_path: Path, instance: Path, migrate: Any, words: Any
) -> None:
    change(
        instance,
        "UPDATE alembic_version SET version_num = 'ad357ccd9521';"
        " ALTER TABLE users RENAME COLUMN user_data TO extern",
    )
    done = migrate(instance, f"sqlite:///{tmp_path / 'new.db'}", *words)
    assert done.returncode == 3 and not done.stdout
    assert "upgrade the database first" in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_option_that_there_is_not_is_wrong_usage(instance: Path, gearbox: Any) -> None:
    done = gearbox(
        "db-migrate", "-c", instance, "--to", "sqlite:///x.db", "-n", "--metadata", "a:b"
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "unrecognized arguments: --metadata" in done.stderr


@pytest.mark.once
def test_indexes_of_the_same_name_are_told_apart(
    mariadb: Any, postgresql: Any, instance: Path, with_url: Any
) -> None:
    url = mariadb.url("twins")
    with migration(instance, url) as moving:
        moving.run()
    connection = mariadb.connect("twins")
    for table, column in (("users", "lastname"), ("gists", "gist_type")):
        connection.cursor().execute(f"CREATE INDEX twin ON {table} ({column})")
    connection.close()
    ini = with_url(instance, url)
    with migration(ini, postgresql.url("twins")) as moving:
        moving.check()
        assert not_carried(moving.plan.items) == []
        assert moving.run().differences == []
    cursor = postgresql.connect("twins").cursor()
    cursor.execute("SELECT tablename, indexname FROM pg_indexes WHERE indexname LIKE '%twin'")
    assert sorted(cursor.fetchall()) == [("gists", "twin"), ("users", "users_twin")]
