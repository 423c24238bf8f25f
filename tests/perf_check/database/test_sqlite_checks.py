"""The checks of a SQLite file, sound or damaged, by the real command, which changes nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

import pytest
from carry_out import carry_out
from configured import configured

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database import sqlite_checks as checks
from kallithea_tune.perf_check.database.sqlite import (
    Integrity,
    SqliteFileSystem,
    SqliteSettings,
    busy_timeout,
    quick_check,
)
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity

OK, ADVICE, ERROR = Severity.ok, Severity.advice, Severity.error
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
connection.execute("UPDATE users SET firstname = 'held'")
print("locked", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
print("committed", flush=True)
"""
ABANDON = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE user_logs SET action = 'x'")
os._exit(0)
"""


@pytest.mark.parametrize(
    "type, processes, severity",
    [
        ("ext4", 1, OK),
        ("ext4", None, OK),
        ("", 1, OK),
        ("xfs", 2, ADVICE),
        ("nfs4", 1, ERROR),
        ("cifs", 4, ERROR),
    ],
)
def test_a_network_is_an_error_and_several_processes_are_advice(
    type: str, processes: Optional[int], severity: Severity
) -> None:
    settings = SqliteSettings("/srv/a.db", None, processes)
    (finding,) = checks.sharing.judge(settings, SqliteFileSystem(type))
    assert finding.severity is severity


@pytest.mark.parametrize(
    "seconds, severity", [(None, ADVICE), (0.0, ADVICE), (5.0, ADVICE), (5.1, OK), (60.0, OK)]
)
def test_a_busy_timeout_should_be_longer_than_the_drivers(
    seconds: Optional[float], severity: Severity
) -> None:
    (finding,) = checks.timeout.judge(configured(), SqliteSettings("/srv/a.db", seconds, 1))
    assert finding.severity is severity and ("?timeout=60" in str(finding.remedy)) == (
        severity is ADVICE
    )


@pytest.mark.parametrize(
    "query, seconds",
    [
        ("?timeout=60", 60.0),
        ("", None),
        ("?timeout=soon", None),
        ("?check_same_thread=false&timeout=2.5", 2.5),
    ],
)
def test_the_busy_timeout_is_read_from_the_url(
    instance: Path, edit: Callable[..., None], query: str, seconds: Optional[float]
) -> None:
    edit(instance, "kallithea.db?timeout=60", "kallithea.db" + query)
    assert busy_timeout(load(str(instance)).database_url) == seconds


def test_a_short_busy_timeout_is_edited_where_it_is_written(
    instance: Path, edit: Callable[..., None]
) -> None:
    for written in ("", "?timeout=2", "?check_same_thread=false&timeout=2"):
        edit(instance, "kallithea.db?timeout=60", "kallithea.db" + written)
        (finding,) = checks.timeout.findings(Context(load(str(instance)), Deadline(1)))
        assert finding.severity is ADVICE
        carry_out(finding.remedy, instance)
        (finding,) = checks.timeout.findings(Context(load(str(instance)), Deadline(1)))
        assert finding.severity is OK
        after = written.replace("timeout=2", "timeout=60") or "?timeout=60"
        edit(instance, f"sqlite:///%(here)s/kallithea.db{after}\n", "URL\n")
        edit(instance, "URL\n", "sqlite:///%(here)s/kallithea.db?timeout=60\n")


@pytest.mark.parametrize(
    "complaints, complete, severity, message",
    [
        ((), True, OK, "no damage"),
        ((), False, ADVICE, "too large to be checked completely in 0.8 s"),
        (("row 3 missing from index",), True, ERROR, "damaged: row 3 missing"),
        (("malformed",), False, ERROR, "damaged: malformed"),
    ],
)
def test_any_complaint_of_sqlite_is_an_error(
    complaints: tuple[str, ...], complete: bool, severity: Severity, message: str
) -> None:
    result = Integrity("/srv/my data.db", complaints, complete, 800.0)
    (finding,) = checks.integrity.judge(result)
    assert finding.severity is severity and message in finding.diagnosis
    assert ("'/srv/my data.db'" in str(finding.remedy)) == (severity > OK)


def test_a_check_of_a_large_file_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with sqlite3.connect(str(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE things (content)")
        connection.executemany("INSERT INTO things VALUES (?)", [("x" * 50,)] * 50_000)
    result = quick_check(str(tmp_path / "a.db"), 30)
    assert result.complete and result.examined.complete
    cut = quick_check(str(tmp_path / "a.db"), 0)
    assert not cut.complete and not cut.complaints and not cut.examined.complete


@pytest.fixture
def report(gearbox: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run the checks of the area on an ini file; give the exit status and the findings by check."""

    def call(ini: Path, only: str = "database") -> Any:
        result = gearbox(
            "perf-check", "-c", ini, "--only", only, "-f", "json", cwd=str(tmp_path), timeout=300
        )
        assert not result.stderr, result.stderr
        return result.returncode, {row["check"]: row for row in json.loads(result.stdout)}

    return call


def listing(directory: Path) -> Mapping[str, object]:
    """Every file below `directory` with its content and times."""
    return {
        str(path): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mtime_ns,
            path.stat().st_ino,
        )
        for path in [directory, *directory.rglob("*")]
        if path != directory
    }


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.once
def test_a_complete_run_leaves_the_live_file_and_its_directory_as_they_were(
    instance: Path, report: Callable[..., Any], mode: str
) -> None:
    connection = sqlite3.connect(str(instance.parent / "kallithea.db"))
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.close()
    before = listing(instance.parent)
    status, rows = report(instance)
    assert status == 0 and listing(instance.parent) == before
    assert set(rows) == {
        "DB000",
        "DB001",
        "DB002",
        "DB003",
        "DB004",
        "DB005",
        "DB006",
        "DB007",
        "DB012",
        "DB014",
        "DB015",
        "DB017",
        "DB019",
    }
    assert not [row for row in rows.values() if row["severity"] in ("error", "unknown")]
    assert ("wal_p99_ms" in rows["DB002"]["evidence"]) == (mode == "delete")
    pages = rows["DB000"]["evidence"]
    assert (
        pages["pages"] * pages["page_size_bytes"]
        == (instance.parent / "kallithea.db").stat().st_size
    )


@pytest.fixture
def held(instance: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process in the middle of an exclusive transaction on the live file."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(instance.parent / "kallithea.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    assert holder.stdin and holder.stdout
    assert holder.stdout.readline() == "locked\n"
    yield holder
    holder.communicate()


def test_a_locked_file_is_not_waited_for_and_its_writer_not_disturbed(
    instance: Path, report: Callable[..., Any], held: "subprocess.Popen[str]"
) -> None:
    before = listing(instance.parent)
    status, rows = report(instance)
    assert (
        listing(instance.parent) == before
        and str(instance.parent / "kallithea.db-journal") in before
    )
    assert status == 1 and rows["DB000"]["severity"] == "error"
    assert rows["DB000"]["diagnosis"].endswith(f"is locked by process {held.pid}")
    assert {rows[name]["severity"] for name in ("DB002", "DB004", "DB005", "DB012")} == {"unknown"}
    assert held.communicate("")[0] == "committed\n"
    assert report(instance, only="DB000")[0] == 0


def spoil(path: Path, offset: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)


def test_a_file_with_a_broken_header_is_reported_to_be_no_database(
    instance: Path, report: Callable[..., Any]
) -> None:
    spoil(instance.parent / "kallithea.db", 0, 100)
    status, rows = report(instance)
    assert status == 1 and "file is not a database" in rows["DB000"]["diagnosis"]
    assert (
        rows["DB012"]["severity"] == "error"
        and "file is not a database" in rows["DB012"]["diagnosis"]
    )
    assert rows["DB004"]["diagnosis"] == "not measured: the database cannot be read, see DB000"


def test_a_file_broken_in_its_middle_is_found(instance: Path, report: Callable[..., Any]) -> None:
    database = instance.parent / "kallithea.db"
    with sqlite3.connect(str(database)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'user_logs'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    spoil(database, (root - 1) * size, size)
    before = listing(instance.parent)
    status, rows = report(instance)
    assert (
        status == 1
        and rows["DB012"]["severity"] == "error"
        and "damaged" in rows["DB012"]["diagnosis"]
    )
    assert "malformed" in rows["DB000"]["diagnosis"] and listing(instance.parent) == before


def test_a_transaction_that_a_killed_process_left_is_left_to_kallithea(
    instance: Path, report: Callable[..., Any]
) -> None:
    path = str(instance.parent / "kallithea.db")
    subprocess.run([sys.executable, "-c", ABANDON, path], check=True)
    before = listing(instance.parent)
    status, rows = report(instance)
    assert (
        status == 1
        and "left in mid-transaction by a process that died" in rows["DB000"]["diagnosis"]
    )
    assert listing(instance.parent) == before and path + "-journal" in before
    sqlite3.connect(path).execute("SELECT count(*) FROM user_logs").connection.close()
    assert report(instance, only="DB000")[0] == 0


def test_missing_files_are_not_created(
    instance: Path, report: Callable[..., Any], edit: Callable[..., None]
) -> None:
    before = listing(instance.parent)
    edit(instance, "%(here)s/kallithea.db", "%(here)s/none.db")
    status, rows = report(instance)
    assert status == 1 and rows["DB000"]["diagnosis"].endswith("none.db does not exist")
    edit(instance, "%(here)s/none.db", "%(here)s/none/none.db")
    status, rows = report(instance, only="DB000")
    assert status == 1 and rows["DB000"]["diagnosis"].endswith("none.db does not exist")
    edit(instance, "%(here)s/none/none.db", "%(here)s/repos")
    status, rows = report(instance, only="DB000")
    assert status == 1 and rows["DB000"]["diagnosis"].endswith(
        "repos is a directory, not a SQLite file"
    )
    assert set(listing(instance.parent)) == set(before)


def test_an_empty_file_is_an_empty_database(instance: Path, report: Callable[..., Any]) -> None:
    (instance.parent / "kallithea.db").write_bytes(b"")
    status, rows = report(instance, only="DB00[05679]")
    assert status == 1 and rows["DB000"]["diagnosis"] == "the database is empty"
    assert "kallithea-cli db-create" in rows["DB000"]["remedy"]
    assert not [row for row in rows.values() if row["severity"] == "unknown"]
    assert (instance.parent / "kallithea.db").read_bytes() == b""


def without_privileges(*args: object) -> list[str]:
    """Let even root be refused what file modes refuse."""
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    return [*drop, *map(str, args)]


@pytest.mark.parametrize(
    "directory, file, message",
    [
        (0o000, 0o600, "cannot be reached: Permission denied"),
        (0o700, 0o000, "cannot be read: Permission denied"),
    ],
)
def test_a_file_out_of_reach_is_reported(
    instance: Path,
    edit: Callable[..., None],
    directory: int,
    file: int,
    message: str,
    tmp_path: Path,
) -> None:
    database = tmp_path / "away" / "kallithea.db"
    database.parent.mkdir()
    os.rename(str(instance.parent / "kallithea.db"), str(database))
    edit(instance, "%(here)s/kallithea.db", str(database))
    database.chmod(file)
    database.parent.chmod(directory)
    command = Path(sys.executable).parent / "gearbox"
    try:
        result = subprocess.run(
            without_privileges(
                command, "perf-check", "-c", instance, "--only", "database", "-f", "json"
            ),
            cwd=str(tmp_path),
            stdout=subprocess.PIPE,
            timeout=300,
        )
    finally:
        database.parent.chmod(0o700)
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert result.returncode == 1 and rows["DB000"]["diagnosis"].endswith(message)
    assert {rows[name]["severity"] for name in ("DB002", "DB004", "DB005", "DB012")} == {"unknown"}


def test_a_directory_that_cannot_be_written_to_is_why_nothing_was_measured(
    instance: Path, edit: Callable[..., None], tmp_path: Path
) -> None:
    database = tmp_path / "away" / "kallithea.db"
    database.parent.mkdir()
    os.rename(str(instance.parent / "kallithea.db"), str(database))
    edit(instance, "%(here)s/kallithea.db", str(database))
    database.parent.chmod(0o500)
    command = Path(sys.executable).parent / "gearbox"
    result = subprocess.run(
        without_privileges(
            command,
            "perf-check",
            "-c",
            instance,
            "--only",
            "DB000",
            "--only",
            "DB004",
            "-f",
            "json",
        ),
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        timeout=300,
    )
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert result.returncode == 5 and rows["DB000"]["severity"] == "ok"
    assert rows["DB004"]["diagnosis"] == f"not measured: {database.parent}: Permission denied"


def test_other_engines_are_not_checked_as_sqlite(instance: Path, edit: Callable[..., None]) -> None:
    edit(instance, "sqlite:///%(here)s/kallithea.db?timeout=60", "postgresql://localhost/kallithea")
    context = Context(load(str(instance)), Deadline(1))
    assert not [
        finding
        for check in (checks.sharing, checks.timeout, checks.integrity)
        for finding in check.findings(context)
    ]
