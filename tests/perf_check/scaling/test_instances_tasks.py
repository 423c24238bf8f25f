"""Whose workers carry out the tasks of two real instances."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from servers.application import Kallithea
from servers.fleet import Worker
from servers.pair import api, copied, database_of, second

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "setting, value",
    [
        ("celery__task_default_queue", "other"),
        ("celery__broker_url", "other"),
        ("use_celery", "false"),
    ],
)
def test_the_workers_of_one_never_see_the_tasks_of_the_other(
    pristine: Path, rabbitmq: Any, tmp_path: Path, setting: str, value: str
) -> None:
    settings = {"use_celery": "true", "celery__broker_url": rabbitmq.url}
    if setting == "celery__broker_url":
        value = rabbitmq.url + "other"
    with copied(pristine, tmp_path, **settings) as here, second(here, **{setting: value}) as there:
        worker = Worker(here.ini, "worker")
        worker.start()
        try:
            api(there, "fork_repo", repoid="hg-one", fork_name="fork-there")
            at_once = _forks(here)
            api(here, "fork_repo", repoid="hg-one", fork_name="fork-here")
            give_up = time.monotonic() + 60
            while "fork-here" not in _forks(here):
                assert time.monotonic() < give_up
                time.sleep(0.1)
            # The earlier one is not there; without Celery, it was there when its request ended.
            in_request = setting == "use_celery"
            assert ("fork-there" in at_once, "fork-there" in _forks(here)) == (in_request,) * 2
        finally:
            worker.remove()


def _forks(server: Kallithea) -> "set[str]":
    with database_of(server.ini.parent) as database:
        query = "SELECT repo_name FROM repositories WHERE fork_id IS NOT NULL"
        return {name for (name,) in database.execute(query)}
