from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

POOR = "poor"
# Without the one privilege that is named, MariaDB's user may do all the rest.
NEEDED = ["CREATE", "DROP", "ALTER", "INSERT", "SELECT"]


def run(server: Any, database: str, *statements: str) -> list[Any]:
    connection = server.connect(database)
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    found = list(cursor.fetchall()) if cursor.description else []
    connection.close()
    return found


def refused(done: Any, *parts: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    sentence = done.stderr.strip().splitlines()[-1]
    assert sentence.startswith("gearbox db-migrate: ") and all(
        part in sentence for part in parts
    ), sentence
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", NEEDED)
def test_a_user_of_mariadb_who_lacks_a_privilege(
    mariadb: Any, instance: Path, migrate: Any, missing: str
) -> None:
    url = mariadb.url("poor")
    rest = ", ".join(sorted({*NEEDED, "UPDATE", "DELETE", "CREATE TEMPORARY TABLES"} - {missing}))
    run(
        mariadb,
        "",
        "CREATE OR REPLACE USER poor@'127.0.0.1' IDENTIFIED BY 'poor-word'",
        f"GRANT {rest} ON poor.* TO poor@'127.0.0.1'",
    )
    poor = url.replace(f"kallithea:{mariadb.password}", "poor:poor-word")
    refused(migrate(instance, poor), "does not let its user do what is needed", missing, "denied")
    assert run(mariadb, "poor", "SHOW TABLES") == []


def test_a_user_of_postgresql_who_may_not_create(
    postgresql: Any, instance: Path, migrate: Any
) -> None:
    url = postgresql.url("poor")
    run(
        postgresql,
        "poor",
        "REVOKE CREATE ON SCHEMA public FROM public",
        "DROP ROLE IF EXISTS poor",
        "CREATE ROLE poor LOGIN PASSWORD 'poor-word'",
    )
    poor = url.replace(f"kallithea:{postgresql.password}", "poor:poor-word")
    refused(
        migrate(instance, poor),
        "does not let its user do what is needed",
        "permission denied for schema public",
    )


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_an_encoding_that_lacks_characters(
    postgresql: Any, mariadb: Any, instance: Path, migrate: Any, engine: str
) -> None:
    if engine == "postgresql":
        url = postgresql.url("narrow")
        run(
            postgresql,
            "postgres",
            "DROP DATABASE narrow",
            "CREATE DATABASE narrow ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0",
        )
        refused(migrate(instance, url), "its encoding is LATIN1", "ENCODING 'UTF8'")
    else:
        url = mariadb.url("narrow")
        run(mariadb, "narrow", "ALTER DATABASE narrow CHARACTER SET latin1")
        refused(migrate(instance, url), "its character set is latin1", "utf8mb4")


def test_a_database_that_is_only_read(postgresql: Any, instance: Path, migrate: Any) -> None:
    url = postgresql.url("reading")
    run(postgresql, "postgres", "ALTER DATABASE reading SET default_transaction_read_only = on")
    refused(migrate(instance, url), "read-only transaction")


def test_replace_drops_what_is_there_and_nothing_is_left_of_the_trial(
    mariadb: Any, instance: Path, migrate: Any
) -> None:
    url = mariadb.url("replaced")
    run(
        mariadb,
        "replaced",
        "CREATE TABLE old (id int PRIMARY KEY)",
        "CREATE TABLE kallithea_tune_trial_one (id int)",
        "CREATE TABLE older (id int, FOREIGN KEY (id) REFERENCES old (id))",
    )
    done = migrate(instance, url, "--replace", stdin=subprocess.DEVNULL)
    assert done.returncode == 3 and "  old\n  older\n" in done.stderr, done.stderr
    assert {"old", "older"} < {name for (name,) in run(mariadb, "replaced", "SHOW TABLES")}
    done = migrate(instance, url, "--replace", "--yes")
    assert done.returncode == 0, done.stderr
    names = {name for (name,) in run(mariadb, "replaced", "SHOW TABLES")}
    assert "users" in names and not [
        name for name in names if name.startswith(("old", "kallithea_tune_trial"))
    ]
