"""What is said of the full-text index, judged by tables and on an index that kallithea-cli made."""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

import pytest
from environment import BIN

from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.search_index import describe, pushes_since
from kallithea_tune.perf_check.repositories.search_index_checks import (
    DAY,
    judge_age,
    judge_lock,
    judge_segments,
)
from kallithea_tune.perf_check.repositories.survey import registered

NOW = 1_800_000_000.0
WHOLE = {name: {"built": NOW - 9 * DAY, "segments": 2} for name in ("HG_INDEX", "CHGSET_INDEX")}


@pytest.mark.parametrize(
    "indexes, first, severity, words",
    [
        ({}, None, Severity.advice, "finds nothing"),
        ({"HG_INDEX": WHOLE["HG_INDEX"]}, None, Severity.advice, "lacks changesets"),
        (WHOLE, None, Severity.ok, "up to date"),
        (WHOLE, NOW - 0.9 * DAY, Severity.ok, "up to date"),
        (WHOLE, NOW - 1.1 * DAY, Severity.advice, "misses 3 pushes"),
    ],
)
def test_an_index_must_have_what_was_pushed_a_day_ago(
    indexes: Mapping[str, Any], first: Optional[float], severity: Severity, words: str
) -> None:
    since = {"pushes": 3, "repositories": 1, "first": first}
    found = judge_age(
        {"indexes": indexes, "bytes": 1}, since, NOW, "kallithea-cli index-create -c my.ini"
    )
    assert found.severity is severity and words in found.diagnosis
    assert ("index-create" in found.remedy) is (severity is Severity.advice)


@pytest.mark.parametrize("count, severity", [(50, Severity.ok), (51, Severity.advice)])
def test_segments(count: int, severity: Severity) -> None:
    indexes = dict(WHOLE, CHGSET_INDEX={"built": NOW, "segments": count})
    found = judge_segments({"indexes": indexes}, "my.ini")
    assert found.severity is severity and ("changesets" in found.diagnosis) is (
        severity is Severity.advice
    )


@pytest.mark.parametrize(
    "lock, severity",
    [
        (None, Severity.ok),
        ({"process": 4, "command": None}, Severity.ok),
        ({"process": 4, "command": "python kallithea-cli index-create -c my.ini"}, Severity.ok),
        ({"process": 4, "command": "nginx: worker"}, Severity.error),
        ({"process": -1, "command": None}, Severity.error),
    ],
)
def test_locks(lock: Optional[Mapping[str, Any]], severity: Severity) -> None:
    found = judge_lock({"lock": lock, "directory": "/srv/index"})
    assert found.severity is severity
    assert found.remedy == ("rm /srv/index/make_index.lock" if severity is Severity.error else "")


def create(instance: Path) -> int:
    """Run index-create as cron does, and return its exit status."""
    return subprocess.run(
        [str(BIN / "kallithea-cli"), "index-create", "-c", str(instance)],
        cwd=str(instance.parent),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode


def checked(
    gearbox: Callable[..., Any], instance: Path, cwd: Path
) -> Mapping[tuple[str, str], Any]:
    """Return the findings about the index by check and subject."""
    said = gearbox("perf-check", "-c", instance, "--only", "index", "-f", "json", cwd=cwd).stdout
    return {(found["check"], found["subject"]): found for found in json.loads(said)}


def log(instance: Path, action: str, hours: float) -> None:
    """Add a row to the journal of so many hours ago."""
    date = datetime.datetime.now() - datetime.timedelta(hours=hours)
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute(
            "INSERT INTO user_logs (username, repository_name, user_ip, action, action_date) "
            "VALUES ('me', 'hg-one', '', ?, ?)",
            [action, date.isoformat(" ")],
        )
    connection.close()


def test_a_real_index_missing_fresh_late_and_locked(
    instance: Path, gearbox: Callable[..., Any], tmp_path: Path
) -> None:
    index = instance.parent / "data" / "index"
    before = checked(gearbox, instance, tmp_path)
    assert set(before) == {("IDX001", "")} and "finds nothing" in before["IDX001", ""]["diagnosis"]
    assert create(instance) == 0
    described = describe(str(index))
    assert [(name, found["segments"]) for name, found in described["indexes"].items()] == [
        ("HG_INDEX", 1),
        ("CHGSET_INDEX", 1),
    ]
    assert {found["severity"] for found in checked(gearbox, instance, tmp_path).values()} == {"ok"}

    two_days_ago = datetime.datetime.now().timestamp() - 2 * DAY
    for table in index.glob("*.toc"):
        os.utime(str(table), (two_days_ago, two_days_ago))
    log(instance, "push:{}".format("a" * 40), 30)
    assert "misses" in checked(gearbox, instance, tmp_path)["IDX001", ""]["diagnosis"]

    lock = index / "make_index.lock"
    for written, severity in (("%d" % os.getpid(), "error"), ("", "error"), ("4194304", "ok")):
        lock.write_text(written)
        assert (
            judge_lock(dict(describe(str(index)), directory=str(index))).severity.name == severity
        )
        assert (create(instance) == 0) is (severity == "ok")
    assert not lock.exists()


def test_only_pushes_of_changesets_after_the_time_count(instance: Path) -> None:
    url = "sqlite:///{}".format(instance.parent / "kallithea.db")
    since = datetime.datetime.now() - datetime.timedelta(hours=3)
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("DELETE FROM user_logs")
    connection.close()
    assert pushes_since(url, since.timestamp()) == {"pushes": 0, "repositories": 0, "first": None}
    for action, hours in (
        ("push:abc", 4),
        ("pull", 2),
        ("push:tag=>v1", 2),
        ("push:delete_branch=>x", 2),
        ("push:abc,def", 2),
        ("push_local:abc", 1),
    ):
        log(instance, action, hours)
    found = pushes_since(url, since.timestamp())
    assert (found["pushes"], found["repositories"]) == (2, 1)
    assert abs(found["first"] - (datetime.datetime.now().timestamp() - 2 * 3600)) < 60


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_other_engines_tell_pushes_and_repositories_as_well(
    name: str, request: pytest.FixtureRequest
) -> None:
    import sqlalchemy
    from servers import schema

    url = schema.create(request.getfixturevalue(name).url("pushes"), 5)
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE user_logs SET action = 'push:abc' WHERE user_log_id > 3")
        )
        for section, key, value, active in (
            ("paths", "/", "/srv", True),
            ("hooks", "on", "x", True),
            ("hooks", "off", "y", False),
        ):
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO ui (ui_section, ui_key, ui_value, ui_active) VALUES (:a, :b, :c, :d)"
                ),
                {"a": section, "b": key, "c": value, "d": active},
            )
    engine.dispose()
    assert pushes_since(url, 0)["pushes"] == 2
    assert registered(url) == {
        "root": "/srv",
        "repositories": {},
        "hooks": {"on": "x"},
        "storage": {},
    }
