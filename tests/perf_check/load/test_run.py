"""The load on a real Kallithea."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import psutil
import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.load import run
from kallithea_tune.perf_check.load.actions import mix_of_instance
from kallithea_tune.perf_check.load.mix import CLONES, Kind
from kallithea_tune.perf_check.load.run import Plan, measure


def _silent(title: str, done: int, total: int) -> None:
    pass


class _Children:
    """The processes that are started after it was made; servers of other tests run beside them."""

    def __init__(self) -> None:
        self._others = set(psutil.Process().children())
        self.seen: set[psutil.Process] = set()

    def now(self) -> set[psutil.Process]:
        found = set(psutil.Process().children()) - self._others
        self.seen |= found
        return found


def _state(ini: Path) -> tuple[str, list[str]]:
    database = hashlib.sha256((ini.parent / "kallithea.db").read_bytes()).hexdigest()
    return database, sorted(str(path) for path in ini.parent.rglob("*"))


@pytest.mark.once
def test_one_process_and_two_answer_everything_and_leave_nothing(instance: Path) -> None:
    (instance.parent / "data").mkdir(exist_ok=True)
    before, loaded = _state(instance), load(str(instance))
    mix = mix_of_instance(loaded)
    assert set(mix.repositories) == {"hg", "git"} and set(mix.shares) == set(Kind)
    steps: list[str] = []
    children = _Children()

    def progress(title: str, done: int, total: int) -> None:
        steps.append(title)
        children.now()

    curve = measure(loaded, Plan(mix, (1, 2), repeats=2, seconds=1.0), progress)
    assert [level.workers for level in curve.levels] == [1, 2]
    for level in curve.levels:
        assert len(level.requests_s) == 2 and level.generator_cpu > 0
        assert level.errors == 0 and level.requests == len(level.latencies_ms)
    # On a busy machine a second may be too short for any answer.
    assert sum(level.requests for level in curve.levels) > 0
    # Up, and down again.
    assert [step for step in steps if step[-1].isdigit()] == [
        "processes: 1",
        "processes: 2",
        "processes: 2",
        "processes: 1",
    ]
    assert curve.worker_bytes > 30 << 20
    assert "only read" in curve.notes[0]
    assert "waitress serves them" in curve.notes[1]
    assert "hg clone 5 %" in curve.notes[2] and "assumed" in curve.notes[2]
    assert len(children.seen) >= 2
    assert not any(child.is_running() for child in children.seen)
    # No pull in the log of actions, no session, no clone.
    assert _state(instance) == before


@pytest.mark.once
def test_threads_are_those_of_one_process(instance: Path) -> None:
    started: list[int] = []
    children = _Children()

    def progress(title: str, done: int, total: int) -> None:
        started.append(len(children.now()))

    mix = mix_of_instance(load(str(instance)))
    curve = measure(load(str(instance)), Plan(mix, (1, 3), 1, 1.0, threads=True), progress)
    assert curve.subject == "threads of one process"
    assert [level.errors for level in curve.levels] == [0, 0]
    assert max(started) == 1


@pytest.mark.once
def test_a_running_instance_gets_clients_and_short_memory_fewer_processes(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(str(instance))
    mix = mix_of_instance(loaded)
    monkeypatch.setattr(run, "_room_for", lambda pid: False)
    with run.colleagues(loaded, {}, 2) as visitors:
        ((_, served),) = run._started(visitors, Plan(mix, (1, 2)), _silent)
        curve = measure(loaded, Plan(mix, (1, 2), 1, 1.0, url=served.url + "/"), _silent)
    assert curve.subject == f"clients of {served.url}/"
    assert [(level.workers, level.errors) for level in curve.levels] == [(1, 0), (2, 0)]
    assert "log of actions" in curve.notes[0] and curve.worker_bytes == 0


@pytest.mark.once
def test_pages_that_anonymous_visitors_do_not_see_are_no_load(instance: Path) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("UPDATE users SET active = 0 WHERE username = 'default'")
    connection.close()
    mix = mix_of_instance(load(str(instance)))
    with pytest.raises(
        NotMeasured,
        match="anonymous visitors: status 302 for /; the load consists of what they may",
    ):
        measure(load(str(instance)), Plan(mix, (1,), 1, 1.0), _silent)


def test_the_repositories_are_those_that_are_pulled_from(instance: Path) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        rows = connection.execute("SELECT repo_type, repo_name FROM repositories").fetchall()
        wanted = {kind: max(name for other, name in rows if other == kind) for kind, _ in rows}
        connection.execute("DELETE FROM user_logs")
        for kind, count in (("hg", 3), ("git", 1)):
            connection.execute(
                "INSERT INTO user_logs (user_id, username, repository_id, repository_name, "
                "user_ip, action, action_date) SELECT 1, 'a', repo_id, repo_name, '', 'pull', "
                "'2026-01-01' FROM repositories, (SELECT 1 UNION SELECT 2 UNION SELECT 3) numbers "
                "WHERE repo_name = ? LIMIT ?",
                [wanted[kind], count],
            )
    connection.close()
    mix = mix_of_instance(load(str(instance)))
    assert mix.repositories == wanted
    assert mix.shares[CLONES["hg"]] == pytest.approx(3 * mix.shares[CLONES["git"]])


def test_no_process_is_started_that_the_memory_has_no_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run._room_for(os.getpid())
    monkeypatch.setattr(run.processes, "memory", lambda pid: (1 << 50, 1 << 50))
    assert not run._room_for(os.getpid())
