"""Ctrl-C, SIGTERM and a closed terminal at many moments: status 130, nothing left behind, nobody
left running.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from environment import BIN
from waiting import until

MOMENTS = (0.6, 1.0, 1.4, 1.9, 2.4, 3.0, 3.7, 4.5, 5.5, 6.5)


@pytest.mark.parametrize("shift", [0.0, 0.25])
@pytest.mark.alone
def test_a_signal_ends_the_command_and_leaves_nothing(instance, environment, tmp_path, shift):
    before = _tree(instance.parent)
    running = []
    for number, moment in enumerate(MOMENTS):
        process = subprocess.Popen(
            [str(BIN / "gearbox"), "perf-check", "-c", str(instance), "--budget", "15"],
            cwd=str(tmp_path),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        running.append(
            (moment + shift, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[number % 3], process)
        )
    started, families, last = time.monotonic(), [], running[-1][2]
    for moment, number, process in running:
        time.sleep(max(0.0, started + moment - time.monotonic()))
        if process is last:
            # How many come to the command by their moment depends on the machine's load; one does
            # for certain.
            until(psutil.Process(last.pid).children)
        families += (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        process.send_signal(number)
    told = [
        (process.communicate(timeout=300), process.returncode, number)
        for _, number, process in running
    ]
    for (_, said), status, number in told:
        # A process that had not come to the command yet dies of the signal, as the shell's 130 and
        # 143 say. A Ctrl-C so early that the interpreter is not ready either is the interpreter's
        # own error.
        assert status in (130, -number) or "Failed to import the site module" in said, said
        if status == 130:
            assert said == "gearbox perf-check: interrupted\n"
    assert any(status == 130 for _, status, _ in told)
    _, alive = psutil.wait_procs(families, timeout=60)
    assert not alive
    assert _tree(instance.parent) == before


SCRATCHING = """
import sys
from kallithea_tune.cli.base import TuneCommand
from kallithea_tune.system.scratch import scratch

class Command(TuneCommand):
    app_args = cmd_name = "toy"

    def act(self, args):
        print("ready", flush=True)
        while True:
            with scratch(sys.argv[1]) as one, scratch(one) as other:
                open(other + "/file", "w").close()

Command().run(None)
"""


@pytest.mark.alone
def test_a_signal_while_scratch_is_made_or_removed(environment, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    for number in range(30):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRATCHING, str(place)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout and process.stdout.readline() == b"ready\n"
        time.sleep(0.0007 * number)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 130
        process.communicate()
        assert os.listdir(str(place)) == []


@pytest.mark.alone
def test_nohup_keeps_the_command_running(toys, environment, tmp_path):
    process = subprocess.Popen(
        ["nohup", str(BIN / "gearbox"), "perf-check", "-c", str(toys()), "--only", "TOY003"],
        cwd=str(tmp_path),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    # Until it is gearbox itself it could not ignore anything, and in between it has no command line
    # at all; a toy is at work for two seconds.
    until(lambda: psutil.Process(process.pid).cmdline()[:1] not in ([], ["nohup"]))
    time.sleep(1.2)
    process.send_signal(signal.SIGHUP)
    assert (
        process.communicate(timeout=300)[1] in (b"", b"nohup: ignoring input\n")
        and process.returncode == 0
    )


@pytest.mark.alone
def test_children_die_with_a_command_that_is_killed(instance, environment, tmp_path):
    process = subprocess.Popen(
        [str(BIN / "gearbox"), "perf-check", "-c", str(instance), "--only", "CAC002"],
        cwd=str(tmp_path),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    family = []
    while not family and process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert family and not psutil.wait_procs(family, timeout=60)[1]
    # Nothing can tidy up after SIGKILL; what stays is one directory with a name that says whose it
    # is.
    for left in set(instance.parent.rglob(".kallithea-tune-*")):
        shutil.rmtree(str(left), ignore_errors=True)


def _tree(root: Path):
    return sorted(str(path) for path in root.rglob("*"))
