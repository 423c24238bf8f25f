"""WEB007 in tables, and with the log and the actions of a real instance."""

from __future__ import annotations

import datetime
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.load.access_log import AccessLog, Agent
from kallithea_tune.perf_check.load.traffic import Actions, actions
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.serving.traffic_checks import judge_actions, judge_log


def log(**agents: int) -> AccessLog:
    counts = {Agent[name]: count for name, count in agents.items()}
    return AccessLog(sum(counts.values()), 0, {}, counts, {"curl/8": 9}, 5, "then", "now")


@pytest.mark.parametrize(
    "seen, severity, diagnosis",
    [
        (log(automated=51, browser=49), Severity.advice, "51 % of the requests are from robots"),
        (log(automated=50, browser=50), Severity.ok, "50 % of the requests"),
        (log(browser=80, client=20), Severity.ok, "0 % of the requests"),
        (log(automated=99), Severity.unknown, "fewer than 100 requests"),
    ],
)
def test_log(seen: AccessLog, severity: Severity, diagnosis: str) -> None:
    finding = judge_log(seen)
    assert finding.severity is severity and diagnosis in finding.diagnosis
    assert finding.evidence["most_frequent"] == ["curl/8: 9"]


@pytest.mark.parametrize(
    "seen, severities",
    [
        (Actions(100, 51, 1), [Severity.advice]),
        (Actions(100, 50, 1), [Severity.ok]),
        (Actions(99, 99, 1), []),
    ],
)
def test_guess(seen: Actions, severities: list[Severity]) -> None:
    findings = list(judge_actions(seen))
    assert [finding.severity for finding in findings] == severities
    assert all("guess" in one.diagnosis and one.confidence == "low" for one in findings)


def test_who_never_sleeps_is_found_in_a_real_table(instance: Path) -> None:
    configured = load(str(instance))
    database = sqlite3.connect(str(instance.parent / "kallithea.db"))
    with database:
        database.execute("DELETE FROM user_logs")
        # The last one is a person who has acted in every hour of the day, but not on one day.
        acts = {
            "192.0.2.1": [(day, hour) for day in range(1, 6) for hour in range(24)],
            "192.0.2.2": [(day, hour) for day in range(1, 6) for hour in range(8, 18)],
            "192.0.2.3": [(hour + 1, hour) for hour in range(24)],
        }
        for address, times in acts.items():
            database.executemany(
                "INSERT INTO user_logs (user_id, username, repository_name, user_ip, action, "
                "action_date) VALUES (1, 'x', 'hg-one', ?, 'pull', ?)",
                [(address, f"2026-01-{day:02} {hour:02}:00:00.000000") for day, hour in times],
            )
    database.close()
    assert actions(configured.database_url) == Actions(194, 120, 1)


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_who_never_sleeps_is_found_in_each_engine(
    engine: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(engine).url("traffic")
    table = sqlalchemy.Table(
        "user_logs",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("user_log_id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("user_id", sqlalchemy.Integer),
        sqlalchemy.Column("user_ip", sqlalchemy.String(255)),
        sqlalchemy.Column("action_date", sqlalchemy.DateTime),
    )
    program = [
        {"user_id": 1, "user_ip": "10.0.0.1", "action_date": datetime.datetime(2026, 1, 2, hour)}
        for hour in range(24)
    ]
    person = [
        {"user_id": 2, "user_ip": "10.0.0.2", "action_date": datetime.datetime(2026, 1, 2, hour)}
        for hour in range(8, 18)
    ]
    connected = sqlalchemy.create_engine(url)
    try:
        with connected.begin() as connection:
            table.create(connection)
            connection.execute(table.insert(), program + person)
        assert actions(url) == Actions(34, 24, 1)
    finally:
        connected.dispose()
