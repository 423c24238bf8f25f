"""A probe in a process of its own may hang, exit, print or die."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Callable

import psutil
import pytest
from waiting import until

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import child

MODULE = """
import dataclasses, enum, os, subprocess, sys, threading, time
from typing import Any, Mapping, NamedTuple, Optional
from kallithea_tune.errors import NotMeasured

def echo(**given) -> Any: return given
def refuse() -> None: raise NotMeasured("no permission")
def fail() -> None: raise ValueError("no luck")
def leave() -> None: sys.exit("gone")
def die() -> None: os.kill(os.getpid(), 9)
counted = 0
def count() -> int:
    global counted
    counted += 1
    return counted
def talk() -> int:
    print("to stdout"); os.write(1, b"below it"); subprocess.run(["echo", "from a grandchild"])
    return 7
def hang(path: str) -> None:
    process = subprocess.Popen(["sleep", "600"])
    with open(path, "w") as file: file.write("%d %d" % (os.getpid(), process.pid))
    time.sleep(600)
def linger() -> int:
    threading.Thread(target=time.sleep, args=(600,)).start(); return 7
def arguments() -> str: return open("/proc/self/cmdline").read() + open("/proc/self/environ").read()
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "toy_probe.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join(
            [
                str(tmp_path),
                os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(child.__file__)))),
                os.environ.get("PYTHONPATH", ""),
            ]
        ),
    )


def test_arguments_and_results_travel_as_json():
    given = {"text": "\u00e9\udc80'\"\n", "list": [1, 2.5, None], "dict": {"a": [True]}}
    assert child.call(importlib.import_module("toy_probe").echo, 30, **given) == given
    assert child.call(importlib.import_module("toy_probe").talk, 30) == 7
    assert child.call(importlib.import_module("toy_probe").linger, 30) == 7


def test_arguments_are_not_seen_among_the_processes():
    assert "toy_probe" not in child.call(importlib.import_module("toy_probe").arguments, 30)


@pytest.mark.parametrize(
    "function, message",
    [
        ("refuse", "^no permission$"),
        ("fail", "^ValueError: no luck$"),
        ("leave", "status 1: gone"),
        ("die", "it was ended by SIGKILL"),
    ],
)
def test_a_child_that_fails_says_why(function, message):
    with pytest.raises(NotMeasured, match=message):
        child.call(getattr(importlib.import_module("toy_probe"), function), 30)


def test_a_child_that_hangs_is_ended_with_all_its_own(tmp_path):
    note = tmp_path / "pids"
    with pytest.raises(NotMeasured, match="did not answer within 3 s"):
        child.call(importlib.import_module("toy_probe").hang, 3, path=str(note))
    pids = [int(pid) for pid in note.read_text().split()]
    assert len(pids) == 2
    until(lambda: not any(_alive(pid) for pid in pids))


def _alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _starts_after(seconds: int, directory: Path) -> Callable[[], int]:
    """Write a module that takes so long to import, but not in this process."""
    name = f"starts_after_{seconds}"
    (directory / f"{name}.py").write_text(
        f"import os, time\nif os.getpid() != {os.getpid()}: time.sleep({seconds})\n"
        "def quick() -> int: return 7\n"
    )
    quick: Callable[[], int] = importlib.import_module(name).quick
    return quick


def test_the_time_counts_from_the_start_of_the_function(tmp_path):
    assert child.call(_starts_after(4, tmp_path), 3) == 7


def test_a_child_that_does_not_even_start_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "START_SECONDS", 0.5)
    with pytest.raises(NotMeasured, match="it did not start within 0.5 s"):
        child.call(_starts_after(600, tmp_path), 3)


def test_a_conversation_is_with_one_process_that_remembers():
    toy = importlib.import_module("toy_probe")
    with child.conversation() as conversation:
        # What is begun is not waited for, and may fail.
        conversation.begin(toy.fail)
        conversation.begin(toy.count)
        assert [conversation.call(toy.count, 30) for _ in range(2)] == [2, 3]
        with pytest.raises(NotMeasured, match="^no permission$"):
            conversation.call(toy.refuse, 30)
        assert conversation.call(toy.count, 30) == 4
        with pytest.raises(child.Ended, match="status 1: gone"):
            conversation.call(toy.leave, 30)
        with pytest.raises(child.Ended):
            conversation.call(toy.count, 30)
