"""Whatever the application does, a command ends in time, says why, and leaves no process."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import psutil
import pytest
from environment import BIN
from waiting import until

from kallithea_tune.app import loading, visit
from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import child, interruption, programs
from kallithea_tune.text import shortened

# A Kallithea that is wrapped by what an admin's own egg may do at its start.
WRAPPED = r"""
import ctypes, os, signal, sys, threading, time

def kallithea(global_conf, settings):
    from kallithea.config.application import make_app
    return make_app(global_conf, **settings)

def hangs(global_conf, **settings):
    time.sleep(600)

def computes(global_conf, **settings):
    while True:
        pass

def deaf(global_conf, **settings):
    ctypes.PyDLL(None).sleep(600)

def forks(global_conf, **settings):
    if not os.fork():
        time.sleep(600)
    return kallithea(global_conf, settings)

def daemons(global_conf, **settings):
    if not os.fork():
        os.setsid()
        if not os.fork():
            time.sleep(600)
        os._exit(0)
    os.wait()
    return kallithea(global_conf, settings)

def threads(global_conf, **settings):
    threading.Thread(target=time.sleep, args=(600,), daemon=False).start()
    return kallithea(global_conf, settings)

def exits(global_conf, **settings):
    os._exit(7)

def succeeds(global_conf, **settings):
    os._exit(0)

def killed(global_conf, **settings):
    os.kill(os.getpid(), signal.SIGKILL)

def leaves(global_conf, **settings):
    sys.exit("no luck")

def huge(global_conf, **settings):
    raise RuntimeError("no luck " + "x" * 2000000)

def noisy(global_conf, **settings):
    print('\n{"value": 1}\n', flush=True)
    os.write(1, b'\n{"value": 2}\n' * 100000)
    os.write(2, b"x" * 10000000)
    return kallithea(global_conf, settings)
"""
PROBE = """
import ctypes, os, subprocess, sys, time
from typing import Any

def keeping(path: str, leave: bool) -> int:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with open(path, "w") as file: file.write(str(process.pid))
    if leave: os._exit(3)
    return 7
def orphaning(path: str) -> None:
    pid = os.fork()
    if not pid: time.sleep(600)
    with open(path, "w") as file: file.write(str(pid))
    os._exit(3)
def endless() -> None:
    while True: os.write(2, b"x" * 65536)
def deaf() -> None: ctypes.PyDLL(None).sleep(600)
def much() -> str: return "x" * 300000000
def long() -> None: raise ValueError("no luck " + "x" * 2000000)
def sleep() -> None: time.sleep(600)
def make(path: str) -> None: open(path, "w").close()
"""


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the paths of this process and of its children."""
    directory = tmp_path / "toys"
    (directory / "wrapped.egg-info").mkdir(parents=True)
    (directory / "wrapped.py").write_text(WRAPPED)
    (directory / "limits_probe.py").write_text(PROBE)
    names = [line[4:].partition("(")[0] for line in WRAPPED.splitlines() if line[:4] == "def "]
    entries = "".join(f"{name} = wrapped:{name}\n" for name in names)
    (directory / "wrapped.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 1.0\nName: wrapped\nVersion: 1.0\n"
    )
    (directory / "wrapped.egg-info" / "entry_points.txt").write_text(
        f"[paste.app_factory]\n{entries}"
    )
    monkeypatch.syspath_prepend(str(directory))
    path = [str(directory), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    yield directory


@pytest.fixture
def wrapped(
    instance: Path, edit: Callable[[Path, str, str], None], toys: Path
) -> Callable[[str], Path]:
    """Return the ini file of an instance whose application is wrapped in a function of WRAPPED."""

    def configured(name: str) -> Path:
        edit(instance, "use = egg:kallithea\n", f"use = egg:wrapped#{name}\n")
        return instance

    return configured


def left_over(directory: Path) -> list[str]:
    """The processes that have `directory` in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = str(directory) in process.environ().get("PYTHONPATH", "")
            if mine and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def checked(ini: Path, *words: str, seconds: float) -> Any:
    """Run perf-check; a TimeoutExpired when it takes longer."""
    command = [str(BIN / "gearbox"), "perf-check", "-c", str(ini), "-f", "json", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
    return json.loads(done.stdout.decode("utf-8"))


@pytest.mark.alone
def test_a_budget_is_kept(wrapped: Callable[[str], Path], toys: Path) -> None:
    # The wall is at 23 s; the rest is for a busy machine.
    findings = checked(wrapped("hangs"), "--budget", "20", seconds=90)
    errors = [item for item in findings if item["severity"] == "error"]
    assert [item["check"] for item in errors] == ["WEB008"]
    assert "still loading after" in errors[0]["diagnosis"] and "in hangs" in str(errors)
    until(lambda: left_over(toys) == [])


@pytest.mark.parametrize(
    "name, reason",
    [
        ("exits", "its process ended with status 7"),
        ("succeeds", "its process ended with status 0"),
        ("killed", "its process was ended by SIGKILL"),
        ("leaves", "it calls sys.exit: no luck"),
        ("huge", "RuntimeError: no luck ... (2,000,001 more characters)"),
    ],
)
def test_an_application_that_does_not_start_is_one_error(
    name: str, reason: str, wrapped: Callable[[str], Path]
) -> None:
    findings = checked(wrapped(name), "--only", "serving", "--budget", "60", seconds=100)
    assert [
        (item["check"], item["diagnosis"]) for item in findings if item["severity"] == "error"
    ] == [("WEB008", f"the application does not start: {reason}")]
    others = [item for item in findings if "WEB008" in item["diagnosis"]]
    assert others and all(
        (item["severity"], item["diagnosis"])
        == ("unknown", "not measured: the application does not start, see WEB008")
        for item in others
    )


@pytest.mark.parametrize("name", ["noisy", "forks", "daemons", "threads"])
def test_an_application_that_starts_is_visited_whatever_it_leaves_behind(
    name: str, wrapped: Callable[[str], Path], toys: Path
) -> None:
    seen = visit.visit(load(str(wrapped(name))), [visit.Request("/")], 60)
    assert seen.answers[0].status == 200
    until(lambda: left_over(toys) == [])


def test_an_application_that_hangs_is_waited_for_once(wrapped: Callable[[str], Path]) -> None:
    from kallithea_tune.perf_check.application import visited
    from kallithea_tune.perf_check.measurement import Context, Deadline

    context = Context(load(str(wrapped("exits"))), Deadline(60))
    with pytest.raises(DoesNotLoad):
        visited(context, [visit.Request("/")], 30)
    # A second child would have no time at all.
    with child.wall(0), pytest.raises(DoesNotLoad):
        visited(context, [visit.Request("/")], 30)


@pytest.mark.parametrize("name, place", [("hangs", "in hangs ("), ("deaf", "in C code")])
@pytest.mark.once
def test_an_application_that_waits_for_something_does_not_start(
    name: str, place: str, wrapped: Callable[[str], Path]
) -> None:
    with child.wall(30), pytest.raises(DoesNotLoad) as raised:
        visit.visit(load(str(wrapped(name))), [visit.Request("/")], 60)
    assert re.match(r"it was still loading after [\d.]+ s, ", raised.value.reason)
    assert place in raised.value.reason


def test_an_application_that_computes_may_only_need_more_time(
    wrapped: Callable[[str], Path],
) -> None:
    with child.wall(6), pytest.raises(NotMeasured, match="it was not merely waiting") as raised:
        visit.visit(load(str(wrapped("computes"))), [visit.Request("/")], 60)
    assert not isinstance(raised.value, DoesNotLoad)


@pytest.mark.parametrize(
    "seconds, written, fails",
    [
        (15.0, "0.990 0.990 f (x.py, line 1)", True),
        (15.0, "0.300 0.990 f (x.py, line 1)", False),
        (5.0, "0.990 0.990 f (x.py, line 1)", False),
        (5.0, "0.001 0.002 f (x.py, line 1)", True),
    ],
)
def test_a_slow_machine_is_no_error(
    seconds: float, written: str, fails: bool, tmp_path: Path
) -> None:
    (tmp_path / "loading").write_text(written)
    if fails:
        failure = loading.ended(str(tmp_path), seconds, "ended with status 1")
        assert failure and failure.message.endswith("s, in f (x.py, line 1)")
    else:
        with pytest.raises(NotMeasured, match="the machine is busy"):
            loading.ended(str(tmp_path), seconds, "ended with status 1")


@pytest.fixture
def probe(toys: Path) -> Any:
    """The functions of PROBE."""
    return importlib.import_module("limits_probe")


@pytest.mark.parametrize("leave", [False, True])
def test_a_process_that_keeps_the_pipes_holds_nobody(
    leave: bool, probe: Any, tmp_path: Path
) -> None:
    path = str(tmp_path / "pid")
    if leave:
        with pytest.raises(child.Ended, match="ended with status 3"):
            child.call(probe.keeping, 500, path=path, leave=True)
        psutil.Process(int(Path(path).read_text())).kill()
    else:
        assert child.call(probe.keeping, 500, path=path, leave=False) == 7
        pid = int(Path(path).read_text())
        until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


def test_what_a_child_leaves_in_its_group_ends_with_it(probe: Any, toys: Path) -> None:
    path = toys / "pid"
    with pytest.raises(child.Ended, match="ended with status 3"):
        child.call(probe.orphaning, 500, path=str(path))
    until(lambda: path.read_text() and left_over(toys) == [])


@pytest.mark.parametrize("name", ["endless", "deaf"])
def test_a_child_that_hears_nothing_is_ended(name: str, probe: Any, toys: Path) -> None:
    with pytest.raises(child.Ended, match="did not answer within 1 s"):
        child.call(getattr(probe, name), 1)
    until(lambda: left_over(toys) == [])


def test_an_answer_is_limited(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "OUTPUT_BYTES", 1 << 20)
    with pytest.raises(NotMeasured, match="it wrote more than 1 MB"):
        child.call(probe.much, 60)
    with pytest.raises(NotMeasured, match=r"^ValueError: no luck \.\.\. \(2,000,001 more"):
        child.call(probe.long, 60)


def test_no_call_goes_through_the_wall_but_one_that_cleans_up(probe: Any, tmp_path: Path) -> None:
    path = tmp_path / "made"
    with child.wall(2):
        with pytest.raises(child.OutOfTime, match="the time is up"):
            child.call(probe.sleep, 500)
        with pytest.raises(child.OutOfTime, match="no time left"):
            child.call(probe.sleep, 500)
        child.clean_up(probe.make, 60, path=str(path))
    assert child.left() == float("inf") and path.exists()


def test_a_text_is_cut_at_a_blank() -> None:
    assert shortened("short") == "short"
    assert shortened("abc def ghi", 8) == "abc def ... (4 more characters)"
    assert shortened("x" * 20, 8) == "x" * 8 + " ... (12 more characters)"


@pytest.mark.parametrize("program", [False, True])
def test_a_requested_end_ends_children_and_programs(program: bool, probe: Any, toys: Path) -> None:
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt), interruption.interrupted_by_signals():
        timer.start()
        if program:
            programs.run(["sleep", "600"], 500)
        else:
            child.call(probe.sleep, 500)
    until(lambda: left_over(toys) == [])
