"""When waits, WAL and another engine are reported, and what --compare-db may be."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import pytest
from servers.mariadb import MariaDB
from servers.postgresql import PostgreSQL
from servers.server import free_port

from kallithea_tune.config.instance import load as load_instance
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database import contention_checks as checks
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.database.contention import Comparison, SqliteContention
from kallithea_tune.perf_check.database.facts import DatabaseFacts, LogFacts, TextLengths
from kallithea_tune.perf_check.database.load import Load
from kallithea_tune.perf_check.measurement import Configuration, Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, WARNING, ERROR, UNKNOWN = (
    Severity.ok,
    Severity.advice,
    Severity.warning,
    Severity.error,
    Severity.unknown,
)


def load(
    writes: Sequence[float],
    reads: Sequence[float] = (1.0,) * 250,
    errors: Sequence[str] = (),
    engine: str = "SQLite 3.40.1",
) -> Load:
    return Load(
        engine,
        clients=8,
        seconds=1.5,
        alone_ms=1.0,
        reads_ms=tuple(reads),
        writes_ms=tuple(writes),
        errors=tuple(errors),
    )


def waits(*slow: float) -> list[float]:
    """Return 250 milliseconds: little ones, and these."""
    chance = random.Random(1)
    return [chance.uniform(0.5, 5) for _ in range(250 - len(slow))] + list(slow)


@pytest.mark.parametrize(
    "measured, severity",
    [
        (load(waits()), OK),
        (load(waits(500, 500, 500)), OK),  # Three of 250 may be chance.
        (load(waits(*[90.0] * 20)), OK),
        (load(waits(*[110.0] * 10)), WARNING),
        (load(waits(), waits(*[110.0] * 10)), WARNING),
        (load(waits(), errors=["database is locked"]), WARNING),
        (load([], [], ["database is locked"] * 9), WARNING),
    ],
)
def test_waits_are_a_warning_when_more_than_one_of_a_hundred_takes_100_ms_beyond_chance(
    measured: Load, severity: Severity
) -> None:
    finding = checks.judge_load(measured, 60, "do so")
    assert finding.severity is severity and finding.evidence["busiest_minute"] == 60
    assert finding.remedy == ("do so" if severity is WARNING else "")
    if not measured.errors:
        assert checks.judge_load(measured, 59, "").severity is (
            ADVICE if severity is WARNING else OK
        )


def test_the_cost_of_waiting_is_what_a_write_takes_longer_than_alone() -> None:
    assert checks.judge_load(load([201.0] * 250), 3, "").impact_ms == 200.0


def contended(pristine: Path, now: Load, wal: Optional[Load] = None) -> Finding:
    config = Configuration(load_instance(str(pristine / "my.ini")))
    facts = DatabaseFacts("SQLite", "3.40.1", log=LogFacts(1.0, 60, TextLengths()))
    contention = SqliteContention("delete", False, now, wal)
    (finding,) = checks.contended.judge(config, facts, contention)
    assert isinstance(finding, Finding)
    return finding


def test_the_remedy_for_waits_is_wal_where_that_helps_and_else_a_comparison(
    pristine: Path,
) -> None:
    finding = contended(pristine, load(SLOW), load(FAST))
    assert "DB002: in WAL 1 % of them wait 20 ms" in str(finding.remedy)
    assert finding.evidence["busiest_minute"] == 60
    for now, wal in (
        (load(SLOW), None),
        (load(SLOW), load(SLOW)),
        (load([], [], ["x"]), None),
        (load(SLOW), load([], [], ["x"])),
        (load([], [], ["x"]), load(FAST)),
    ):
        remedy = contended(pristine, now, wal).remedy
        assert f"{pristine / 'my.ini'} --only DB013 --compare-db postgresql://" in remedy


SLOW, FAST, MIDDLE = waits(*[200.0] * 12), waits(*[20.0] * 12), waits(*[150.0] * 12)


@pytest.mark.parametrize(
    "mode, on_network, now, wal, severity",
    [
        ("delete", False, load(SLOW), load(FAST), ADVICE),
        ("delete", False, load(waits(), SLOW), load(waits(), FAST), ADVICE),
        ("delete", False, load(SLOW), load(MIDDLE), OK),
        ("delete", False, load(FAST), load(SLOW), OK),
        ("delete", False, load(waits(30.0, 30.0, 30.0)), load(waits()), OK),  # Might be chance.
        ("delete", False, load([4.0] * 250), load([1.0] * 250), OK),  # Nobody feels 3 ms.
        ("delete", True, load(SLOW), None, OK),
        ("wal", False, load(SLOW), None, OK),
        ("wal", True, load(FAST), None, ERROR),
    ],
)
def test_wal_is_advised_for_what_it_gains_here(
    mode: str, on_network: bool, now: Load, wal: Optional[Load], severity: Severity
) -> None:
    client = SqlClient("sqlite", ("/srv/my data.db",))
    contention = SqliteContention(mode, on_network, now, wal)
    (finding,) = checks.journal_mode.judge(client, contention)
    assert finding.severity is severity
    if severity > OK:
        advised = "DELETE" if mode == "wal" else "WAL"
        assert f"sqlite3 -bail '/srv/my data.db' 'PRAGMA journal_mode = {advised}'" in str(
            finding.remedy
        )


def test_a_load_without_a_request_that_succeeded_is_not_judged() -> None:
    none, client = load([], [], ["locked"]), SqlClient("sqlite", ("a.db",))
    for now, wal in ((none, load(SLOW)), (load(SLOW), none)):
        contention = SqliteContention("delete", False, now, wal)
        with pytest.raises(NotMeasured, match="locked"):
            list(checks.journal_mode.judge(client, contention))


@pytest.mark.parametrize(
    "here, there, severity, message",
    [
        (
            {"now": load(SLOW)},
            FAST,
            ADVICE,
            "wait 200/1 ms here, 20/1 ms on PostgreSQL 15.3: a gain",
        ),
        ({"now": load(SLOW), "wal": load(FAST)}, MIDDLE, OK, "no gain worth a move"),
        ({"now": load(FAST)}, SLOW, OK, "no gain worth a move"),
        ({}, FAST, OK, "wait 20/1 ms on PostgreSQL 15.3"),
    ],
)
def test_another_engine_is_advised_for_what_it_gains(
    here: Mapping[str, Load], there: Sequence[float], severity: Severity, message: str
) -> None:
    result = Comparison(load(there, engine="PostgreSQL 15.3"), here)
    (finding,) = checks.compared.judge(result)
    assert finding.severity is severity and message in finding.diagnosis
    assert {name for name in finding.evidence} == {"there", *("here_" + name for name in here)}


def test_without_another_database_nothing_is_measured(pristine: Path) -> None:
    context = Context(load_instance(str(pristine / "my.ini")), Deadline(30))
    assert not checks.compared.requested(context)
    assert checks.compared.requested(replace(context, compare_db="sqlite:///other.db"))


@pytest.fixture
def compare(gearbox: Callable[..., Any], instance: Path, tmp_path: Path) -> Callable[..., Any]:
    """Compare the instance with what is given; return the process and the finding."""

    def call(given: str, budget: str = "60") -> Any:
        done = gearbox(
            "perf-check",
            "-c",
            instance,
            "--only",
            "DB013",
            "-f",
            "json",
            "--compare-db",
            given,
            "--budget",
            budget,
            cwd=str(tmp_path),
            timeout=120,
        )
        return done, json.loads(done.stdout)[0] if done.stdout else {}

    return call


@pytest.mark.parametrize("server, name", [("postgresql", "PostgreSQL"), ("mariadb", "MariaDB")])
@pytest.mark.alone
def test_another_engine_is_set_beside_this_one(
    compare: Callable[..., Any],
    request: pytest.FixtureRequest,
    server: str,
    name: str,
    tmp_path: Path,
) -> None:
    engine = request.getfixturevalue(server)
    (tmp_path / "url").write_text(engine.url("compared") + "\n")
    done, finding = compare(f"file:{tmp_path}/url", "10")
    assert done.returncode == 0 and name in finding["diagnosis"]
    # On a busy machine, what others used is shown, too.
    finding["evidence"].pop("others_used", None)
    assert set(finding["evidence"]) == {"there", "here_now", "here_wal"}
    assert all(side["write_p99_ms"] > 0 for side in finding["evidence"].values())
    assert engine.password not in done.stdout + done.stderr


@pytest.mark.alone
def test_a_sqlite_file_elsewhere_can_be_compared_and_need_not_exist(
    compare: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    done, finding = compare(f"sqlite:///{tmp_path}/other/none.db", "10")
    assert (
        done.returncode == 0
        and "SQLite" in finding["diagnosis"]
        and not os.listdir(str(tmp_path / "other"))
    )


def test_a_server_that_kallithea_uses_is_never_written_to(
    compare: Callable[..., Any], instance: Path, postgresql: PostgreSQL, edit: Callable[..., None]
) -> None:
    url = postgresql.url("own")
    edit(instance, "sqlite:///%(here)s/kallithea.db?timeout=60", url)
    done, finding = compare(url + "?application_name=other")
    assert (
        done.returncode == 5
        and "Kallithea's own database, which is not written to" in finding["diagnosis"]
    )
    cursor = postgresql.connect("own").cursor()
    cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'kallithea_tune%'")
    assert cursor.fetchone() == (0,)
    done, finding = compare(postgresql.url("beside"))
    assert done.returncode == 0 and set(finding["evidence"]) == {"there"}


@pytest.mark.parametrize(
    "given, message",
    [
        ("env:NOT_SET", "the environment variable NOT_SET is not set"),
        ("file:/none", "/none cannot be read"),
        ("oracle8://me:hidden@localhost/d", "unknown database dialect 'oracle8'"),
        ("no url", "--compare-db is not a database URL"),
        ("sqlite://", "in memory"),
    ],
)
def test_a_comparison_with_no_database_is_wrong_usage(
    compare: Callable[..., Any], given: str, message: str
) -> None:
    done, _ = compare(given)
    (complaint,) = done.stderr.splitlines()
    assert (
        done.returncode == 2
        and message in complaint
        and "hidden" not in complaint
        and not done.stdout
    )


def test_another_engine_that_refuses_is_not_measured_and_why_is_reported(
    compare: Callable[..., Any], postgresql: PostgreSQL
) -> None:
    done, finding = compare(postgresql.url("refused").replace(postgresql.password, "hidden-one"))
    assert done.returncode == 5 and "password authentication failed" in finding["diagnosis"]
    assert "hidden-one" not in done.stdout + done.stderr


def with_url(ini: Path, url: str) -> Path:
    path = ini.with_name("other.ini")
    path.write_text(
        re.sub(r"(?m)^sqlalchemy\.url = .*$", lambda _: "sqlalchemy.url = " + url, ini.read_text())
    )
    return path


@pytest.mark.parametrize(
    "url, message",
    [
        ("", "sqlalchemy.url is empty"),
        ("oracle8://me:hidden-one@localhost/d", "unknown database dialect 'oracle8'"),
        (
            "postgresql+pg8000://me:hidden-one@localhost/d",
            "the driver for sqlalchemy.url is not installed",
        ),
        ("no url", "sqlalchemy.url is not a database URL"),
    ],
)
def test_a_url_of_no_database_is_an_error_of_the_first_check(
    gearbox: Callable[..., Any], pristine: Path, tmp_path: Path, url: str, message: str
) -> None:
    ini = tmp_path / "my.ini"
    ini.write_text((pristine / "my.ini").read_text())
    done = gearbox(
        "perf-check",
        "-c",
        with_url(ini, url),
        "--only",
        "database",
        "-f",
        "json",
        cwd=str(tmp_path),
    )
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert (
        done.returncode == 1
        and rows["DB000"]["severity"] == "error"
        and message in rows["DB000"]["diagnosis"]
    )
    assert "hidden-one" not in done.stdout + done.stderr
    others = {row["severity"] for name, row in rows.items() if name != "DB000"}
    assert others == {"unknown"}


def test_a_server_that_is_down_or_refuses_is_an_error_and_no_wait(
    gearbox: Callable[..., Any],
    pristine: Path,
    tmp_path: Path,
    postgresql: PostgreSQL,
    mariadb: MariaDB,
) -> None:
    down = f"://kallithea:hidden-one@127.0.0.1:{free_port()}/kallithea"
    for url, message in (
        ("postgresql" + down, "Connection refused"),
        ("mysql+pymysql" + down, "Connection refused"),
        (
            postgresql.url("refused").replace(postgresql.password, "hidden-one"),
            "password authentication failed",
        ),
        (mariadb.url("refused").replace(mariadb.password, "hidden-one"), "Access denied"),
        (postgresql.url("refused").replace("/refused", "/none"), 'database "none" does not exist'),
    ):
        ini = tmp_path / "my.ini"
        ini.write_text((pristine / "my.ini").read_text())
        done = gearbox(
            "perf-check",
            "-c",
            with_url(ini, url),
            "--only",
            "DB000",
            "-f",
            "json",
            cwd=str(tmp_path),
        )
        (finding,) = json.loads(done.stdout)
        assert (
            done.returncode == 1
            and finding["severity"] == "error"
            and message in finding["diagnosis"]
        )
        assert "hidden-one" not in done.stdout + done.stderr and "\n" not in finding["diagnosis"]


def test_a_server_that_never_answers_is_given_up(pristine: Path, tmp_path: Path) -> None:
    from environment import BIN

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        running = []
        for driver in ("postgresql", "mysql+pymysql"):
            ini = tmp_path / driver.partition("+")[0] / "my.ini"
            ini.parent.mkdir()
            ini.write_text((pristine / "my.ini").read_text())
            url = f"{driver}://me:secret@127.0.0.1:{silent.getsockname()[1]}/kallithea"
            running.append(
                subprocess.Popen(
                    [
                        str(BIN / "gearbox"),
                        "perf-check",
                        "-c",
                        str(with_url(ini, url)),
                        "--only",
                        "DB00?",
                        "-f",
                        "json",
                    ],
                    cwd=str(tmp_path),
                    stdout=subprocess.PIPE,
                )
            )
        for process in running:
            rows = {row["check"]: row for row in json.loads(process.communicate(timeout=120)[0])}
            assert process.returncode == 1 and rows["DB000"]["severity"] == "error"
            assert re.search("timeout expired|did not answer", rows["DB000"]["diagnosis"])
