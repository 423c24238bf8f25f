from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from faults import At, clear, moved, source, target_state
from mounted import tmpfs
from servers.proxy import Proxy

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.errors import ConfigError, Refused, TuneError

KILLS = 17  # for each engine, so 51 in all


class Events:
    """Progress that writes a character for each step and each batch of rows."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def begin(self, step: str, total: int) -> None:
        os.write(self._pipe, b"+")

    def advance(self, count: int, table: str = "", table_rows: int = 0) -> None:
        os.write(self._pipe, b".")

    def end(self) -> None:
        pass


def killed_after(ini: Path, url: str, events: int, wait: float) -> int:
    """Kill a migration, in its own process, after so many events and seconds; return their number.

    The process is forked from the tests', where everything is imported.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            with Migration(instances.load(str(ini)), url, progress=Events(writing)) as migration:
                migration.check()
                migration.run()
        except BaseException:
            traceback.print_exc()
        finally:
            # Whatever the tests have open and registered belongs to their process.
            os._exit(0)
    os.close(writing)
    seen = 0
    while seen < events and os.read(reading, 1):
        seen += 1
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    return seen


def test_killed_at_any_instant_it_ends_with_the_same_verified_result(
    target: str, large: Path, read: Any
) -> None:
    before = source(large).read_bytes()
    seed, ended, events = os.getpid(), 0, 200
    with Migration(instances.load(str(large)), target) as migration:
        # So that everything is imported, once for all that are killed.
        migration.check()
    chance = random.Random(seed)
    for _ in range(KILLS):
        seen = killed_after(large, target, chance.randrange(1, events), chance.random() / 20)
        assert seen, "the migration did not start"
        events = max(50, min(events, seen + 20))
        state, stamped = target_state(target)
        assert state is not TargetState.FOREIGN and (
            not stamped or state is TargetState.COMPLETE
        ), "seed %d" % seed
        ended += state is TargetState.COMPLETE
        if state is TargetState.COMPLETE and ended % 2:
            clear(target)
    assert ended < KILLS
    report = moved(large, target)
    assert report.differences == [] and len(report.verified) == 29
    assert target_state(target) == (TargetState.COMPLETE, True)
    assert source(large).read_bytes() == before
    assert read(target) == read(f"sqlite:///{source(large)}")
    left = {
        path.name
        for path in large.parent.iterdir()
        if path.name.startswith((".kallithea", "kallithea.db-"))
    }
    assert left == set()


servers = pytest.mark.parametrize("target", ["postgresql", "mariadb"], indirect=True)


def end_by_restart(server: Any, ini: Path, url: str, when: str) -> None:
    """Restart a server in the middle of a migration, which ends in one sentence."""

    def restart() -> None:
        server.stop()
        server.start()

    at = At(when, restart)
    with pytest.raises(TuneError) as raised, Migration(
        instances.load(str(ini)), url, progress=at
    ) as migration:
        migration.run()
    message = str(raised.value)
    assert at.done and raised.value.exit_status == 4
    assert (
        message.startswith("the migration stopped while ")
        and "\n" not in message
        and server.password not in message
    )


@servers
@pytest.mark.parametrize("when", ["copying user_logs", "adding keys and indexes", "verifying"])
def test_a_server_that_restarts_in_the_middle_is_one_sentence(
    server: Any, target: str, large: Path, read: Any, when: str
) -> None:
    end_by_restart(server, large, target, when)
    state, stamped = target_state(target)
    assert not stamped and state is not TargetState.COMPLETE
    assert moved(large, target).differences == []
    assert read(target) == read(f"sqlite:///{source(large)}")


@servers
@pytest.mark.parametrize("when", ["copying user_logs", "verifying"])
def test_a_source_that_restarts_in_the_middle_is_one_sentence(
    server: Any, target: str, large: Path, with_url: Any, read: Any, tmp_path: Path, when: str
) -> None:
    assert moved(large, target).differences == []
    ini, url = with_url(large, target), f"sqlite:///{tmp_path / 'moved.db'}"
    end_by_restart(server, ini, url, when)
    assert list(tmp_path.glob("moved*")) == []
    assert moved(ini, url).differences == []
    assert read(url) == read(target)


@servers
@pytest.mark.parametrize("limit", [2000, 30000, 1000000, 4000000])
def test_a_dropped_connection_is_one_sentence(
    server: Any, target: str, large: Path, limit: int
) -> None:
    proxy = Proxy(server.port, limit)
    try:
        with pytest.raises((TuneError, ConfigError)) as raised:
            moved(large, target.replace(":%d/" % server.port, ":%d/" % proxy.port))
    finally:
        proxy.close()
    message = str(raised.value)
    assert "\n" not in message and server.password not in message
    assert target_state(target)[1] is False
    assert moved(large, target).differences == []


@servers
def test_a_wrong_password_is_one_sentence_and_not_shown(
    server: Any, target: str, instance: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        Migration(
            instances.load(str(instance)), target.replace(server.password, "not-the-password")
        )
    assert "cannot be reached" in str(raised.value) and "not-the-password" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_target_that_may_not_be_written_is_left_alone(postgresql: Any, instance: Path) -> None:
    url = postgresql.url("read_only")
    connection = postgresql.connect()
    connection.cursor().execute("ALTER DATABASE read_only SET default_transaction_read_only = on")
    connection.close()
    with pytest.raises(TuneError, match="read-only transaction") as raised:
        moved(instance, url)
    assert "\n" not in str(raised.value)
    assert target_state(url) == (TargetState.EMPTY, False)


def test_a_file_that_cannot_be_made_is_wrong_configuration(instance: Path, tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/none/new.db", "sqlite:////proc/new.db"):
        with pytest.raises(ConfigError, match="--to"):
            moved(instance, url)


def test_a_full_disk_leaves_nothing_behind(large: Path, migrate: Any, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=2m") as small:
        done = migrate(large, f"sqlite:///{small / 'moved.db'}")
        assert done.returncode == 4, done.stderr
        message = done.stderr.splitlines()[-1]
        assert "database or disk is full; the target is as it was before" in message
        assert list(small.iterdir()) == []


@pytest.fixture
def stopped_in_the_middle(
    large: Path,
) -> Iterator[Callable[[str, int], "subprocess.CompletedProcess[str]"]]:
    def stop(url: str, number: int) -> "subprocess.CompletedProcess[str]":
        process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "gearbox"),
                "db-migrate",
                "-c",
                str(large),
                "--to",
                "env:TARGET",
            ],
            env=dict(os.environ, TARGET=url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        assert process.stderr
        printed = ""
        while "copying" not in printed:
            printed += process.stderr.readline()
        process.send_signal(number)
        out, more = process.communicate(timeout=120)
        return subprocess.CompletedProcess([], process.returncode, out, printed + more)

    yield stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_says_what_is_left(
    target: str, large: Path, stopped_in_the_middle: Any, number: int
) -> None:
    done = stopped_in_the_middle(target, number)
    assert done.returncode == 130, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("gearbox db-migrate: interrupted while ") and "; the target " in last
    assert "Traceback" not in done.stderr
    assert target_state(target)[1] is False
    assert moved(large, target).differences == []


@pytest.mark.parametrize("target", ["mariadb"], indirect=True)
@pytest.mark.parametrize("when", ["copying user_logs", "adding keys and indexes", "verifying"])
def test_complete_tables_are_kept_and_brought_up_to_date(
    target: str, large: Path, read: Any, when: str
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised, Migration(
        instances.load(str(large)), target, progress=At(when, stop)
    ) as migration:
        migration.run()
    assert "the target is partly filled; run the same command to resume" in str(raised.value)
    assert target_state(target) == (TargetState.PARTLY_FILLED, False)
    with contextlib.closing(sqlite3.connect(str(source(large)))) as connection, connection:
        connection.execute("UPDATE users SET firstname = 'Meanwhile' WHERE username = 'user1'")
        connection.execute("DELETE FROM user_followings")
        connection.execute("UPDATE user_logs SET action = 'meanwhile' WHERE user_log_id = 20000")
    report = moved(large, target)
    assert {"users", "user_followings"} <= set(report.kept)
    assert ("user_logs" in report.kept) is (when != "copying user_logs")
    assert {"users", "user_followings"} <= {item.table for item in report.changes or ()}
    assert report.differences == [] and target_state(target) == (TargetState.COMPLETE, True)
    assert read(target) == read(f"sqlite:///{source(large)}")


def test_two_at_once_do_not_get_into_each_others_way(target: str, large: Path) -> None:
    statuses = []

    def another() -> None:
        with pytest.raises(Refused, match="another db-migrate") as raised:
            moved(large, target)
        statuses.append(raised.value.exit_status)

    with Migration(
        instances.load(str(large)), target, progress=At("copying user_logs", another)
    ) as migration:
        assert migration.run().differences == []
    assert statuses == [3] and target_state(target) == (TargetState.COMPLETE, True)


DYING = """
import os, sqlite3, sys

connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")
connection.execute("UPDATE user_logs SET action = action || 'half'")
os.kill(os.getpid(), 9)
"""


def test_a_source_in_the_middle_of_a_transaction_is_left_to_kallithea(
    large: Path, migrate: Any, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-c", DYING, str(source(large))])
    left, before = source(large).with_name("kallithea.db-journal"), source(large).read_bytes()
    assert left.exists()
    done = migrate(large, f"sqlite:///{tmp_path / 'moved.db'}")
    assert done.returncode == 3 and "start the application once" in done.stderr.splitlines()[-1], (
        done.stderr
    )
    assert left.exists() and source(large).read_bytes() == before
    assert list(tmp_path.glob("moved*")) == []
