"""Root puts a load on an instance of another user as that user."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from owned import NOBODY, Owned

LOAD = """
import json, os, sys
import psutil
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.load import run
from kallithea_tune.perf_check.load.mix import mix_of
seen = set()
def progress(title, done, total):
    # A child has root as its real user until its first code runs.
    if not title.endswith("starting"):
        seen.update(child.uids().real for child in psutil.Process().children())
plan = run.Plan(mix_of({"hg": "hg-one", "git": "git-one"}), (1,), 1, 2.0)
curve = run.measure(load(sys.argv[1]), plan, progress)
print(json.dumps([sorted(seen), curve.levels[0].errors, os.geteuid()]))
"""


@pytest.mark.once
def test_servers_and_clients_run_as_the_owner_of_the_data(owned: Owned) -> None:
    owned.give_to(NOBODY, NOBODY)
    done = owned.as_root(sys.executable, "-c", LOAD, owned.ini)
    assert done.returncode == 0, done.stderr
    users, errors, own = json.loads(done.stdout)
    assert (users, errors, own) == ([NOBODY], 0, 0)
    rest = ["find", str(owned.directory), "!", "-user", str(NOBODY), "-o", "-name", ".kallithea-*"]
    assert subprocess.check_output(rest, universal_newlines=True) == ""


LOOKS = """
import json, os, sys
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.load import curves, databases
seen = []
def noted(function):
    return lambda *words: seen.append(os.geteuid()) or function(*words)
databases._repositories = noted(databases._repositories)
curves.mix_of_instance = noted(curves.mix_of_instance)
instance = load(sys.argv[1])
databases._require_same(instance, instance)
curves.mix_of(instance, None)
print(json.dumps([seen, os.geteuid()]))
"""


@pytest.mark.once
def test_the_databases_are_read_as_the_owner_of_the_data(owned: Owned) -> None:
    owned.give_to(NOBODY, NOBODY)
    done = owned.as_root(sys.executable, "-c", LOOKS, owned.ini)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[NOBODY] * 3, 0]
