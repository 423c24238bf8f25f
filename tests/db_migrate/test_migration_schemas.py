"""What db-migrate writes for machines is what docs/schemas describes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from schemas import fits

DIRT = """
UPDATE user_logs SET action_date = 'yesterday' WHERE user_log_id = 5;
UPDATE user_logs SET repository_id = 4711 WHERE user_log_id = 6;
"""


def change(instance: Path, script: str) -> None:
    connection = sqlite3.connect(str(instance.parent / "kallithea.db"))
    connection.executescript(script)
    connection.close()


def test_the_steps_of_a_migration(migrate: Any, instance: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/target.db"
    change(instance, DIRT)
    planned = fits(migrate(instance, url, "--dry-run", "-f", "json").stdout, "db-migrate-plan")
    assert {found["rule"] for found in planned["findings"]} == {"dates", "orphans"}
    fixes = ["--fix", "dates=epoch", "--fix", "orphans=null", "-f", "json"]
    copied = fits(migrate(instance, url, *fixes).stdout, "db-migrate-result")
    assert copied["mended"] and copied["quarantine"]
    change(instance, "UPDATE users SET lastname = 'Smith' WHERE user_id = 4")
    verified = fits(migrate(instance, url, "--verify", *fixes).stdout, "db-migrate-result")
    assert [found["column"] for table in verified["verified"] for found in table["differences"]]
    caught_up = fits(migrate(instance, url, "--catch-up", *fixes).stdout, "db-migrate-result")
    assert caught_up["changes"] == [{"table": "users", "new": 0, "changed": 1, "deleted": 0}]
