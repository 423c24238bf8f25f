"""Preflight and the fingerprints of the source, in a second process beside the copy."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any, Callable

import psutil
import pytest
import sqlalchemy
from faults import At, moved, source, target_state

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration
from kallithea_tune.db_migrate.journal import TargetState
from kallithea_tune.db_migrate.preflight.preflight import Preflight
from kallithea_tune.db_migrate.source import Source
from kallithea_tune.db_migrate.verify.fingerprint import Fingerprinter
from kallithea_tune.errors import Refused, TuneError

COUNT = "SELECT count(*) FROM user_logs"
ADD = (
    "INSERT INTO user_logs (username, repository_name, action, action_date)"
    " VALUES ('late', '', '', '2024-01-01 00:00:00.000000')"
)


def wal(ini: Path) -> None:
    with contextlib.closing(sqlite3.connect(str(source(ini)))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def write(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(ADD))
    engine.dispose()


def counted(engine: Any) -> int:
    return int(engine.connection.execute(sqlalchemy.text(COUNT)).scalar())


def children() -> list[int]:
    """The copies of this process; servers are its children as well."""
    own = psutil.Process()
    return [child.pid for child in own.children() if command(child) == own.cmdline()]


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # It has ended.
        return []


@pytest.fixture(params=["sqlite", "wal", "postgresql", "mariadb"])
def url(request: Any, instance: Path) -> str:
    """A source of each engine, and one whose readers block nobody."""
    if request.param in ("postgresql", "mariadb"):
        filled: str = request.getfixturevalue(request.param).url("beside")
        assert moved(instance, filled).differences == []
        return filled
    if request.param == "wal":
        wal(instance)
    return f"sqlite:///{source(instance)}"


def test_both_connections_see_the_same_moment(url: str) -> None:
    with contextlib.closing(Source(url)) as opened:
        rows = counted(opened.endpoint)
        other = opened.another_connection()
        # MariaDB knows nothing of tables that nobody wrote to since it was started.
        assert other or url.startswith("mysql")
        write(url)
        assert counted(opened.endpoint) == rows
        if other:
            assert counted(other) == rows
            other.connection.close()


def test_after_a_write_there_is_none_that_sees_a_later_moment(url: str) -> None:
    with contextlib.closing(Source(url)) as opened:
        rows = counted(opened.endpoint)
        write(url)
        other = opened.another_connection()
        is_proven = other is not None
        assert is_proven == (url.startswith("postgresql") or not is_shared(url))
        if other is not None:
            assert counted(other) == rows
            other.connection.close()


def is_shared(url: str) -> bool:
    """Whether the snapshot is a transaction that no other connection can join."""
    if not url.startswith("sqlite"):
        return True
    with contextlib.closing(sqlite3.connect(url[len("sqlite:///") :])) as connection:
        return bool(connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal")


@pytest.mark.parametrize("prepare", [lambda ini: None, wal], ids=["copied", "wal"])
def test_what_is_written_between_the_steps_is_in_none_of_them(
    postgresql: Any, instance: Path, read: Any, prepare: Callable[[Path], None]
) -> None:
    prepare(instance)
    url = f"sqlite:///{source(instance)}"
    before = read(url)
    steps = [At(step, lambda: write(url)) for step in ("copying", "adding keys and indexes")]

    class Both(At):
        def _check(self, what: str) -> None:
            for step in steps:
                step._check(what)

    target = postgresql.url("between")
    shown = Both("", lambda: None)
    with Migration(instances.load(str(instance)), target, progress=shown) as migration:
        migration.check()
        result = migration.run()
    assert all(step.done for step in steps)
    assert result.differences == [] and read(target) == before


def test_the_source_is_fingerprinted_in_the_second_process_alone(
    postgresql: Any, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = []
    fingerprint = Fingerprinter._fingerprint

    def noted(self: Fingerprinter, *arguments: Any) -> Any:
        here.append(self.engine.connection.dialect.name)
        return fingerprint(self, *arguments)

    monkeypatch.setattr(Fingerprinter, "_fingerprint", noted)
    assert moved(instance, postgresql.url("alone")).differences == []
    assert set(here) == {"postgresql"}


def test_problems_end_the_copy_and_leave_nothing(target: str, large: Path, tmp_path: Path) -> None:
    # What each target would accept while rows are copied.
    with contextlib.closing(sqlite3.connect(str(source(large)))) as connection, connection:
        connection.execute("UPDATE user_logs SET user_id = 4711 WHERE user_log_id = 7")
    files, copying = set(large.parent.iterdir()), At("copying", lambda: None)
    with Migration(instances.load(str(large)), target, progress=copying) as migration:
        migration.check()
        with pytest.raises(Refused) as raised:
            migration.run()
    assert copying.done
    assert (
        str(raised.value) == "nothing was changed: preflight found 1 problem that no --fix covers"
    )
    assert [item.rule.name for item in migration.result.violations] == ["orphans"]
    assert target_state(target) == (TargetState.EMPTY, False)
    assert set(large.parent.iterdir()) == files and list(tmp_path.glob("moved*")) == []
    assert children() == []


def test_a_second_process_that_is_killed_stops_the_migration(postgresql: Any, large: Path) -> None:
    url = postgresql.url("second_killed")
    at = At("copying", lambda: os.kill(children()[0], signal.SIGKILL))
    with Migration(instances.load(str(large)), url, progress=at) as migration:
        migration.check()
        with pytest.raises(TuneError, match="the second process of this command was killed"):
            migration.run()
    assert at.done and target_state(url) == (TargetState.EMPTY, False)


def test_an_error_in_the_second_process_is_the_one_sentence(
    postgresql: Any, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Preflight, *arguments: Any) -> None:
        self._scope.source.cursor().execute("SELECT 1 FROM nowhere")

    monkeypatch.setattr(Preflight, "run", run)
    url = postgresql.url("second_failed")
    with pytest.raises(TuneError) as raised:
        moved(instance, url)
    sentence = str(raised.value)
    assert sentence.startswith("the migration stopped while ")
    assert sentence.endswith(": no such table: nowhere; the target is as it was before")
    assert target_state(url) == (TargetState.EMPTY, False)
