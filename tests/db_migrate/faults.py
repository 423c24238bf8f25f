"""Shared by tests of failing migrations: the state of the target, and events in the middle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import sqlalchemy

from kallithea_tune.config import instance as instances
from kallithea_tune.db_migrate import Migration, MigrationResult, journal
from kallithea_tune.db_migrate.journal import TargetState


def source(ini: Path) -> Path:
    return ini.parent / "kallithea.db"


def target_state(url: str) -> tuple[TargetState, bool]:
    """The state of the target, and whether it has a revision, with which Kallithea would start."""
    if url.startswith("sqlite") and not os.path.exists(url[len("sqlite:///") :]):
        return TargetState.EMPTY, False
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        stamped = "alembic_version" in tables and bool(
            connection.execute(sqlalchemy.text("SELECT count(*) FROM alembic_version")).scalar()
        )
        state = journal.state(journal.read(connection), len(tables))
    engine.dispose()
    return state, stamped


def moved(ini: Path, url: str) -> MigrationResult:
    with Migration(instances.load(str(ini)), url) as migration:
        migration.check()
        return migration.run()


def clear(url: str) -> None:
    if url.startswith("sqlite"):
        os.unlink(url[len("sqlite:///") :])
        return
    engine = sqlalchemy.create_engine(url)
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine)
    metadata.drop_all(engine)
    engine.dispose()


class At:
    """Progress that does something, once, when a step or a table is reached."""

    def __init__(self, what: str, act: Callable[[], None]) -> None:
        self._what, self._act, self._step, self.done = what, act, "", False

    def begin(self, step: str, total: int) -> None:
        self._step = step
        self._check(step)

    def advance(self, count: int, table: str = "", table_rows: int = 0) -> None:
        self._check(f"{self._step} {table}")

    def _check(self, what: str) -> None:
        if what == self._what and not self.done:
            self.done = True
            self._act()

    def end(self) -> None:
        pass
