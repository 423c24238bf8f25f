"""The database's revision against the application's, also where a real Kallithea does not start."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from carry_out import carry_out

from kallithea_tune.app.package import package_directory
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.database import schema_checks as checks
from kallithea_tune.perf_check.database.facts import DatabaseFacts, TableFacts
from kallithea_tune.perf_check.database.schema import Migrations, read_revisions
from kallithea_tune.perf_check.database.schema_checks import revision
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity

KNOWN = {"c": frozenset("b"), "b": frozenset("a"), "a": frozenset("")}


@pytest.mark.parametrize(
    "current, ignored, severity, remedy",
    [
        (("c",), False, Severity.ok, ""),
        (("a",), False, Severity.error, "alembic -c my.ini upgrade head"),
        (("a",), True, Severity.warning, "upgrade head"),
        (("z",), False, Severity.error, "install the Kallithea that wrote it"),
        (("c", "a"), False, Severity.error, "upgrade head"),
        ((), False, Severity.error, "stamp head"),
        (None, False, Severity.error, "stamp head"),
    ],
)
def test_revisions(
    current: Optional[tuple[str, ...]], ignored: bool, severity: Severity, remedy: str
) -> None:
    facts = DatabaseFacts("SQLite", "3.40.1", tables={"users": TableFacts(1)}, revisions=current)
    (finding,) = revision.judge(Migrations(KNOWN, "my.ini", ignored), facts)
    assert finding.severity is severity and remedy in str(finding.remedy)


def test_the_heads_are_those_that_alembic_finds() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "kallithea:alembic")
    script = ScriptDirectory.from_config(config)
    revisions = read_revisions(package_directory())
    assert Migrations(revisions, "my.ini", False).heads == sorted(script.get_heads())
    assert set(revisions) == {item.revision for item in script.walk_revisions()}


def _set(instance: Path, *statements: str) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement, message",
    [
        (
            "UPDATE alembic_version SET version_num = 'ad357ccd9521'",
            "the database is older than the application",
        ),
        (
            "UPDATE alembic_version SET version_num = 'ffffffffffff'",
            "does not know the database's revision",
        ),
        ("DELETE FROM alembic_version", "the database has no revision"),
        ("DROP TABLE alembic_version", "the database has no revision"),
    ],
)
def test_a_real_database_of_another_version(
    instance: Path, gearbox: Callable[..., Any], statement: str, message: str
) -> None:
    _set(instance, statement)
    result = gearbox(
        "perf-check",
        "-c",
        instance,
        "--only",
        "DB014",
        "--only",
        "WEB00[38]",
        "--only",
        "DB000",
        "-f",
        "json",
        "--budget",
        "60",
        cwd=str(instance.parent),
    )
    found = {item["check"]: item for item in json.loads(result.stdout)}
    assert result.returncode == 1 and found["DB000"]["severity"] == "ok"
    assert found["DB014"]["severity"] == "error" and message in found["DB014"]["diagnosis"]
    # The application agrees, by sys.exit.
    assert found["WEB008"]["severity"] == "error" and "sys.exit" in found["WEB008"]["diagnosis"]
    assert "DB014" in found["WEB008"]["remedy"] and found["WEB003"]["severity"] == "unknown"


def test_a_missing_revision_is_stamped_by_the_remedy(instance: Path) -> None:
    def found() -> Finding:
        (finding,) = checks.revision.findings(Context(load(str(instance)), Deadline(60)))
        return finding

    _set(instance, "DELETE FROM alembic_version")
    assert found().severity is Severity.error
    carry_out(found().remedy, instance)
    assert found().severity is Severity.ok
