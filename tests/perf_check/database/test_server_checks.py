"""Whether a database answers, its round trips, and that no check writes to a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from servers import schema

from kallithea_tune.db.engine import create_engine
from kallithea_tune.perf_check.database import server_checks as checks
from kallithea_tune.perf_check.database.facts import DatabaseFacts, SqliteFacts, TableFacts
from kallithea_tune.perf_check.database.server import DatabaseAnswer
from kallithea_tune.perf_check.model import Finding, Severity

OK, ADVICE, ERROR = Severity.ok, Severity.advice, Severity.error


def reachable(facts: Optional[DatabaseFacts], failure: str = "") -> Finding:
    (finding,) = checks.reachable.judge(DatabaseAnswer(facts, failure, "db-create"))
    assert isinstance(finding, Finding)
    return finding


POSTGRESQL = DatabaseFacts("PostgreSQL", "15.3", tables={"user_logs": TableFacts(7, 2_000_000)})
SQLITE = DatabaseFacts(
    "SQLite", "3.40.1", tables={"a": TableFacts(1)}, sqlite=SqliteFacts("delete", 4096, 10, 0)
)


@pytest.mark.parametrize(
    "facts, severity, message",
    [
        (POSTGRESQL, OK, "PostgreSQL 15.3 answers"),
        (SQLITE, OK, "SQLite 3.40.1 answers"),
        (DatabaseFacts("PostgreSQL", "15.3"), ERROR, "the database is empty"),
    ],
)
def test_an_engine_that_answers_is_named_with_its_version(
    facts: DatabaseFacts, severity: Severity, message: str
) -> None:
    finding = reachable(facts)
    assert (finding.severity, finding.diagnosis) == (severity, message)


def test_an_unsupported_engine_is_not_called_empty() -> None:
    assert reachable(DatabaseFacts("mssql", "16", supported=False)).severity is OK


def test_a_database_that_cannot_be_read_is_an_error_with_the_reason() -> None:
    finding = reachable(None, "Connection refused")
    assert finding.severity is ERROR and finding.diagnosis.endswith("read: Connection refused")


@pytest.mark.parametrize(
    "times, severity", [((0.2, 0.3, 50.0), OK), ((1.0,), OK), ((0.1, 1.1, 1.2), ADVICE)]
)
def test_a_median_round_trip_matters_from_1_ms(
    times: tuple[float, ...], severity: Severity
) -> None:
    (finding,) = checks.round_trip.judge(DatabaseFacts("MySQL", "8.0", round_trips_ms=times))
    assert finding.severity is severity


def with_url(ini: Path, url: str) -> Path:
    """Put `url` into the ini file."""
    text, count = re.subn(
        r"(?m)^sqlalchemy\.url = .*$", lambda _: "sqlalchemy.url = " + url, ini.read_text()
    )
    assert count == 1
    ini.write_text(text)
    return ini


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_a_server_is_read_by_all_checks_and_written_to_by_none(
    instance: Path,
    gearbox: Callable[..., Any],
    request: pytest.FixtureRequest,
    server: str,
    tmp_path: Path,
) -> None:
    url = schema.create(request.getfixturevalue(server).url("everything"), 500)
    with_url(instance, url)

    def content() -> object:
        with create_engine(url).connect() as connection:
            names = sorted(connection.dialect.get_table_names(connection))
            return names, connection.execute(
                "SELECT * FROM user_logs ORDER BY user_log_id"
            ).fetchall()

    before = content()
    result = gearbox(
        "perf-check", "-c", instance, "--only", "database", "-f", "json", cwd=str(tmp_path)
    )
    checked = {row["check"]: row for row in json.loads(result.stdout)}
    # The servers of the tests do not wait for the disk.
    assert checked.pop("DB015")["severity"] in ("warning", "error")
    only = {"postgresql": {"DB007"}, "mariadb": {"DB010", "DB016"}}[server]
    every = {"DB000", "DB005", "DB006", "DB008", "DB009", "DB011", "DB014", "DB017", "DB018"}
    assert set(checked) == every | {"DB019"} | only
    assert not [row for row in checked.values() if row["severity"] in ("unknown", "error")]
    assert result.returncode == 1 and content() == before
