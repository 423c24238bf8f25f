"""Start and pages of the application in tables, and with a real one whose parts break."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Callable, Sequence

import pytest

from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.app.slow_request import Unanswered
from kallithea_tune.app.visit import Answer, Request, visit
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.serving.page_times import Application, NoAnswer, Page, Visits
from kallithea_tune.perf_check.serving.page_times_checks import (
    judge_failure,
    judge_page,
    judge_start,
    page_times,
)

UNSEEN = Page("front page", "/", ())
Edit = Callable[[Path, str, str], None]
Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    "kind, message, remedy",
    [
        ("SystemExit", "The database version does not match the Kallithea version.", "see DB014"),
        ("OperationalError", "(sqlite3.OperationalError) no such table: users", "see DB000"),
        ("ModuleNotFoundError", "No module named 'toy'", "install what is missing with pip"),
        ("DistributionNotFound", "The 'toy' distribution was not found", "pip"),
        ("SystemExit", "", "gearbox --debug serve -c my.ini"),
        ("KeyError", "'toy'", "gearbox --debug serve -c my.ini"),
    ],
)
def test_failures(kind: str, message: str, remedy: str) -> None:
    finding = judge_failure(DoesNotLoad(kind, message), "my.ini")
    assert finding.severity is Severity.error and remedy in finding.remedy
    assert finding.diagnosis.startswith("the application does not start")
    assert message in finding.diagnosis


def test_start() -> None:
    assert judge_start(900.0).severity is Severity.ok
    slow = judge_start(12000.0)
    assert slow.severity is Severity.advice and slow.impact_ms == 12000.0


def answers(
    first: float, *warm: float, sql: float = 1.0, status: int = 200, failed: str = ""
) -> Sequence[Answer]:
    return [
        Answer("/", status, ms=(ms,), sql_ms=sql, statements=30, failed=failed)
        for ms in (first, *warm)
    ]


@pytest.mark.parametrize(
    "got, severity, words",
    [
        (answers(300, 80, 90, 70), Severity.ok, ""),
        # One request that waited for something else does not count.
        (answers(300, 80, 5000, 70), Severity.ok, ""),
        (answers(12000, 80, 90, 70), Severity.advice, "after each start"),
        (answers(1500, 1200, 1300, 1100), Severity.warning, "CAC002"),
        (
            answers(1500, 1200, 1300, 1100, sql=900.0),
            Severity.warning,
            "30 SQL statements: see DB005",
        ),
        (
            answers(50, 40, status=500, failed="KeyError: x"),
            Severity.error,
            "fix the reported error",
        ),
        (answers(50, 40, status=302), Severity.unknown, ""),
        (answers(11000, 11000), Severity.error, "CAC002"),
        # There was time for one only, but it was far too slow.
        (answers(5100), Severity.warning, "CAC002"),
        (answers(5000), Severity.unknown, ""),
        # The first request is the slowest: what it took is an upper limit.
        (answers(50), Severity.ok, ""),
        (answers(1500), Severity.unknown, ""),
    ],
)
def test_pages(got: Sequence[Answer], severity: Severity, words: str) -> None:
    finding = judge_page("front page", got)
    assert finding.severity is severity and words in finding.remedy


def test_an_error_says_what_it_is() -> None:
    finding = judge_page("front page", answers(50, status=500, failed="KeyError: x"))
    assert finding.diagnosis == "the front page is answered with 500: KeyError: x"


def test_the_real_application_answers(instance: Path) -> None:
    findings = {
        item.subject: item
        for item in page_times.findings(Context(load(str(instance)), Deadline(120)))
    }
    assert set(findings) == {"start", "front page", "hg repository", "git repository"}
    page = findings["hg repository"].evidence
    assert page["requests"] == 5 and page["first_ms"] > 0 and 0 < page["sql_ms"] < page["warm_ms"]


def no_database(instance: Path, edit: Edit) -> None:
    (instance.parent / "kallithea.db").unlink()


def empty_database(instance: Path, edit: Edit) -> None:
    (instance.parent / "kallithea.db").write_bytes(b"")


def database_server_down(instance: Path, edit: Edit) -> None:
    edit(
        instance,
        "sqlalchemy.url = sqlite:///%(here)s/kallithea.db?timeout=60",
        "sqlalchemy.url = postgresql://kallithea:hunter22@127.0.0.1:1/kallithea",
    )


def broken_extensions(instance: Path, edit: Edit) -> None:
    (instance.parent / "extensions.py").write_text("import no_such_module\n")


def exits(instance: Path, edit: Edit) -> None:
    (instance.parent / "extensions.py").write_text("import sys\nsys.exit('no licence')\n")


BROKEN = {
    "no database": (no_database, "DB000", ""),
    "empty database": (empty_database, "DB000", ""),
    "database server down": (database_server_down, "DB000", "OperationalError"),
    "import error": (
        broken_extensions,
        "WEB008",
        "ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "sys.exit": (exits, "WEB008", "calls sys.exit: no licence"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_part_is_a_finding_and_the_other_checks_run(
    gearbox: Gearbox, instance: Path, edit: Edit, kind: str
) -> None:
    spoil, check, exception = BROKEN[kind]
    spoil(instance, edit)
    areas = ["--only", "serving", "--only", "database", "--only", "caching", "--only", "logging"]
    result = gearbox(
        "perf-check",
        "-c",
        instance,
        *areas,
        "-f",
        "json",
        "--budget",
        "20",
        cwd=str(instance.parent),
    )
    findings = json.loads(result.stdout)
    assert result.returncode == 1 and result.stderr == "" and "hunter22" not in result.stdout
    errors = {item["check"]: item for item in findings if item["severity"] == "error"}
    assert {check, "WEB008"} <= set(errors), errors
    for item in errors.values():
        assert item["remedy"] and "\n" not in item["diagnosis"]
    assert exception in errors["WEB008"]["diagnosis"]
    ran = {item["check"] for item in findings}
    assert {"WEB001", "WEB002", "WEB003", "WEB005", "CFG001", "CFG003", "CAC001", "CAC002"} <= ran
    assert {
        item["severity"] for item in findings if item["check"] in ("WEB001", "CFG001", "CFG003")
    } == {"ok"}


@pytest.mark.parametrize(
    ("seconds", "shares", "place", "severity", "diagnosis", "remedy"),
    [
        (
            24.4,
            {"git": 0.9, "SQL": 0.1},
            "",
            Severity.error,
            "the front page: no answer in 24.4 s, 90% of it git",
            "see GIT001",
        ),
        (
            5.0,
            {"other code": 1.0},
            "kallithea/x.py, line 7, in wait",
            Severity.error,
            "the front page: no answer in 5 s, 100% of it other code",
            "kallithea/x.py, line 7, in wait",
        ),
        (
            4.9,
            {"git": 1.0},
            "",
            Severity.warning,
            "the front page: no answer in 4.9 s, 100% of it git",
            "see GIT001",
        ),
        (
            2.9,
            {"git": 1.0},
            "",
            Severity.unknown,
            "not measured: when time ran out, the front page had not been answered in 2.9 s",
            "",
        ),
    ],
)
def test_no_answer_is_an_error_when_users_would_have_given_up(
    seconds: float,
    shares: "dict[str, float]",
    place: str,
    severity: Severity,
    diagnosis: str,
    remedy: str,
) -> None:
    late = Unanswered(0, seconds, shares, place)
    visited = Visits(
        "my.ini", Application(900.0, (), UNSEEN, (), {}, (NoAnswer("front page", late),))
    )
    start, found = page_times.judge(visited)
    assert start.subject == "start"
    assert (found.severity, found.diagnosis) == (severity, diagnosis)
    assert remedy in found.remedy


def test_many_repositories_outside_of_groups_are_why_the_front_page_is_slow() -> None:
    slow = Answer("/", 200, ms=(4000.0,), shares={"SQL": 0.7, "templates": 0.3}, statements=6000)
    found = judge_page("front page", [slow, slow], {"repositories": 3000})
    assert found.severity is Severity.warning and "each of the 3,000" in str(found.remedy)
    assert found.evidence["in_SQL_percent"] == 70
    few = judge_page("front page", [slow, slow], {"repositories": 20})
    assert few.remedy == "see DB005 and DB009"


@pytest.mark.once
def test_groups_make_the_front_page_shorter_and_the_page_size_does_not(instance: Path) -> None:
    database = instance.parent / "kallithea.db"
    columns = (
        "repo_state, repo_type, r.user_id, private, statistics, downloads, description, "
        "created_on, updated_on, landing_revision"
    )
    change(
        database,
        f"INSERT INTO repositories (repo_name, {columns.replace('r.', '')}) "
        f"SELECT 'many-' || user_log_id, {columns} FROM repositories r, "
        "(SELECT user_log_id FROM user_logs LIMIT 40) WHERE repo_name = 'hg-one'",
    )
    change(
        database,
        "INSERT INTO repo_to_perm (user_id, permission_id, repository_id) "
        "SELECT u.user_id, permission_id, repo_id FROM users u, permissions, repositories "
        "WHERE username = 'default' AND permission_name = 'repository.read' "
        "AND repo_name LIKE 'many-%'",
    )
    change(
        database,
        "INSERT INTO groups (group_name, group_description, user_id, created_on) "
        "SELECT 'group', '', user_id, created_on FROM users LIMIT 1",
    )
    many = statements(instance)
    change(
        database,
        "UPDATE settings SET app_settings_value = '5' WHERE app_settings_name = 'dashboard_items'",
    )
    assert statements(instance) == many > 40
    change(
        database,
        "UPDATE repositories SET group_id = (SELECT MIN(group_id) FROM groups), "
        "repo_name = 'group/' || repo_name WHERE repo_name LIKE 'many-%'",
    )
    assert statements(instance) < many - 40


def change(database: Path, statement: str) -> None:
    with sqlite3.connect(str(database)) as connection:
        assert connection.execute(statement).rowcount
    connection.close()


def statements(ini: Path) -> int:
    return visit(load(str(ini)), [Request("/")], 30, rounds=2).answers[0].statements
