from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from catalogs import catalog


@pytest.fixture(scope="module")
def created(postgresql: Any, created_on: Any) -> list[Any]:
    created_on(postgresql.url("created"))
    return catalog(postgresql, "created")


def test_everything_arrives_in_the_schema_that_kallithea_makes(
    postgresql: Any, instance: Path, migrate: Any, read: Any, created: list[Any]
) -> None:
    url = postgresql.url("moved")
    before = (instance.parent / "kallithea.db").read_bytes()
    done = migrate(instance, url, asks=True)
    assert done.returncode == 0, done.stderr
    assert read(url) == read("sqlite:///{}".format(instance.parent / "kallithea.db"))
    assert catalog(postgresql, "moved") == created
    assert (instance.parent / "kallithea.db").read_bytes() == before
    assert postgresql.password not in done.stdout + done.stderr


def test_kallithea_starts_on_the_target(
    postgresql: Any, instance: Path, migrate: Any, with_url: Any
) -> None:
    from kallithea_tune.app import visit
    from kallithea_tune.config.instance import load

    url = postgresql.url("started")
    assert migrate(instance, url).returncode == 0
    visited = visit.visit(load(str(with_url(instance, url))), [visit.Request("/_admin/login")], 60)
    assert [answer.status for answer in visited.answers] == [200]


def test_keys_go_on_beyond_the_greatest_ever_used(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as database:
        database.execute("UPDATE sqlite_sequence SET seq = 7000 WHERE name = 'user_logs'")
    database.close()
    url = postgresql.url("keys")
    assert migrate(instance, url).returncode == 0
    cursor = postgresql.connect("keys").cursor()
    cursor.execute(
        "INSERT INTO user_logs (username, repository_name, action, action_date)"
        " VALUES ('', '', '', now()) RETURNING user_log_id"
    )
    assert cursor.fetchone()[0] == 7001


def test_a_failure_leaves_the_target_empty(postgresql: Any, instance: Path, migrate: Any) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as database:
        database.execute("UPDATE user_logs SET username = ? WHERE user_log_id = 400", ["x" * 256])
    database.close()
    url = postgresql.url("failed")
    done = migrate(instance, url)
    assert done.returncode not in (0, 130), done.stdout
    assert catalog(postgresql, "failed") == []
    assert postgresql.password not in done.stdout + done.stderr


def test_a_filled_target_is_refused_and_named(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    url = postgresql.url("filled")
    connection = postgresql.connect("filled")
    connection.cursor().execute("CREATE TABLE precious (id int)")
    connection.close()
    done = migrate(instance, url)
    assert (done.returncode, done.stdout) == (3, "")
    assert "precious" in done.stderr
    assert [row[1] for row in catalog(postgresql, "filled")] == ["precious"]


def test_a_dry_run_writes_nothing(postgresql: Any, instance: Path, migrate: Any) -> None:
    url = postgresql.url("dry")
    done = migrate(instance, url, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "user_logs" in done.stdout and "29 tables" in done.stdout
    assert catalog(postgresql, "dry") == []


def test_a_wrong_password_is_one_sentence(postgresql: Any, instance: Path, migrate: Any) -> None:
    done = migrate(instance, postgresql.url("dry").replace(postgresql.password, "not-the-password"))
    assert done.returncode == 2
    assert "password authentication failed" in done.stderr and "not-the-password" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
