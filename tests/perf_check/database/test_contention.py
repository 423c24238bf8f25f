"""The load is real on every engine, and nothing of it is left behind, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, Union

import psutil
import pytest
import sqlalchemy
from environment import BIN
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL
from waiting import until

from kallithea_tune.db.engine import create_engine
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.database import contention
from kallithea_tune.perf_check.database.contention import PREFIX, measure
from kallithea_tune.perf_check.database.facts import TextLengths
from kallithea_tune.perf_check.database.load import (
    SEED_ROWS,
    Job,
    Target,
    run_client,
    scratch_table,
)
from kallithea_tune.system.programs import BOOTSTRAP

LENGTHS = TextLengths(8, 20, 40)
SERVERS = ("postgresql", "mariadb")


def server_of(request: pytest.FixtureRequest, name: str) -> Union[PostgreSQL, MariaDB]:
    server = request.getfixturevalue(name)
    assert isinstance(server, (PostgreSQL, MariaDB))
    return server


def tables(url: str) -> list[str]:
    return [
        name
        for name in sqlalchemy.inspect(create_engine(url)).get_table_names()
        if name.startswith(PREFIX)
    ]


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A SQLite file in use, in a directory of its own."""
    path = tmp_path / "live" / "kallithea.db"
    path.parent.mkdir()
    with sqlite3.connect(str(path)) as connection:
        connection.execute("CREATE TABLE user_logs (action)")
    connection.close()
    return path


@pytest.mark.alone
def test_both_journal_modes_are_measured_and_the_file_itself_is_not_touched(live: Path) -> None:
    before = live.read_bytes(), live.stat().st_mtime_ns
    url = f"sqlite:///{live}"
    loads = measure({"now": Target(url), "wal": Target(url, journal_mode="wal")}, 4, 3.0, LENGTHS)
    assert set(loads) == {"now", "wal"}
    for load in loads.values():
        assert load.engine == "SQLite " + sqlite3.sqlite_version and load.clients == 4
        # Each thinks for 50 ms on average, so no more than some 240 succeed.
        assert 4 <= len(load.writes_ms) <= 400 and len(load.reads_ms) == len(load.writes_ms)
        assert min(load.writes_ms) > 0 < load.alone_ms and not load.errors
        assert load.examined.complete
    assert (live.read_bytes(), live.stat().st_mtime_ns) == before
    assert os.listdir(str(live.parent)) == [live.name]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_scratch_file_has_the_mode_and_page_size_of_the_live_one(
    tmp_path: Path, mode: str
) -> None:
    path = str(tmp_path / "scratch.db")
    target = Target("sqlite:///" + path, journal_mode=mode, page_size=8192)
    with scratch_table(target, "things", LENGTHS), sqlite3.connect(path) as connection:
        pragmas = [
            connection.execute("PRAGMA " + name).fetchone()[0]
            for name in ("journal_mode", "page_size")
        ]
        (rows,) = connection.execute("SELECT count(*) FROM things").fetchone()
    assert pragmas == [mode, 8192] and rows == SEED_ROWS


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.alone
def test_a_server_gets_the_load_in_a_table_that_is_dropped(
    request: pytest.FixtureRequest, server: str
) -> None:
    url = server_of(request, server).url("load")
    load = measure({"there": Target(url)}, 4, 3.0, LENGTHS)["there"]
    assert load.engine.split()[0] == {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}[server]
    assert len(load.writes_ms) >= 4 and not load.errors and not tables(url)


@pytest.mark.alone
def test_writers_that_wait_longer_than_the_busy_timeout_fail_and_are_counted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "scratch.db"
    target = Target(f"sqlite:///{path}", lock_timeout_s=0.01)
    with scratch_table(target, "things", LENGTHS):
        writer = sqlite3.connect(str(path), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        requests = run_client(Job(target, "things", LENGTHS, think_s=0.0, seconds=2.0, seed=1))
        writer.execute("COMMIT")
        writer.close()
    assert len(requests.errors) > 1 and set(requests.errors) == {"database is locked"}
    assert requests.reads_ms and not requests.writes_ms


def test_what_a_server_refuses_is_a_sentence_and_leaves_no_table(
    postgresql: PostgreSQL, mariadb: MariaDB
) -> None:
    url = postgresql.url("refused")
    cursor = postgresql.connect().cursor()
    cursor.execute("DROP ROLE IF EXISTS reader")
    cursor.execute("CREATE ROLE reader LOGIN PASSWORD 'hidden-one'")
    cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    for bad, message in (
        (url.replace(postgresql.password, "hidden-two"), "password authentication failed"),
        (re.sub("//.*@", "//reader:hidden-one@", url), "permission denied for schema public"),
        (re.sub(r":\d+/", ":1/", url), "Connection refused"),
        (mariadb.url("refused").replace(mariadb.password, "hidden-two"), "Access denied"),
    ):
        with pytest.raises(NotMeasured, match=message) as caught:
            measure({"there": Target(bad)}, 2, 0.3, LENGTHS)
        assert "hidden" not in str(caught.value) and "\n" not in str(caught.value)
    assert not tables(url)


def test_a_directory_that_cannot_be_written_to_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match="No such file or directory"):
        measure({"now": Target(f"sqlite:///{tmp_path}/none/kallithea.db")}, 2, 0.3, LENGTHS)


@contextlib.contextmanager
def in_the_background(act: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize("server", SERVERS)
def test_a_child_that_is_killed_gets_its_table_dropped(
    request: pytest.FixtureRequest, server: str
) -> None:
    url = server_of(request, server).url("killed")

    def kill() -> None:
        until(lambda: tables(url))
        (child,) = (
            process for process in psutil.Process().children() if BOOTSTRAP in process.cmdline()
        )
        child.kill()

    with in_the_background(kill), pytest.raises(NotMeasured, match="ended by SIGKILL"):
        measure({"there": Target(url)}, 2, 20, LENGTHS)
    assert not tables(url)


@pytest.mark.once
def test_a_server_that_goes_away_is_reported_to_keep_the_table(postgresql: PostgreSQL) -> None:
    url = postgresql.url("gone")

    def stop() -> None:
        until(lambda: tables(url))
        postgresql.stop()

    try:
        with in_the_background(stop), pytest.raises(
            TuneError, match="may be left in --compare-db; drop it"
        ) as caught:
            measure({"there": Target(url)}, 2, 20, LENGTHS)
        assert PREFIX in str(caught.value) and postgresql.password not in str(caught.value)
    finally:
        postgresql.start()
    (left,) = tables(url)
    contention.drop(url, left)
    assert not tables(url)


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start the real gearbox, not waiting for it."""
    running = []

    def start(*args: object, **options: Any) -> "subprocess.Popen[str]":
        running.append(
            subprocess.Popen(
                [str(BIN / "gearbox"), *map(str, args)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                universal_newlines=True,
                **options,
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_beside_the_live_file_it_leaves_nothing(
    instance: Path, started: Callable[..., Any], number: signal.Signals, tmp_path: Path
) -> None:
    before = sorted(os.listdir(str(instance.parent)))
    process = started("perf-check", "-c", instance, "--only", "DB004", cwd=str(tmp_path))
    until(lambda: list(instance.parent.glob(".kallithea-tune-*/scratch.db-journal")))
    process.send_signal(number)
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 130 and "interrupted" in complaint
    assert sorted(os.listdir(str(instance.parent))) == before


@pytest.mark.parametrize("server", SERVERS)
def test_interrupted_on_another_server_it_drops_its_table(
    request: pytest.FixtureRequest,
    instance: Path,
    started: Callable[..., Any],
    server: str,
    tmp_path: Path,
) -> None:
    url = server_of(request, server).url("interrupted")
    process = started(
        "perf-check",
        "-c",
        instance,
        "--only",
        "DB013",
        "--compare-db",
        "env:OTHER",
        cwd=str(tmp_path),
        env=dict(os.environ, OTHER=url),
    )
    until(lambda: tables(url))
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 130 and "interrupted" in complaint, complaint
    assert not tables(url)


def test_no_process_is_left_running(live: Path) -> None:
    before = psutil.Process().children(recursive=True)
    measure({"now": Target(f"sqlite:///{live}")}, 4, 0.3, LENGTHS)
    assert psutil.Process().children(recursive=True) == before
