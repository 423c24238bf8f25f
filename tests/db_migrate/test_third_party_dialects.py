"""An engine is added from outside: one module, named in an entry-point group."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# SQLite under another name, so that neither SQLAlchemy nor this package has heard of it before.
MODULE = '''
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from kallithea_tune.db_migrate.engines import Dialect

registry.register("toy", "toy_engine", "Toy")


class Toy(SQLiteDialect_pysqlite):
    name = "toy"


class ToyDialect(Dialect):
    """What this engine does in its own way: it says so where everybody sees it."""

    __dialect__ = "toy"
    constraints_later = False

    def risk(self, column):
        return "a toy holds nothing for long"

    def begin_load(self, connection):
        print("toy: begin_load")
'''


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A distribution that is found like any that pip installs."""
    site = tmp_path / "site"
    about = site / "toy_engine-1.dist-info"
    about.mkdir(parents=True)
    (site / "toy_engine.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-engine\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[kallithea_tune.dialects]\ntoy = toy_engine\n\n[sqlalchemy.dialects]\ntoy = toy_engine:Toy\n"
    )
    return site


def test_one_module_makes_an_engine_a_target(
    toy: Path, instance: Path, read: Any, tmp_path: Path
) -> None:
    path = os.pathsep.join(filter(None, [str(toy), os.environ.get("PYTHONPATH", "")]))
    script = tmp_path / "move.py"
    # The application itself is not asked: Kallithea would have to know the engine, too.
    script.write_text(
        "import sys\nfrom kallithea_tune import instance\nfrom kallithea_tune.db_migrate import Migration\n"
        "with Migration(instance.load(sys.argv[1]), sys.argv[2]) as migration:\n"
        "    migration.check()\n    report = migration.run()\n"
        "    print({column.loses for table in migration.plan.tables for column in table.columns})\n"
        "    assert report.differences == [] and len(report.verified) == 29\n"
    )
    made = tmp_path / "toy.db"
    sqlite3.connect(str(made)).close()
    done = subprocess.run(
        [sys.executable, str(script), str(instance), f"toy:///{made}?check_same_thread=false"],
        env=dict(os.environ, PYTHONPATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stderr
    assert "toy: begin_load" in done.stdout and "a toy holds nothing for long" in done.stdout
    assert read(f"sqlite:///{made}") == read(
        "sqlite:///{}".format(instance.parent / "kallithea.db")
    )
