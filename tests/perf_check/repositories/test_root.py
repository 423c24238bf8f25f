from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Callable

import pytest

from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.repositories.root import repositories_root


def root_of(ini: Path) -> str:
    return Context(load(str(ini)), Deadline(30)).measure(repositories_root).path


def test_the_directory_is_the_one_in_the_database(instance: Path) -> None:
    assert root_of(instance) == str(instance.parent / "repos")


def test_a_database_without_the_row_says_so(instance: Path) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("DELETE FROM ui WHERE ui_section = 'paths'")
    connection.close()
    with pytest.raises(NotMeasured, match="no row"):
        root_of(instance)


def test_a_missing_database_is_named_and_not_made(
    instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(instance, "kallithea.db", "gone.db")
    with pytest.raises(NotMeasured, match="gone.db does not exist"):
        root_of(instance)
    assert not (instance.parent / "gone.db").exists()
