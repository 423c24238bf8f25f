"""No signal is swallowed: whatever a command is doing, it ends with 130 and leaves nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import random
import signal
import sqlite3
import subprocess
import sys
import termios
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import signals
import sqlalchemy
from environment import BIN
from waiting import until

from kallithea_tune.cli.base import interrupted_by_signals
from kallithea_tune.config import instance as instances
from kallithea_tune.db.engine import open_sqlite
from kallithea_tune.db_migrate import Migration, journal
from kallithea_tune.db_migrate import switch as switching
from kallithea_tune.db_migrate.engines import engine_for
from kallithea_tune.static_export.verify.client import Client
from kallithea_tune.system import interruption

# Of each command; tests/security/signals.py sends as many as one likes.
RUNS = {
    signals.PerfCheck: 6,
    signals.StaticExport: 3,
    signals.StaticExportAlone: 15,
    signals.Verify: 6,
    signals.DbMigrate: 3,
    signals.DbMigrateAlone: 20,
}
F_SETPIPE_SZ = 1031  # fcntl.h; Python knows it from 3.10 on
LONG_QUERY = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000000)
SELECT count(*) FROM numbers
"""


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def target(request: Any, tmp_path: Path) -> str:
    """The URL of an empty database of each engine, or of a SQLite file that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'moved.db'}"
    url: str = request.getfixturevalue(request.param).url("switched_to")
    return url


@pytest.mark.alone
@pytest.mark.parametrize("command", RUNS, ids=lambda command: command.name)
def test_a_random_signal_ends_each_command(command: Any, pristine: Path, tmp_path: Path) -> None:
    signals.prepare()
    chance = random.Random(os.getpid())
    place = signals.Place(pristine, tmp_path)
    counts = list(signals.interrupted_runs(command(place), RUNS[command], chance))
    assert [count for count in counts if count.wrong] == []
    assert any(count.outcome == "130" for count in counts)


@contextlib.contextmanager
def signalled(
    number: int = signal.SIGTERM, after: float = 0.3, unnoticed: float = 1000
) -> Iterator[None]:
    """Inside, this process gets a signal, which must end what is done there.

    After `unnoticed` seconds, that need not look.
    """
    timer = threading.Timer(after, os.kill, (os.getpid(), number))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(
        KeyboardInterrupt
    ), interrupted_by_signals():
        patch.setattr(interruption, "UNNOTICED", unnoticed)
        timer.start()
        yield
        raise AssertionError("it went on")


def test_an_exception_that_python_ignores_is_raised_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)

    class Watched:
        def __del__(self) -> None:
            interruption.check()

    def signalled_inside(_reference: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        interruption.check()

    first, second = Watched(), Watched()
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        reference = weakref.ref(first, signalled_inside)
        del first
        del second
        assert reference() is None and len(ignored) == 2
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
        interruption.check()
    assert {item.exc_type for item in ignored} == {KeyboardInterrupt}
    assert not interruption.requested()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_wait_is_over_at_once(number: int) -> None:
    with signalled(number):
        interruption.sleep(600)


def test_a_child_is_killed() -> None:
    child = subprocess.Popen(["sleep", "600"])
    with signalled(), interruption.waking(child.kill):
        child.wait()
    assert child.returncode == -signal.SIGKILL


def test_a_thread_is_not_waited_for() -> None:
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with signalled():
            interruption.result_of(pool.submit(go_on.wait))
        with signalled():
            interruption.abandonable(go_on.wait)
        go_on.set()


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(600)", "SELECT SLEEP(600)", LONG_QUERY])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_query_is_cancelled(
    statement: str, frozen: bool, request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if statement == LONG_QUERY:
        if frozen:
            return
        urls = ["sqlite://"]
    else:
        name = "postgresql" if "pg_" in statement else "mariadb"
        urls = [request.getfixturevalue(name).url("cancelled")]
        if name == "mariadb":
            urls.append(urls[0].replace("mysql+pymysql", "mysql").replace("mysql+mysqldb", "mysql"))
    if frozen:
        # As if the server did not answer, although it does.
        monkeypatch.setattr("kallithea_tune.db.interruptible.Canceller.request", lambda self: None)
    for url in urls:
        connection = sqlalchemy.create_engine(url).connect()
        cancel = engine_for(connection).cancel
        with signalled(), interruption.waking(cancel):
            connection.execute(sqlalchemy.text(statement))
        connection.invalidate()


def test_a_locked_file_is_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "some.db")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE some (id)")
        writer.execute("BEGIN EXCLUSIVE")
        for writable in (False, True):
            with signalled(), contextlib.closing(open_sqlite(path, 600, writable)) as connection:
                connection.execute("SELECT * FROM some")
        writer.execute("COMMIT")


def test_a_web_server_that_stands_still_is_not_waited_for() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client = Client("http://127.0.0.1:%d" % server.getsockname()[1])
        with signalled():
            client.get("/")


def test_work_that_never_looks_is_interrupted_all_the_same() -> None:
    with signalled(unnoticed=0.2):
        while True:
            pass
    reading, writing = os.pipe()
    with signalled(unnoticed=0.2):
        os.read(reading, 1)
    os.close(reading)
    os.close(writing)


def test_what_is_deferred_is_done_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "UNNOTICED", 0.1)
    woken: list[int] = []
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        with interruption.waking(lambda: woken.append(1)), interruption.deferred():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
                interruption.sleep(0.2)
                interruption.check()
            assert not woken and not interruption.requested()
        raise AssertionError("it went on")


STUCK = """
import sys, time
from kallithea_tune.system import interruption
interruption.PATIENCE = float(sys.argv[1])
with interruption.interrupted_by_signals(), interruption.deferred():
    print("ready", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def stuck(patience: float, seconds: float) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(patience), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    return process


def test_one_more_signal_after_a_while_ends_what_is_stuck() -> None:
    with stuck(patience=0.2, seconds=600) as process:
        assert process.wait(60) == 130


def test_an_impatient_user_does_not_break_off_the_cleaning_up() -> None:
    with stuck(patience=60, seconds=1.5) as process:
        assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]


def test_everything_is_as_before_afterwards() -> None:
    numbers = (*interruption.ENDING, interruption.NUDGE)
    handlers = [signal.getsignal(number) for number in numbers]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            with signalled(after=0):
                interruption.sleep(600)
        assert signal.set_wakeup_fd(writing) == writing
    finally:
        signal.set_wakeup_fd(before)
    assert [signal.getsignal(number) for number in numbers] == handlers
    until(lambda: threading.active_count() == threads)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    os.close(reading)
    os.close(writing)


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupted_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            interruption.sleep(0.2)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_process_ends_by_signals_as_usual() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with interrupted_by_signals():
            child = os.fork()
            if not child:
                time.sleep(20)
                os._exit(0)
            time.sleep(0.2)
            os.kill(child, signal.SIGTERM)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
            interruption.sleep(0.2)
    finally:
        signal.signal(signal.SIGTERM, before)


def unread(pipe: int) -> int:
    """The bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_stands_still_is_not_waited_for(both: bool, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, 4096)
    with subprocess.Popen(
        [str(BIN / "gearbox"), "perf-check", "--list", "-f", "json"],
        cwd=str(tmp_path),
        stdout=writing,
        stderr=writing if both else subprocess.DEVNULL,
    ) as process:
        os.close(writing)
        # A write that would not fit into the rest waits.
        until(lambda: unread(reading) > 3500)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    os.close(reading)


def test_ctrl_c_at_the_question_ends_it(instance: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    with contextlib.closing(sqlite3.connect(str(target))) as database:
        database.execute("CREATE TABLE somebodys (id)")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [
            *(str(BIN / "gearbox"), "db-migrate", "-c", str(instance), "--replace"),
            *("--to", f"sqlite:///{target}"),
        ],
        cwd=str(tmp_path),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr
        said = b""
        while b"[y/N]" not in said:
            said += os.read(process.stderr.fileno(), 1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    with contextlib.closing(sqlite3.connect(str(target))) as database:
        assert [row[0] for row in database.execute("SELECT name FROM sqlite_master")] == [
            "somebodys"
        ]
    os.close(ours)
    os.close(theirs)


def switched_with(act: Callable[[Migration], None], ini: Path, url: str) -> tuple[bool, bool]:
    """Switch, while `act` has a signal sent at a moment; return whether ini and journal changed."""
    before = ini.read_text()
    loaded = instances.load(str(ini))
    with Migration(loaded, url) as migration:
        migration.run()
        act(migration)
        with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
            migration.cutover.switch(migration.cutover.plan_switch())
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        gone = journal.read(connection) is None
    engine.dispose()
    backups = list(ini.parent.glob("my.ini.*"))
    assert len(backups) == (ini.read_text() != before)
    return ini.read_text() != before, gone


@pytest.mark.parametrize("late", [False, True])
def test_ini_file_and_journal_change_together(
    late: bool, target: str, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, plan = switching.apply, switching.plan

    def send(after: Callable[..., Any]) -> Callable[..., Any]:
        def sending(*arguments: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
            return after(*arguments)

        return sending

    def act(migration: Migration) -> None:
        monkeypatch.setattr(switching, *(("apply", send(apply)) if late else ("plan", send(plan))))

    assert switched_with(act, instance, target) == (late, late)
