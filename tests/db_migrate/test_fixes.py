"""The command on a real Kallithea with rows that the target refuses, without and with fixes."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from environment import BIN

pytestmark = pytest.mark.once


ALL = [
    "--fix",
    "orphans=null",
    "--fix",
    "orphans=delete",
    "--fix",
    "nul=strip",
    "--fix",
    "utf8=replace",
    "--fix",
    "too-long=truncate",
    "--fix",
    "dates=null",
    "--fix",
    "dates=epoch",
    "--fix",
    "booleans=true",
]


@pytest.fixture
def dirty(instance: Path) -> Path:
    """A real Kallithea with rows that no server takes; returns its ini file."""
    database = sqlite3.connect(str(instance.parent / "kallithea.db"))
    database.execute("PRAGMA ignore_check_constraints = ON")
    logs = "UPDATE user_logs SET %s WHERE user_log_id = %d"
    database.execute(logs % ("username = ?", 5), ["é" * 300])
    database.execute(logs % ("action = ?", 7), ["a\0b"])
    database.execute(logs % ("action = CAST(? AS TEXT)", 8), [b"caf\xe9"])
    database.execute(logs % ("user_id = 9999", 9))
    database.execute(logs % ("action_date = '2024-02-30 00:00:00.000000'", 12))
    database.execute(
        "UPDATE users SET admin = 7, last_login = 'yesterday' WHERE username = 'user1'"
    )
    database.execute("UPDATE repositories SET user_id = 777 WHERE repo_name = 'hg-two'")
    database.commit()
    database.close()
    return instance


def entries(ini: Path) -> list[Any]:
    (path,) = ini.parent.glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows(ini: Path, query: str) -> list[Any]:
    database = sqlite3.connect(str(ini.parent / "kallithea.db"))
    database.text_factory = bytes
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def query(server: Any, name: str, statement: str) -> list[Any]:
    connection = server.connect(name)
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall())
    finally:
        connection.close()


def test_without_a_fix_nothing_is_written(postgresql: Any, dirty: Path, migrate: Any) -> None:
    done = migrate(dirty, postgresql.url("refused"))
    assert done.returncode == 3, done.stderr
    assert query(
        postgresql, "refused", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    ) == [(0,)]
    for expected in (
        "too-long",
        "user_logs.username: over 255 characters in 1 row (key 5)",
        "--fix too-long=truncate",
        "repositories.user_id: not in users in 1 row",
        "8 to be fixed first",
    ):
        assert expected in done.stdout, done.stdout
    assert "found 8 problems" in done.stderr and list(dirty.parent.glob("*.jsonl")) == []
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_dry_run_shows_the_problems(postgresql: Any, dirty: Path, migrate: Any) -> None:
    url = postgresql.url("planned")
    done = migrate(dirty, url, "--dry-run", "-f", "json", "--fix", "nul=strip")
    assert done.returncode == 1, done.stderr
    found = {
        (item["rule"], item["table"], item["fix"], item["blocking"]): item
        for item in json.loads(done.stdout)["findings"]
    }
    assert found["nul", "user_logs", "strip", False]["keys"] == [7]
    assert found["utf8", "user_logs", "", True]["actions"] == ["replace", "delete"]
    assert migrate(dirty, url, "--dry-run", *ALL).returncode == 0
    assert query(
        postgresql, "planned", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    ) == [(0,)]


@pytest.mark.parametrize(
    "option, message",
    [
        ("nosuch=null", "there is no rule 'nosuch'; the fixes are nulls=empty|delete, "),
        ("nul=truncate", "for nul there is nul=strip or nul=null or nul=delete"),
        ("nul", "for nul there is nul=strip"),
    ],
)
def test_an_unknown_fix_is_wrong_usage(
    postgresql: Any, instance: Path, migrate: Any, option: str, message: str
) -> None:
    done = migrate(instance, postgresql.url("usage"), "--fix", option)
    assert done.returncode == 2 and message in done.stderr


def test_rows_are_fixed_and_kept_as_they_were(postgresql: Any, dirty: Path, migrate: Any) -> None:
    before = (dirty.parent / "kallithea.db").read_bytes()
    done = migrate(dirty, postgresql.url("fixed"), *ALL, asks=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (dirty.parent / "kallithea.db").read_bytes() == before
    assert query(postgresql, "fixed", "SELECT username FROM user_logs WHERE user_log_id = 5") == [
        ("é" * 255,)
    ]
    assert query(
        postgresql, "fixed", "SELECT action FROM user_logs WHERE user_log_id IN (7, 8) ORDER BY 1"
    ) == [("ab",), ("caf\ufffd",)]
    assert query(postgresql, "fixed", "SELECT user_id FROM user_logs WHERE user_log_id = 9") == [
        (None,)
    ]
    assert query(
        postgresql, "fixed", "SELECT admin, last_login FROM users WHERE username = 'user1'"
    ) == [(True, None)]
    assert query(
        postgresql, "fixed", "SELECT count(*) FROM repositories WHERE repo_name = 'hg-two'"
    ) == [(0,)]
    # Rows that belonged to the repository went with it, unless they can do without.
    (lost,) = rows(dirty, "SELECT repo_id FROM repositories WHERE repo_name = 'hg-two'")
    logs = rows(dirty, "SELECT user_log_id FROM user_logs WHERE repository_id = %d" % lost)
    assert query(
        postgresql, "fixed", "SELECT count(*) FROM user_logs WHERE repository_id IS NULL"
    ) == [(len(logs),)]
    assert query(
        postgresql, "fixed", "SELECT count(*) FROM repo_to_perm WHERE repository_id = %d" % lost
    ) == [(0,)]
    assert "no differences" in done.stdout and str(next(dirty.parent.glob("*.jsonl"))) in "".join(
        done.stdout.split("\n")
    )


def test_the_quarantine_has_every_row_that_was_touched(
    postgresql: Any, dirty: Path, migrate: Any
) -> None:
    done = migrate(dirty, postgresql.url("kept"), "-f", "json", *ALL)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = dirty.parent.glob("*.jsonl")
    assert stat.S_IMODE(os.stat(str(path)).st_mode) == 0o600
    kept = entries(dirty)
    assert list(kept[0])[:2] == ["table", "key"]
    report = json.loads(done.stdout)
    assert report["quarantine"] == str(path)
    for table, counts in report["mended"].items():
        assert counts == {
            word: sum(item["table"] == table and item["became"] == word for item in kept)
            for word in ("changed", "left out")
        }
    original = {item["key"]["user_log_id"]: item for item in kept if item["table"] == "user_logs"}
    assert (
        original[5]["row"]["username"] == "é" * 300
        and original[5]["fixes"][0] == "too-long=truncate"
    )
    assert original[7]["row"]["action"] == "a\0b"
    assert base64.b64decode(original[8]["row"]["action"]["text-base64"]) == b"caf\xe9"
    gone = {(item["table"], *item["key"].values()) for item in kept if item["became"] == "left out"}
    (lost,) = rows(dirty, "SELECT repo_id FROM repositories WHERE repo_name = 'hg-two'")
    assert ("repositories", *lost) in gone
    assert {
        ("repo_to_perm", *key)
        for key in rows(
            dirty, "SELECT repo_to_perm_id FROM repo_to_perm WHERE repository_id = %d" % lost
        )
    } <= gone


def test_a_second_run_starts_a_new_quarantine_and_keeps_the_old(
    postgresql: Any, dirty: Path, migrate: Any
) -> None:
    url = postgresql.url("again")
    assert migrate(dirty, url, *ALL).returncode == 0
    first = entries(dirty)
    assert migrate(dirty, url, *ALL).returncode == 0
    assert entries(dirty) == first
    assert migrate(dirty, url, "--replace", "-y", *ALL).returncode == 0
    assert entries(dirty) == first
    (old,) = dirty.parent.glob("*.jsonl.1")
    assert [json.loads(line) for line in old.read_text().splitlines()] == first


def test_rows_written_later_are_fixed_too(postgresql: Any, dirty: Path, migrate: Any) -> None:
    url = postgresql.url("later")
    assert migrate(dirty, url, *ALL).returncode == 0
    first = entries(dirty)
    database = sqlite3.connect(str(dirty.parent / "kallithea.db"))
    database.execute("UPDATE user_logs SET action = ? WHERE user_log_id = 20", ["x\0y"])
    database.execute("DELETE FROM user_logs WHERE user_log_id = 21")
    database.commit()
    database.close()
    assert migrate(dirty, url, "--catch-up").returncode == 3
    done = migrate(dirty, url, "--catch-up", *ALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert query(postgresql, "later", "SELECT action FROM user_logs WHERE user_log_id = 20") == [
        ("xy",)
    ]
    assert [item["key"] for item in entries(dirty)[len(first) :]] == [{"user_log_id": 20}]
    assert migrate(dirty, url, "--verify", *ALL).returncode == 0
    assert migrate(dirty, url, "--verify").returncode == 1


def test_a_killed_run_resumes_the_same_quarantine(mariadb: Any, dirty: Path, migrate: Any) -> None:
    url = mariadb.url("killed_once").replace("mysql+pymysql", "mysql")
    environment = dict(os.environ, TARGET=url)
    process = subprocess.Popen(
        [str(BIN / "gearbox"), "db-migrate", "-c", str(dirty), "--to", "env:TARGET", *ALL],
        env=environment,
        cwd=str(dirty.parent),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if any(path.stat().st_size for path in dirty.parent.glob("*.jsonl")):
            break
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -9
    done = migrate(dirty, url, *ALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no differences" in done.stdout
    kept = entries(dirty)
    assert list(dirty.parent.glob("*.jsonl.1")) == []
    assert migrate(dirty, url, "--replace", "-y", *ALL).returncode == 0
    complete = entries(dirty)
    assert sorted(map(repr, kept)) == sorted(map(repr, complete)) and len(complete) > 10


def test_a_quarantine_that_cannot_be_written_stops_everything(
    postgresql: Any, dirty: Path, migrate: Any
) -> None:
    done = migrate(
        dirty, postgresql.url("nowhere"), "--quarantine", dirty.parent / "missing" / "rows", *ALL
    )
    assert done.returncode == 2 and "the quarantine file" in done.stderr
    assert query(
        postgresql, "nowhere", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    ) == [(0,)]
