"""The load with two databases of a real instance, one after the other in turns."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from kallithea_tune.config.instance import Instance, load
from kallithea_tune.perf_check.load.actions import mix_of_instance
from kallithea_tune.perf_check.load.databases import beside, in_turns, joined
from kallithea_tune.perf_check.load.run import Plan
from kallithea_tune.perf_check.results import Curve, Level


def _silent(title: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def other(instance: Path) -> Instance:
    """The instance with a copy of its database."""
    copy = instance.parent / "copy.db"
    shutil.copy(str(instance.parent / "kallithea.db"), str(copy))
    return load(str(instance)).with_settings({"sqlalchemy.url": f"sqlite:///{copy}"})


@pytest.mark.once
def test_the_other_database_is_the_one_that_is_used(instance: Path, other: Instance) -> None:
    (instance.parent / "data").mkdir(exist_ok=True)
    plan = Plan(mix_of_instance(other), (1,), repeats=1, seconds=0.5)
    # The one of the ini file has no repository, nor anything else.
    (instance.parent / "kallithea.db").write_bytes(b"")
    (curve,) = in_turns([other], plan, _silent)
    (level,) = curve.levels
    assert level.requests_s[0] > 0 and not level.errors


@pytest.mark.once
def test_database_with_other_repositories_is_not_compared(instance: Path, other: Instance) -> None:
    with sqlite3.connect(str(instance.parent / "copy.db")) as database:
        database.execute("UPDATE repositories SET repo_name = 'renamed' WHERE repo_id = 1")
    database.close()
    (curve,) = beside(load(str(instance)), other, _silent)
    assert not curve.levels and "has other repositories" in curve.notes[0]
    assert curve.subject == "processes with --compare-db (sqlite)"


def test_repeats_are_joined_by_level() -> None:
    def curve(*rates: float) -> Curve:
        levels = (Level(n, (rate,), (rate,), 5, 1, 0.2) for n, rate in enumerate(rates, start=1))
        return Curve("x", tuple(levels), notes=("same",))

    found = joined([curve(1.0, 2.0), curve(1.5, 2.5), curve(1.2)])
    assert found.notes == ("same",)
    assert found.levels == (Level(1, (1.0, 1.5, 1.2), (1.0, 1.5, 1.2), 15, 3, pytest.approx(0.2)),)
