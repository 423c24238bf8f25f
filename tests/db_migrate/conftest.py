"""What the tests of the migration share: databases to copy, and what is in them, read in the
plainest way.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from environment import BIN
from unasked import without_asking


def contents(url: str) -> dict[str, list[Any]]:
    """Every row of every table of the models, by primary key, as Kallithea would get them."""
    import sqlalchemy
    from kallithea.model import db, meta

    assert db.User
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = {
            name: [
                tuple(row)
                for row in connection.execute(table.select().order_by(*table.primary_key.columns))
            ]
            for name, table in meta.Base.metadata.tables.items()
        }
    engine.dispose()
    return found


@pytest.fixture
def read() -> Callable[[str], dict[str, list[Any]]]:
    """Read a database whole."""
    return contents


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def target(request: Any, tmp_path: Path) -> str:
    """The URL of an empty database of each engine, or of a SQLite file that is not there yet."""
    if request.param == "sqlite":
        return "sqlite:///{}".format(tmp_path / "moved.db")
    url: str = request.getfixturevalue(request.param).url("moved_to")
    return url


@pytest.fixture
def migrate(gearbox: Any, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run ``gearbox db-migrate`` from an ini file to a URL, which travels in the environment.

    Asking the application takes nearly all of its time. It is asked where `asks` is true, and
    before a switch.
    """

    def call(
        ini: Path, url: str, *words: object, asks: bool = False, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        options.update(cwd=str(tmp_path), env=dict(os.environ, TARGET=url))
        run = gearbox if asks or "--switch" in words else without_asking
        return run("db-migrate", "-c", ini, "--to", "env:TARGET", *words, **options)

    return call


@pytest.fixture
def with_url(edit: Any) -> Callable[[Path, str], Path]:
    """Make a copy of an ini file, beside it, with another database."""

    def copy(ini: Path, url: str) -> Path:
        made = ini.with_name("other-%d.ini" % len(list(ini.parent.iterdir())))
        made.write_text(ini.read_text())
        edit(made, "sqlite:///%(here)s/kallithea.db?timeout=60", url.replace("%", "%%"))
        return made

    return copy


@pytest.fixture(scope="session")
def created_on(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], None]]:
    """Have ``kallithea-cli db-create`` make its tables in the database of a URL, which it drops
    before.
    """

    def create(url: str) -> None:
        directory = tmp_path_factory.mktemp("created")
        ini = directory / "my.ini"
        ini.write_text(
            (pristine / "my.ini")
            .read_text()
            .replace("sqlite:///%(here)s/kallithea.db?timeout=60", url)
        )
        (directory / "repos").mkdir()
        subprocess.run(
            [
                str(BIN / "kallithea-cli"),
                "db-create",
                "-c",
                str(ini),
                "--user=admin",
                "--password=secret-word",
                "--email=a@example.com",
                "--repos={}".format(directory / "repos"),
                "--force-yes",
            ],
            check=True,
            cwd=str(directory),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    yield create


@pytest.fixture(scope="module")
def databases(
    postgresql: Any, mariadb: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Kallithea's tables, empty, in all three engines; a test empties those it needs first.

    For one module, since other modules restart the servers.
    """
    from kallithea_tables import Database

    urls = {
        "sqlite": "sqlite:///{}".format(tmp_path_factory.mktemp("tables") / "kallithea.db"),
        "postgresql": postgresql.url("tables"),
        "mysql": mariadb.url("tables"),
    }
    made = {name: Database(url) for name, url in urls.items()}
    yield made
    for database in made.values():
        database.close()


@pytest.fixture(scope="module")
def spoilable(
    postgresql: Any, mariadb: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """A SQLite with Kallithea's tables that enforces nothing, and servers that enforce everything;
    a row in each table.

    A test takes away again what it puts in.
    """
    from dirt import empty
    from kallithea_tables import Database, loose, models

    made = {
        "sqlite": Database(
            "sqlite:///{}".format(tmp_path_factory.mktemp("dirty") / "kallithea.db"),
            loose(models()),
        ),
        "postgresql": Database(postgresql.url("dirty")),
        "mysql": Database(mariadb.url("dirty") + "&local_infile=1"),
    }
    made["postgresql"].run("SET session_replication_role = origin")
    made["mysql"].run("SET SESSION foreign_key_checks = 1")
    for database in made.values():
        empty(database)
    yield made
    for database in made.values():
        database.close()


@pytest.fixture
def large(instance: Path) -> Path:
    """An instance whose log is long enough for something to happen in the middle of it."""
    with contextlib.closing(
        sqlite3.connect(str(instance.parent / "kallithea.db"))
    ) as connection, connection:
        connection.execute("""
            WITH RECURSIVE numbers(n) AS
                (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 30000)
            INSERT INTO user_logs (user_id, username, repository_name, user_ip, action, action_date)
            SELECT 1, 'user' || n, 'größe/' || n, '', 'push:' || hex(randomblob(50)),
                '2024-01-01 00:00:00.000000'
            FROM numbers""")
    return instance


@pytest.fixture
def server(request: Any, target: str) -> Any:
    name = {"postgresql": "postgresql", "mysql+pymysql": "mariadb"}[target.partition(":")[0]]
    return request.getfixturevalue(name)


@pytest.fixture
def emptied(request: Any, tmp_path: Path) -> Callable[[str, str], str]:
    """The URL of an empty database of an engine."""

    def url_of(engine: str, name: str) -> str:
        if engine == "sqlite":
            path = tmp_path / f"{name}.db"
            sqlite3.connect(str(path)).close()
            return f"sqlite:///{path}"
        fixture = {"postgresql": "postgresql", "mysql": "mariadb"}[engine]
        url: str = request.getfixturevalue(fixture).url(name)
        return url

    return url_of
