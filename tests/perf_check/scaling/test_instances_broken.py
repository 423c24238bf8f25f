"""What users see of two real instances that differ in one setting, and what is found."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import urllib.error
from pathlib import Path
from typing import Iterator

import pytest
from environment import BIN
from servers.application import Kallithea
from servers.pair import second, seen, served, url
from servers.visitor import Visitor

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check import several
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.results import Results
from kallithea_tune.perf_check.scaling import instances_checks

pytestmark = pytest.mark.once

CHECKS = [
    instances_checks.database,
    instances_checks.sessions,
    instances_checks.directories,
    instances_checks.broker,
    instances_checks.uuid,
    instances_checks.programs,
    instances_checks.addresses,
    instances_checks.versions,
    instances_checks.jobs,
    instances_checks.one_machine,
]


@pytest.fixture(scope="module")
def first(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kallithea]:
    """A running instance, beside whose ini file the others lie."""
    directory = tmp_path_factory.mktemp("instances") / "instance"
    shutil.copytree(str(pristine), str(directory), symlinks=True)
    with served(directory / "my.ini") as server:
        yield server


def compared(*servers: Kallithea) -> Results:
    together = several.with_one_redactor([load(str(server.ini)) for server in servers])
    return several.run(together, CHECKS, 20)


def found(first: Kallithea, other: Kallithea) -> dict[str, Finding]:
    """Return the findings at the second instance by setting; the first has none."""
    alone, beside = compared(first, other).runs
    assert {item.severity for item in alone.run.findings} == {Severity.ok}
    return {item.subject: item for item in beside.run.findings if item.severity is not Severity.ok}


def test_users_stay_logged_in_and_forms_are_accepted_where_nothing_differs(
    first: Kallithea,
) -> None:
    with second(first) as other:
        assert seen(first, other) == "BABA"
        assert form(first, other) == "/"
        assert found(first, other) == {}


def form(first: Kallithea, other: Kallithea) -> str:
    """Send the form of the log-in of the first instance to the other one, as a load balancer may;
    return the path that it led to, or the status of the error.
    """
    visitor = Visitor(url(first))
    get = visitor.get

    def before_the_other(path: str) -> str:
        visitor.url = url(first)
        page = get(path)
        visitor.url = url(other)
        return page

    visitor.get = before_the_other  # type: ignore[method-assign]
    try:
        came = visitor.post("/_admin/login", username="admin", password="demo-password")
    except urllib.error.HTTPError as error:
        return str(error.code)
    return came[len(url(other)) :]


def test_another_secret_logs_users_out_everywhere_and_refuses_forms(first: Kallithea) -> None:
    with second(first, session__secret="another-secret") as other:
        assert seen(first, other) == "baba"
        assert form(first, other) == "403"
        broken = found(first, other)
    assert set(broken) == {"session.secret"}
    assert broken["session.secret"].severity is Severity.error
    assert "another-secret" not in str(broken) and "d8d639" not in str(broken)


@pytest.mark.parametrize(
    "setting, value", [("session__key", "other"), ("session__data_dir", "%(here)s/elsewhere")]
)
def test_another_cookie_or_store_logs_users_in_at_one_only(
    first: Kallithea, setting: str, value: str
) -> None:
    with second(first, **{setting: value}) as other:
        assert seen(first, other) == "bAbA"
        assert set(found(first, other)) == {setting.replace("__", ".")}


def test_a_session_is_somebody_elses_in_another_database(first: Kallithea) -> None:
    database = first.ini.with_name("second.db")
    shutil.copy(str(first.ini.with_name("kallithea.db")), str(database))
    with contextlib.closing(sqlite3.connect(str(database))) as connection:
        connection.execute("UPDATE users SET username = 'stranger' WHERE username = 'admin'")
        connection.commit()
    with second(first, sqlalchemy__url=f"sqlite:///{database}") as other:
        visitor = Visitor(url(first))
        visitor.log_in()
        assert "stranger" not in visitor.get("/")
        visitor.url = url(other)
        page = visitor.get("/")
        assert "stranger" in page and "/_admin/logout" in page
        assert set(found(first, other)) == {"sqlalchemy.url"}


def test_a_second_server_at_the_same_address_does_not_start(first: Kallithea) -> None:
    ini = first.ini.with_name("third.ini")
    ini.write_text(first.ini.read_text())
    ended = subprocess.run(
        [str(BIN / "gearbox"), "serve", "-c", str(ini)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    assert ended.returncode and b"Address already in use" in ended.stdout
    alone, beside = several.run([load(str(first.ini)), load(str(ini))], CHECKS, 20).runs
    (clash,) = [item for item in beside.run.findings if item.severity > Severity.unknown]
    assert (clash.check, clash.subject) == ("SCA007", "address")


def test_sqlite_is_for_one_machine(first: Kallithea) -> None:
    ini = first.ini.with_name("elsewhere.ini")
    # An address for documentation (RFC 5737), which no machine has.
    ini.write_text(first.ini.read_text().replace("host = 127.0.0.1", "host = 192.0.2.7"))
    check = [instances_checks.one_machine]
    for run in several.run([load(str(first.ini)), load(str(ini))], check, 20).runs:
        (shared,) = run.run.findings
        assert shared.severity is Severity.error
        assert shared.evidence["machines"] == ["192.0.2.7", "this machine"]
