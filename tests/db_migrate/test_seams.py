"""Kills between the steps of a switch, two runs at once, and locks that others hold."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import struct
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable

import pytest
from faults import At, moved, source, target_state

from kallithea_tune.config import instance as instances
from kallithea_tune.db.interruptible import transaction
from kallithea_tune.db_migrate import Migration, connect, journal
from kallithea_tune.db_migrate import target as targets
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.errors import Refused
from kallithea_tune.system import atomic

pytestmark = pytest.mark.once


# By hand, SWITCH_KILLS=1000 kills at each of them.
KILLS = int(os.environ.get("SWITCH_KILLS", "2"))
# What makes system calls: functions of `os` and `fcntl`, and methods of files, sockets and drivers.
MODULES = ("posix", "fcntl")
CLASSES = ("Connection", "Cursor", "Reader", "socket", "connection", "cursor", "TextIOWrapper")


def _die_before(number: int, count: Callable[[], int]) -> Callable[[Any, str, Any], None]:
    """A profile that kills this process before a call that makes system calls."""

    def profile(_frame: Any, event: str, called: Any) -> None:
        if event != "c_call":
            return
        module, owner = getattr(called, "__module__", ""), getattr(called, "__self__", None)
        counts = module in MODULES or type(owner).__name__ in CLASSES
        if counts and count() == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return profile


def switched(ini: Path, url: str, killed_before: int = -1) -> int:
    """Change the ini file, in a process of its own, which is killed before a call that makes system
    calls; return the number of these when it was not.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        seen = [0]

        def count() -> int:
            seen[0] += 1
            return seen[0] - 1

        try:
            with Migration(instances.load(str(ini)), url) as migration:
                edit = migration.cutover.plan_switch()
                sys.setprofile(_die_before(killed_before, count))
                migration.cutover.switch(edit)
                sys.setprofile(None)
            os.write(writing, struct.pack("i", seen[0]))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    calls = os.read(reading, 4)
    os.close(reading)
    return struct.unpack("i", calls)[0] if calls else 0


def write_journal(url: str, entries: "dict[str, str]") -> None:
    engine = connect.target_engine(url)
    with engine.connect() as connection, transaction(connection):
        journal.create(connection)
        for entry, value in entries.items():
            journal.note(connection, entry, value)


def test_a_switch_that_was_killed_is_completed_by_the_same_command(
    target: str, instance: Path, migrate: Any, capfd: Any
) -> None:
    before = instance.read_text()
    assert moved(instance, target).differences == []
    with connect.target_engine(target).connect() as connection:
        entries = dict(journal.read(connection) or {})
    calls, chance = switched(instance, target), random.Random(7)
    after = instance.read_text()
    assert calls > 50 and after != before
    completed = 0
    for number in sorted(chance.sample(range(calls), min(KILLS, calls))):
        for path in instance.parent.glob("my.ini.2*"):
            path.unlink()
        instance.write_text(before)
        write_journal(target, entries)
        assert switched(instance, target, number) == 0
        assert instance.read_text() in (before, after), number
        time.sleep(2 * atomic.LOCKING)
        if instance.read_text() == before:
            assert target_state(target)[0] is TargetState.COMPLETE, number
            assert switched(instance, target)
        else:
            left = target_state(target)[0] is TargetState.COMPLETE
            again = migrate(instance, target, "--switch")
            said = "interrupted switch had left in it was dropped" if left else "nothing to do"
            assert again.returncode == 0 and said in again.stderr, again.stderr
            completed += left
        assert instance.read_text() == after and target_state(target)[0] is TargetState.FOREIGN
        (backup,) = instance.parent.glob("my.ini.2*")
        assert backup.read_text() == before
        assert list(instance.parent.glob(".kallithea-tune*")) == []
    print(f"{calls} calls, {completed} switches completed")


def test_a_switch_that_left_the_journal_is_completed(
    target: str, instance: Path, migrate: Any
) -> None:
    assert moved(instance, target).differences == []
    with connect.target_engine(target).connect() as connection:
        entries = dict(journal.read(connection) or {})
    assert switched(instance, target)
    write_journal(target, entries)
    left = instance.parent / (atomic.PREFIX + "left")
    left.mkdir(0o700)
    (left / "new").write_text("sqlalchemy.url = postgresql://joe:secret-word@db/k")
    time.sleep(2 * atomic.LOCKING)
    for words in ((), ("-n", "--switch")):
        done = migrate(instance, target, *words)
        assert done.returncode == 0 and "--switch drops it" in done.stderr, done.stderr
        assert target_state(target)[0] is TargetState.COMPLETE
    done = migrate(instance, target, "--switch")
    assert done.returncode == 0 and "was dropped" in done.stderr, done.stderr
    assert target_state(target)[0] is TargetState.FOREIGN and not left.exists()
    assert "nothing to do" in migrate(instance, target, "--switch").stderr


def test_an_incomplete_target_does_not_count_as_switched(
    mariadb: Any, instance: Path, migrate: Any
) -> None:
    url = mariadb.url("incomplete")
    write_journal(url, {"copied users": "1"})
    text = instance.read_text()
    instance.write_text(text.replace("sqlite:///%(here)s/kallithea.db?timeout=60", url))
    done = migrate(instance, url, "--switch")
    assert done.returncode == 3 and "not filled completely" in done.stderr, done.stderr
    assert mariadb.password not in done.stderr


def test_a_second_run_says_so_before_it_looks_at_rows(
    target: str,
    instance: Path,
    migrate: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(targets, "LOCK_SECONDS", 0)
    said = []

    def others() -> None:
        for words in ((), ("--catch-up",), ("--replace", "-y", "--switch")):
            done = migrate(instance, target, *words)
            said.append((done.returncode, done.stderr.splitlines()[-1]))
            assert "preflight" not in done.stderr
        said.append((migrate(instance, target, "-n").returncode, ""))

    at = At("copying", others)
    with Migration(instances.load(str(instance)), target, progress=at) as migration:
        assert migration.run().differences == []
    assert [status for status, _ in said] == [3, 3, 3, 0]
    for _, message in said[:3]:
        assert "another db-migrate is writing to the target" in message
    # And while it catches up; a lock ends with the run.
    said.clear()
    at = At("catching up", lambda: said.append((migrate(instance, target).returncode, "")))
    with Migration(instances.load(str(instance)), target, progress=at) as migration:
        migration.catch_up()
    assert said == [(3, "")] and migrate(instance, target).returncode == 0
    assert not list(tmp_path.glob("moved.db.*"))


def test_a_target_that_another_run_changed_meanwhile_is_left_alone(
    target: str, instance: Path
) -> None:
    with Migration(instances.load(str(instance)), target) as migration:
        assert moved(instance, target).differences == []
        with pytest.raises(Refused, match="was changed since this command began"):
            migration.run()
    assert target_state(target) == (TargetState.COMPLETE, True)


def test_two_switches_of_one_ini_file_exclude_each_other(
    instance: Path, migrate: Any, tmp_path: Path
) -> None:
    first, second = (f"sqlite:///{tmp_path / name}" for name in ("first.db", "second.db"))
    with Migration(instances.load(str(instance)), first) as migration:
        migration.cutover.reserve()
        done = migrate(instance, second, "--switch")
        assert done.returncode == 3 and f"about to change {instance}" in done.stderr
        assert not (tmp_path / "second.db").exists()
    assert migrate(instance, second).returncode == 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for locks for two seconds only."""
    import dataclasses

    from kallithea_tune.db_migrate.engines import engine_class
    from kallithea_tune.db_migrate.engines.base import Setting
    from kallithea_tune.db_migrate.engines.sqlite import connection

    monkeypatch.setattr(connection, "SOURCE_LOCK_SECONDS", 2)
    for name in ("postgresql", "mysql"):
        engine = engine_class(name)
        session = tuple(
            Setting(item.statement.replace("10", "2"), "")
            for item in engine.settings.source_session
        )
        settings = dataclasses.replace(engine.settings, source_session=session)
        monkeypatch.setattr(engine, "settings", settings)


LOCKING = {
    "sqlite": ["BEGIN EXCLUSIVE"],
    "postgresql": [
        "SET application_name = 'repairing'",
        "BEGIN",
        "LOCK TABLE users IN ACCESS EXCLUSIVE MODE",
    ],
    "mariadb": ["LOCK TABLES users WRITE"],
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", LOCKING)
def test_a_locked_source_says_so(
    name: str, request: Any, instance: Path, migrate: Any, with_url: Any, tmp_path: Path
) -> None:
    ini = instance
    if name != "sqlite":
        server = request.getfixturevalue(name)
        url = server.url("locked")
        assert moved(instance, url).differences == []
        ini, holder = with_url(instance, url), server.connect("locked")
    else:
        holder = sqlite3.connect(str(source(instance)), isolation_level=None)
    with contextlib.closing(holder):
        cursor = holder.cursor()
        for statement in LOCKING[name]:
            cursor.execute(statement)
        who = {
            "sqlite": lambda: f"the process {os.getpid()} (",
            "postgresql": lambda: f"the session {holder.info.backend_pid} kallithea repairing",
            "mariadb": lambda: "another session",
        }[name]()
        done = migrate(ini, f"sqlite:///{tmp_path / 'moved.db'}")
    (message,) = [line for line in done.stderr.splitlines() if "stays locked by" in line]
    assert done.returncode == (3 if name == "sqlite" else 4), done.stderr
    assert who in message and list(tmp_path.glob("moved*")) == []
