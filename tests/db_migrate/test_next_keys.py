"""The next key comes from what is carried, and is found before anything is written if it cannot."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Iterator

import pytest
import sqlalchemy

pytestmark = pytest.mark.once

LAST = {"sqlite": 2**63 - 1, "postgresql": 2**31 - 1, "mysql+pymysql": 2**31 - 1}
ROW = (
    "INSERT INTO user_logs (user_log_id, username, action, action_date, repository_name, user_ip)"
    " VALUES (?, 'k', 'k', '2024-01-01 00:00:00.000000', '', '')"
)


@pytest.fixture
def source(instance: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(str(instance.parent / "kallithea.db"), isolation_level=None)
    ) as database:
        yield database


def last_of(target: str) -> int:
    return LAST[target.partition(":")[0]]


def next_key(target: str) -> int:
    """Insert a row as Kallithea would."""
    engine = sqlalchemy.create_engine(target)
    with engine.begin() as connection:
        key = connection.execute(
            sqlalchemy.text(
                "INSERT INTO user_logs (username, action, action_date, repository_name, user_ip)"
                " VALUES ('k', 'k', '2024-01-01 00:00:00', '', '')"
                + (" RETURNING user_log_id" if target.startswith("postgresql") else "")
            )
        )
        found = key.scalar() if target.startswith("postgresql") else key.lastrowid
    engine.dispose()
    return int(found or 0)


def highest(source: sqlite3.Connection) -> int:
    return int(source.execute("SELECT max(user_log_id) FROM user_logs").fetchone()[0])


def test_a_key_that_is_left_out_does_not_count(
    instance: Path, source: sqlite3.Connection, postgresql: Any, migrate: Any
) -> None:
    before, url = highest(source), postgresql.url("left_out")
    source.execute(ROW, [2**31])
    done = migrate(instance, url, "--fix", "out-of-range=delete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sequences=restart" in "".join(done.stdout.split())
    source.execute(ROW, [2**31 + 1])
    for option in ("--catch-up", "--verify"):
        done = migrate(instance, url, "--fix", "out-of-range=delete", option)
        assert done.returncode == 0, done.stdout + done.stderr
    assert next_key(url) == before + 1


def test_a_key_that_only_the_source_remembers_needs_an_action(
    instance: Path, source: sqlite3.Connection, target: str, migrate: Any
) -> None:
    before, last = highest(source), last_of(target)
    source.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'user_logs'", [last])
    done = migrate(instance, target)
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"the last key was {last}" in " ".join(done.stdout.split())
    done = migrate(instance, target, "--fix", "sequences=restart")
    assert done.returncode == 0, done.stdout + done.stderr
    # The source does not count on.
    assert next_key(target) == before + 1


def test_the_last_possible_key_has_no_next_one(
    instance: Path, source: sqlite3.Connection, target: str, migrate: Any
) -> None:
    before, last = highest(source), last_of(target)
    source.execute(ROW, [last])
    done = migrate(instance, target, "--fix", "sequences=restart")
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"the last possible key, {last}" in " ".join(done.stdout.split())
    done = migrate(instance, target, "--fix", "sequences=delete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert next_key(target) == before + 1


def test_the_last_but_one_has(
    instance: Path, source: sqlite3.Connection, target: str, migrate: Any
) -> None:
    last = last_of(target)
    source.execute(ROW, [last - 1])
    done = migrate(instance, target)
    assert done.returncode == 0, done.stdout + done.stderr
    # What is written after the copy is found as well.
    source.execute(ROW, [last])
    done = migrate(instance, target, "--catch-up")
    assert done.returncode == 3 and "the last possible key" in " ".join(done.stdout.split())
    assert next_key(target) == last
