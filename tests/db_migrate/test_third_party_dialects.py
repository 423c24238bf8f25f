"""An engine is added from outside: one module, registered in an entry-point group."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

# SQLite under another name, so that neither SQLAlchemy nor this package has heard of it before.
# Each part prints its name where it is used.
MODULE = """
from dataclasses import replace

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from kallithea_tune.db_migrate.engines import base
from kallithea_tune.db_migrate.engines.sqlite import fingerprint_sql, violation_sql

registry.register("toy", "toy_engine", "Toy")


class Toy(SQLiteDialect_pysqlite):
    name = "toy"


class Reader(base.Reader):
    def data_bytes(self, table):
        print("toy: reading")
        return 4711


class Writer(base.Writer):
    constraints_later = False

    def risk(self, column):
        return "a toy keeps nothing for long"

    def begin_load(self):
        print("toy: writing")


class ColumnLimits(base.ColumnLimits):
    def of(self, column):
        limits = super().of(column)
        return replace(limits, characters=3) if str(column) == "user_logs.username" else limits


class ViolationSql(violation_sql.ViolationSql):
    def prepare(self):
        super().prepare()
        print("toy: violations")


class FingerprintSql(fingerprint_sql.FingerprintSql):
    def prepare(self):
        print("toy: fingerprints")
        return super().prepare()


class Engine(base.Engine):
    __dialect__ = "toy"
    settings = base.ConnectionSettings(session=(base.Setting("PRAGMA application_id = 4711", ""),))
    reader_class = Reader
    writer_class = Writer
    column_limits_class = ColumnLimits
    violation_sql_class = ViolationSql
    fingerprint_sql_class = FingerprintSql
"""
# The application itself is not started: Kallithea would have to know the engine, too.
MIGRATE = """
import sys
from kallithea_tune.config import instance
from kallithea_tune.db_migrate import Migration, Options
from kallithea_tune.db_migrate.preflight.report import lines

options = Options(fixes=["too-long=truncate"])
with Migration(instance.load(sys.argv[1]), sys.argv[2], options) as migration:
    migration.check()
    result = migration.run()
    print({column.loses for table in migration.plan.tables for column in table.columns})
    for line in lines(result.violations, result.unchecked):
        print(line)
    assert result.differences == [] and len(result.verified) == 29
"""
EXAMINE = """
import sys
from kallithea.model import db, meta
from kallithea_tune.db_migrate import connect
from kallithea_tune.db_migrate.engines import engine_for
from kallithea_tune.db_migrate.preflight.preflight import Preflight
from kallithea_tune.db_migrate.preflight.report import lines

engine = engine_for(connect.source_engine(sys.argv[1]).connect())
tables = [db.UserLog.__table__]
assert engine.reader.data_bytes(tables[0]) == 4711
result = Preflight(engine, engine, tables, tables).run({})
for line in lines(result.violations, result.unchecked):
    print(line)
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Run a script where the toy is a distribution that is found like any that pip installs."""
    site = tmp_path / "site"
    about = site / "toy_engine-1.dist-info"
    about.mkdir(parents=True)
    (site / "toy_engine.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-engine\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[kallithea_tune.dialects]\ntoy = toy_engine\n\n"
        "[sqlalchemy.dialects]\ntoy = toy_engine:Toy\n"
    )
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))

    def call(script: str, *args: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, args)],
            env=dict(os.environ, PYTHONPATH=path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_one_module_makes_an_engine_a_target_and_a_source(
    run: Callable[..., str],
    instance: Path,
    read: Callable[[str], dict[str, list[object]]],
    tmp_path: Path,
) -> None:
    moved = tmp_path / "toy.db"
    sqlite3.connect(str(moved)).close()
    url = f"toy:///{moved}?check_same_thread=false"
    printed = run(MIGRATE, instance, url)
    for part in ("toy: writing", "toy: fingerprints", "a toy keeps nothing for long"):
        assert part in printed
    # The limits of its columns apply, and its session was prepared.
    assert "user_logs.username: over 3 characters" in printed
    names = sqlite3.connect(str(moved)).execute("SELECT username FROM user_logs").fetchall()
    assert names and max(len(name) for (name,) in names) == 3
    assert sqlite3.connect(str(moved)).execute("PRAGMA application_id").fetchone() == (4711,)
    # Everything else is as it was.
    before = read("sqlite:///{}".format(instance.parent / "kallithea.db"))
    after = read(f"sqlite:///{moved}")
    assert len(after.pop("user_logs")) == len(before.pop("user_logs"))
    assert after == before
    connection = sqlite3.connect(str(moved))
    connection.execute("UPDATE user_logs SET username = 'longer' WHERE user_log_id = 2")
    connection.commit()
    connection.close()
    printed = run(EXAMINE, url)
    assert "toy: reading" in printed and "toy: violations" in printed
    assert "user_logs.username: over 3 characters in 1 row (key 2)" in printed
