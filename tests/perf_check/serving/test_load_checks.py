"""The busiest minute of the log against the processes, in tables and with a real log."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Optional

import pytest

from kallithea_tune.config.instance import load as load_instance
from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Severity
from kallithea_tune.perf_check.servers.served import Served, Servers
from kallithea_tune.perf_check.serving.load_checks import judge_load, load


@pytest.mark.parametrize(
    "acts, pull_ms, processes, severity, remedy",
    [
        (60, 500.0, 1, Severity.ok, ""),
        (60, 800.0, 1, Severity.advice, "set workers = 2"),
        (600, 800.0, 4, Severity.advice, "set workers = 12"),
        (600, 800.0, 12, Severity.ok, ""),
        (600, 800.0, None, Severity.unknown, ""),
    ],
)
def test_load(
    acts: int, pull_ms: float, processes: Optional[int], severity: Severity, remedy: str
) -> None:
    server = Server("gunicorn", "", processes=processes)
    finding = judge_load(Servers((Served(server),), cores=2.0), acts, pull_ms)
    assert finding.severity is severity and remedy in str(finding.remedy)
    assert finding.evidence["busy_processes"] == acts * pull_ms / 60000


def test_the_load_of_a_real_log(instance: Path) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        # A minute that no pull is quick enough for.
        acts = connection.execute(
            "UPDATE user_logs SET action_date = '2026-01-01 12:00:00.000000'"
        ).rowcount
    connection.close()
    (finding,) = load.findings(Context(load_instance(str(instance)), Deadline(120)))
    pull_ms = finding.evidence["pull_ms"]
    assert isinstance(pull_ms, float) and pull_ms > 0
    assert finding.evidence["acts_in_a_minute"] == acts > 100
    busy = acts * pull_ms / 60000
    assert finding.evidence["busy_processes"] == busy
    assert finding.severity is (Severity.advice if busy > 0.7 else Severity.ok)
