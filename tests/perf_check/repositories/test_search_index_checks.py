"""Findings about the full-text index, judged by tables and on an index that kallithea-cli made."""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

import pytest
from carry_out import carry_out
from environment import BIN

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.repositories.search_index import (
    Index,
    Lock,
    RecentPushes,
    SearchIndex,
    pushes_since,
    read_index,
    recent_pushes,
)
from kallithea_tune.perf_check.repositories.search_index_checks import (
    DAY,
    judge_age,
    judge_lock,
    judge_segments,
)
from kallithea_tune.perf_check.repositories.survey import DatabaseContent, read_database

NOW = 1_800_000_000.0
CONTENTS = Index("HG_INDEX", NOW - 9 * DAY, segments=2)
CHANGESETS = Index("CHGSET_INDEX", NOW - 9 * DAY, segments=2)
COMPLETE = SearchIndex("/srv/index", NOW, (CONTENTS, CHANGESETS), bytes=1)
Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    "indexes, first, severity, words",
    [
        ((), None, Severity.advice, "finds nothing"),
        ((CONTENTS,), None, Severity.advice, "lacks changesets"),
        ((CONTENTS, CHANGESETS), None, Severity.ok, "up to date"),
        ((CONTENTS, CHANGESETS), NOW - 0.9 * DAY, Severity.ok, "up to date"),
        ((CONTENTS, CHANGESETS), NOW - 1.1 * DAY, Severity.advice, "misses 3 pushes"),
    ],
)
def test_an_index_must_have_what_was_pushed_a_day_ago(
    indexes: tuple[Index, ...], first: Optional[float], severity: Severity, words: str
) -> None:
    index = replace(COMPLETE, indexes=indexes)
    pushes = RecentPushes(3, 1, first)
    found = judge_age(index, pushes, "my.ini")
    assert found.severity is severity and words in found.diagnosis
    assert ("index-create" in str(found.remedy)) is (severity is Severity.advice)


@pytest.mark.parametrize("count, severity", [(50, Severity.ok), (51, Severity.advice)])
def test_segments(count: int, severity: Severity) -> None:
    indexes = (CONTENTS, Index("CHGSET_INDEX", NOW, count))
    found = judge_segments(replace(COMPLETE, indexes=indexes), "my.ini")
    assert found.severity is severity
    assert ("changesets" in found.diagnosis) is (severity is Severity.advice)


@pytest.mark.parametrize(
    "lock, severity",
    [
        (None, Severity.ok),
        (Lock(4, None), Severity.ok),
        (Lock(4, "python kallithea-cli index-create -c my.ini"), Severity.ok),
        (Lock(4, "nginx: worker"), Severity.error),
        (Lock(-1, None), Severity.error),
    ],
)
def test_locks(lock: Optional[Lock], severity: Severity) -> None:
    found = judge_lock(replace(COMPLETE, lock=lock))
    assert found.severity is severity
    remove = "rm -f -- /srv/index/make_index.lock"
    assert str(found.remedy) == (remove if severity is Severity.error else "")


def create(instance: Path) -> int:
    """Run index-create as cron does, and return its exit status."""
    return subprocess.run(
        [str(BIN / "kallithea-cli"), "index-create", "-c", str(instance)],
        cwd=str(instance.parent),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode


def checked(gearbox: Gearbox, instance: Path, cwd: Path) -> Mapping[tuple[str, str], Any]:
    """Return the findings about the index by check and subject."""
    result = gearbox("perf-check", "-c", instance, "--only", "index", "-f", "json", cwd=cwd)
    return {(found["check"], found["subject"]): found for found in json.loads(result.stdout)}


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


@pytest.mark.once
def test_a_real_index_missing_fresh_late_and_locked(
    instance: Path, gearbox: Gearbox, tmp_path: Path
) -> None:
    index = instance.parent / "data" / "index"
    before = checked(gearbox, instance, tmp_path)
    assert set(before) == {("IDX001", "")} and "finds nothing" in before["IDX001", ""]["diagnosis"]
    carry_out(judge_age(read_index(str(index)), RecentPushes(), str(instance)).remedy, instance)
    described = read_index(str(index))
    assert [(found.name, found.segments) for found in described.indexes] == [
        ("HG_INDEX", 1),
        ("CHGSET_INDEX", 1),
    ]
    assert {found["severity"] for found in checked(gearbox, instance, tmp_path).values()} == {"ok"}

    two_days_ago = datetime.datetime.now().timestamp() - 2 * DAY
    for table in index.glob("*.toc"):
        os.utime(str(table), (two_days_ago, two_days_ago))
    log(instance, f"push:{40 * 'a'}", 30)
    assert "misses" in checked(gearbox, instance, tmp_path)["IDX001", ""]["diagnosis"]

    lock = index / "make_index.lock"
    for written, severity in ((f"{os.getpid()}", "error"), ("", "error"), ("4194304", "ok")):
        lock.write_text(written)
        found = judge_lock(read_index(str(index)))
        assert found.severity.name == severity
        assert (create(instance) == 0) is (severity == "ok")
        if found.remedy:
            carry_out(found.remedy, instance)
    assert not lock.exists()

    # As many runs that find something leave it.
    for number in range(60):
        (index / f"CHGSET_INDEX_old{number}.seg").touch()
    many = judge_segments(read_index(str(index)), str(instance))
    assert many.severity is Severity.advice
    carry_out(many.remedy, instance)
    assert judge_segments(read_index(str(index)), str(instance)).severity is Severity.ok


def test_only_pushes_of_changesets_after_the_time_count(instance: Path) -> None:
    url = f"sqlite:///{instance.parent / 'kallithea.db'}"
    since = datetime.datetime.now() - datetime.timedelta(hours=3)
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("DELETE FROM user_logs")
    connection.close()
    assert pushes_since(url, since.timestamp()) == RecentPushes(0, 0, None)
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
    assert (found.pushes, found.repositories) == (2, 1)
    assert found.first and abs(found.first - (datetime.datetime.now().timestamp() - 2 * 3600)) < 60


def test_without_a_database_the_pushes_are_unknown_where_there_is_an_index(instance: Path) -> None:
    index = instance.parent / "data" / "index"
    (instance.parent / "kallithea.db").unlink()

    def measured() -> RecentPushes:
        return Context(load(str(instance)), Deadline(5)).measure(recent_pushes)

    assert measured() == RecentPushes()
    index.mkdir(parents=True, exist_ok=True)
    (index / "_HG_INDEX_1.toc").touch()
    with pytest.raises(NotMeasured, match="cannot be used: see DB000"):
        measured()


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_pushes_and_repositories_are_read_from_other_engines_as_well(
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
                    "INSERT INTO ui (ui_section, ui_key, ui_value, ui_active) "
                    "VALUES (:a, :b, :c, :d)"
                ),
                {"a": section, "b": key, "c": value, "d": active},
            )
    engine.dispose()
    assert pushes_since(url, 0).pushes == 2
    assert read_database(url) == DatabaseContent(
        root="/srv", repositories={}, hooks={"on": "x"}, storage={}
    )
