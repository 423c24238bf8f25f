"""The target accepts whatever is in the source when the fixes have changed it, and verifies."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from dirt import a_row, empty, put, run_preflight
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kallithea_tables import UNBOUND, Database, models

from kallithea_tune.db_migrate import schema
from kallithea_tune.db_migrate.copy import copy_table
from kallithea_tune.db_migrate.preflight.fixes import Fixes
from kallithea_tune.db_migrate.preflight.violation import PreflightResult
from kallithea_tune.db_migrate.verify import compare

pytestmark = pytest.mark.once


TABLES = [
    "permissions",
    "users",
    "groups",
    "gists",
    "repositories",
    "pull_requests",
    "user_logs",
    "changeset_comments",
    "changeset_statuses",
    "user_to_perm",
]
EVERYTHING = [
    "dates=read",
    "wrong-type=convert",
    "sequences=restart",
    "sequences=delete",
    "orphans=null",
    "orphans=delete",
    "nul=strip",
    "utf8=replace",
    "too-long=truncate",
    "dates=null",
    "dates=epoch",
    "booleans=true",
    "wrong-type=null",
    "wrong-type=delete",
    "out-of-range=null",
    "out-of-range=delete",
    "not-finite=delete",
    "nulls=empty",
    "nulls=delete",
    "duplicates=keep-first",
    "collisions=keep-first",
    "four-byte=replace",
    "too-big=delete",
    "microseconds=cut",
]
DIRT = {
    "users": {
        "admin": [7, "yes", "perhaps", None],
        "username": ["a\0", "a", "b" * 300, "b" * 299, "caf\udce9", None],
        "last_login": ["yesterday", "2024-02-30 00:00:00", "2024-02-29T12:30", "2024-02-30T01:00"],
        "user_data": ["é", 5, 1.5],
        "created_on": ["0000-00-00 00:00:00", None],
    },
    "gists": {"gist_expires": [float("inf"), "never"], "user_id": [99, "x"]},
    "groups": {"group_parent_id": [1, 2, 3, 4, 99], "user_id": [99, 2]},
    "repositories": {
        "fork_id": [2, 3, 4, 77],
        "user_id": [2, 3, 99],
        "group_id": [2, 3, 99],
        "downloads": [2],
        "repo_name": ["x\0", "x", "X", "y" * 256],
    },
    "user_logs": {
        "action": ["a\0b", b"blob", b"a\0\xff", b"\0", 7, "\udcff😀"],
        "repository_id": [2, 3, 98],
        "user_id": [2, 97, 2**40],
    },
    "changeset_comments": {
        "user_id": [3, 99],
        "repo_id": [2, 3],
        "f_path": ["é" * 1001],
        "created_on": ["2024"],
    },
    "changeset_statuses": {
        "changeset_comment_id": [2, 3, 4, 99],
        "version": [2**31, "v"],
        "revision": ["r", "r" * 41],
    },
    "user_to_perm": {"user_id": [2, 3], "permission_id": [1, 9]},
}


@st.composite
def rows(draw: Any) -> list[tuple[str, dict[str, Any]]]:
    """Some rows in several tables, most of them with something wrong."""
    made = []
    for name in DIRT:
        for key in range(2, draw(st.integers(2, 5))):
            row = a_row(name, key)
            for column in draw(st.lists(st.sampled_from(sorted(DIRT[name])), max_size=3)):
                row[column] = draw(st.sampled_from(DIRT[name][column]))
            made.append((name, row))
    return made


@pytest.fixture
def spoiled(spoilable: dict[str, Database]) -> Iterator[Database]:
    """The SQLite that enforces nothing; what a test puts in goes away."""
    yield spoilable["sqlite"]
    clear(spoilable["sqlite"])


def clear(source: Database) -> None:
    for name in TABLES:
        key = next(iter(models().tables[name].primary_key.columns)).name
        source.run(f"DELETE FROM {source.quoted(name)} WHERE {key} <> 1")


@pytest.fixture(scope="module")
def filled(
    postgresql: Any, mariadb: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Database]]:
    """Databases to fill anew with each example."""
    made = {
        "postgresql": Database(postgresql.url("filled_anew")),
        "mysql": Database(mariadb.url("filled_anew") + "&local_infile=1"),
        "sqlite": Database("sqlite:///{}".format(tmp_path_factory.mktemp("filled") / "anew.db")),
    }
    yield made
    for database in made.values():
        database.close()


def copied(source: Database, target: Database, fixes: Fixes) -> list[str]:
    """Copy everything with the fixes, add every constraint, and compare."""
    reader, writer = source.engine.reader, target.engine.writer
    target.tables[0].metadata.drop_all(target.connection)
    tables = list(models().sorted_tables)
    copies = schema.for_target(tables, writer, models())
    made = [copies.tables[table.name] for table in tables]
    writer.begin_load()
    schema.create_tables(writer, made)
    for table, copy in zip(tables, made):
        copy_table(reader, writer, table, copy, amend=fixes.amend(table.name))
    writer.end_load(made)
    list(schema.complete_tables(writer, made))
    target.commit()
    return [
        item.sentence
        for item in compare.differences(source.engine, target.engine, tables, fixes=fixes)
    ]


@pytest.mark.parametrize("target", ["postgresql", "mysql"])
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(given_rows=rows())
def test_whatever_was_fixed_is_accepted(
    spoiled: Database, filled: dict[str, Database], target: str, given_rows: list[Any]
) -> None:
    clear(spoiled)
    for name, row in given_rows:
        put(spoiled, name, row)
    result = run_preflight(spoiled, filled[target], *EVERYTHING)
    assert result.blocking == [] and result.unchecked == []
    assert copied(spoiled, filled[target], result.fixes) == []


# What servers take as the source that the other one does not take as the target.
SERVER_DIRT = {
    ("postgresql", "mysql"): [
        ("not-finite", "gists", "gist_expires", "NaN"),
        ("not-finite", "gists", "gist_expires", "-Infinity"),
        ("dates", "user_logs", "action_date", "infinity"),
        ("dates", "user_logs", "action_date", "0044-03-15 00:00 BC"),
        ("dates", "users", "last_login", "-infinity"),
        ("dates", "users", "last_login", "12024-01-01 00:00"),
        ("orphans", "user_logs", "user_id", 99),
        ("orphans", "repositories", "fork_id", 98),
        ("collisions", "users", "username", "TEXT"),
    ],
    ("mysql", "postgresql"): [
        ("dates", "user_logs", "action_date", "0000-00-00 00:00:00"),
        ("dates", "users", "last_login", "2024-02-00"),
        ("dates", "user_logs", "action_date", "2023-02-29 12:00"),
        ("nul", "user_logs", "action", "a\0b"),
        ("booleans", "users", "admin", 7),
        ("orphans", "user_logs", "user_id", 99),
    ],
    ("postgresql", "sqlite"): [
        ("not-finite", "gists", "gist_expires", "NaN"),
        ("dates", "user_logs", "action_date", "infinity"),
        ("dates", "user_logs", "action_date", "0044-03-15 00:00 BC"),
        ("dates", "users", "last_login", "12024-01-01 00:00"),
        ("orphans", "repositories", "fork_id", 98),
    ],
    ("mysql", "sqlite"): [
        ("dates", "user_logs", "action_date", "0000-00-00 00:00:00"),
        ("dates", "users", "last_login", "2024-02-00"),
        ("dates", "user_logs", "action_date", "2023-02-29 12:00"),
        ("booleans", "users", "admin", 2),
        ("orphans", "user_logs", "user_id", 99),
    ],
}
# What SQLite takes as it is.
SERVER_ODDITIES = {
    "postgresql": [("gists", "gist_expires", "-Infinity"), ("users", "username", "TEXT 😀")],
    "mysql": [("user_logs", "action", "a\0b"), ("users", "username", "Ünï😀")],
}


@pytest.mark.parametrize("source, target", sorted(SERVER_DIRT))
def test_values_of_servers_are_fixed_as_well(
    databases: dict[str, Database], filled: dict[str, Database], source: str, target: str
) -> None:
    here, there = databases[source], filled[target]
    if source == "mysql":
        here.run("SET SESSION check_constraint_checks = 0")
        here.run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
    empty(here)
    expected = []
    for key, (rule, table, column, value) in enumerate(SERVER_DIRT[source, target], 2):
        put(here, table, a_row(table, key, **{column: value}))
        expected.append((rule, table, column, key))
    for key, (table, column, value) in enumerate(SERVER_ODDITIES[source], 100):
        if target == "sqlite":
            put(here, table, a_row(table, key, **{column: value}))
    here.run(UNBOUND[source])
    result = run_preflight(here, there, *EVERYTHING)
    assert sorted(
        (item.rule.name, item.table, item.columns[0], key)
        for item in result.violations
        for key in item.keys
    ) == (sorted(expected))
    assert result.blocking == [] and copied(here, there, result.fixes) == []
    here.run("DELETE FROM gists")


def violations(result: PreflightResult) -> list[tuple[str, str, str, int, int]]:
    return [
        (item.rule.name, item.table, item.columns[0], item.count, item.left)
        for item in result.violations
    ]


def test_what_refers_to_rows_that_are_left_out_needs_an_action_too(
    spoiled: Database, spoilable: dict[str, Database]
) -> None:
    for key in (2, 3):
        put(spoiled, "users", a_row("users", key, username="twice"))
    put(spoiled, "repositories", a_row("repositories", 2, user_id=3))
    put(spoiled, "changeset_comments", a_row("changeset_comments", 2, repo_id=2))
    put(spoiled, "changeset_statuses", a_row("changeset_statuses", 2, changeset_comment_id=2))
    target = spoilable["postgresql"]
    twice = ("duplicates", "users", "username", 1, 0)
    (offered,) = run_preflight(spoiled, target).violations
    assert offered.remedy == (
        "fix it in the source, or use --fix duplicates=keep-first (1 row of changeset_comments,"
        " 1 of changeset_statuses, 1 of repositories would go with it)"
    )
    orphan = run_preflight(spoiled, target, "duplicates=keep-first").blocking[0]
    assert orphan.remedy == (
        "fix it in the source, or use --fix orphans=delete (1 row of changeset_comments, 1 of"
        " changeset_statuses would go with it)"
    )
    assert violations(run_preflight(spoiled, target, "duplicates=keep-first")) == [
        twice,
        ("orphans", "repositories", "user_id", 1, 1),
    ]
    assert violations(
        run_preflight(spoiled, target, "duplicates=keep-first", "orphans=delete")
    ) == [
        twice,
        ("orphans", "repositories", "user_id", 1, 0),
        ("orphans", "changeset_comments", "repo_id", 1, 0),
        ("orphans", "changeset_statuses", "changeset_comment_id", 1, 0),
    ]


def test_fixes_that_would_lose_all_rows_with_a_key_are_refused(
    spoiled: Database, spoilable: dict[str, Database]
) -> None:
    """The one that is kept refers to one that is not."""
    for key, name, fork in ((2, "n", 5), (3, "n", None), (4, "m", None), (5, "m", None)):
        put(spoiled, "repositories", a_row("repositories", key, repo_name=name, fork_id=fork))
    result = run_preflight(
        spoiled, spoilable["postgresql"], "duplicates=keep-first", "orphans=delete"
    )
    assert violations(result) == [
        ("duplicates", "repositories", "repo_name", 2, 1),
        ("orphans", "repositories", "fork_id", 1, 0),
    ]
    assert (
        result.blocking[0].remedy
        == "duplicates=keep-first does not fix 1 of them; fix those in the source"
    )
