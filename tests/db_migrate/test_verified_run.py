from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, MigrationResult
from kallithea_tune.db_migrate.initial_copy import InitialCopy
from kallithea_tune.errors import TuneError


def moved(ini: Path, url: str) -> MigrationResult:
    with Migration(instances.load(str(ini)), url) as migration:
        migration.check()
        return migration.run()


def test_every_column_is_verified(postgresql: Any, instance: Path, migrate: Any) -> None:
    done = migrate(instance, postgresql.url("whole"), "-f", "json")
    assert done.returncode == 0, done.stderr
    verified = json.loads(done.stdout)["verified"]
    assert len(verified) == 29
    (logs,) = [item for item in verified if item["table"] == "user_logs"]
    assert logs["rows"][0] == logs["rows"][1] >= 500
    assert all(one == two for item in verified for one, two in item["checksums"].values())


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            "UPDATE user_logs SET user_ip = '127.0.0.2' WHERE user_log_id = 321",
            "user_logs.user_ip differs in 1 row: at key 321",
        ),
        (
            "DELETE FROM user_logs WHERE user_log_id = 322",
            "user_logs: 1 row missing from the target (key 322)",
        ),
    ],
)
def test_an_incomplete_copy_is_rolled_back(
    postgresql: Any, instance: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, message: str
) -> None:
    import sqlalchemy

    add_keys = InitialCopy.add_keys

    def spoiled(copy: InitialCopy, restarts: Any) -> None:
        add_keys(copy, restarts)
        copy._connection.execute(sqlalchemy.text(spoil))

    monkeypatch.setattr(InitialCopy, "add_keys", spoiled)
    url = postgresql.url("spoiled")
    with pytest.raises(TuneError, match="rolled back") as raised:
        moved(instance, url)
    assert message in str(raised.value) and raised.value.exit_status == 4
    cursor = postgresql.connect("spoiled").cursor()
    cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert cursor.fetchone() == (0,)


def test_verify_alone_reports_what_differs(postgresql: Any, instance: Path, migrate: Any) -> None:
    url = postgresql.url("alone")
    assert migrate(instance, url, "--verify").returncode == 3
    assert migrate(instance, url).returncode == 0
    same = migrate(instance, url, "--verify")
    assert (same.returncode, "no differences" in same.stdout) == (0, True), same.stderr
    postgresql.connect("alone").cursor().execute(
        "UPDATE user_logs SET action = 'x' WHERE user_log_id IN (7, 8)"
    )
    differing = migrate(instance, url, "--verify")
    assert differing.returncode == 1
    assert "user_logs.action differs in 2 rows: at key 7" in differing.stdout
