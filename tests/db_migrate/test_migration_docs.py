"""The documentation of db-migrate matches what the code does."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_the_example_migrates_and_switches(postgresql: Any, instance: Path) -> None:
    url = postgresql.url("example")
    done = subprocess.run(
        [sys.executable, str(DOCS / "examples" / "migrate.py"), str(instance), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"copied [5-9]\d\d rows, 0 differences\nswitched; the old ini file is .*/my.ini.\d",
        done.stdout,
    )
    assert url in instance.read_text()
    again = subprocess.run(
        [
            sys.executable,
            str(DOCS / "examples" / "migrate.py"),
            str(instance),
            "sqlite:////proc/none/x.db",
        ],
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert again.returncode == 1 and again.stderr.endswith("(exit status 2)\n")


@pytest.mark.parametrize("what", ["types", "settings"])
def test_a_page_is_what_its_tool_prints(what: str) -> None:
    tool = f"{what}_table"
    spec = importlib.util.spec_from_file_location(tool, str(ROOT / "tools" / f"{tool}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = f"db-migrate-{what}.rst"
    assert (DOCS / page).read_text(encoding="utf-8") == module.page(), (
        f"run tools/{tool}.py > docs/{page}"
    )


def test_every_option_is_in_the_guide() -> None:
    from kallithea_tune.cli.db_migrate import DbMigrateCommand

    parser = DbMigrateCommand(None, None, "db-migrate").get_parser("gearbox db-migrate")
    guide = (DOCS / "db-migrate.rst").read_text(encoding="utf-8")
    options = {
        word
        for action in parser._actions
        for word in action.option_strings
        if word.startswith("--")
    }
    assert {word for word in options - {"--help", "--config"} if word not in guide} == set()
