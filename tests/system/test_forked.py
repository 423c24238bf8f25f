from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Iterator

import pytest

from kallithea_tune.errors import TuneError
from kallithea_tune.system.forked import Forked


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("secret")
        self.lock = threading.Lock()


def children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return list(map(int, file.read().split()))


def numbers(*errors: Exception) -> Iterator[int]:
    yield from range(3)
    for error in errors:
        raise error


def test_what_another_process_yields_arrives_in_its_order() -> None:
    before = children()
    forked = Forked(lambda: iter([os.getpid(), *numbers()]))
    process, *rest = forked
    assert rest == [0, 1, 2] and process in children() and process != os.getpid()
    assert list(forked) == []
    assert not forked.kill() and children() == before


def test_more_than_a_pipe_holds_is_kept_while_nobody_reads() -> None:
    before = children()
    forked = Forked(lambda: iter(["x" * 1000] * 1000))
    (process,) = set(children()) - set(before)
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)
    assert len(list(forked)) == 1000
    forked.kill()


@pytest.mark.parametrize(
    "error, expected",
    [(ValueError("wrong"), "wrong"), (Unpicklable(), "the second process .* Unpicklable$")],
)
def test_what_the_other_process_raises_is_raised_here(error: Exception, expected: str) -> None:
    forked = Forked(lambda: numbers(error))
    assert [next(forked) for _ in range(3)] == [0, 1, 2]
    kind = TuneError if isinstance(error, Unpicklable) else type(error)
    with pytest.raises(kind, match=expected):
        next(forked)
    forked.kill()


def test_a_killed_process_is_one_sentence() -> None:
    def work() -> Iterator[int]:
        yield os.getpid()
        signal.pause()

    forked = Forked(work)
    os.kill(next(forked), signal.SIGKILL)
    with pytest.raises(TuneError, match="^the second process of this command was killed$"):
        next(forked)
    assert forked.kill()


def test_it_does_not_outlive_the_process_that_began_it() -> None:
    script = """
import signal
from kallithea_tune.system.forked import Forked
def work():
    import os
    yield os.getpid()
    signal.pause()
print(next(Forked(work)), flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        process = int(parent.stdout.readline())
        assert os.path.exists(f"/proc/{process}")
        parent.kill()
    give_up = time.monotonic() + 30
    while os.path.exists(f"/proc/{process}") and not is_dead(process):
        assert time.monotonic() < give_up
        time.sleep(0.02)


def is_dead(process: int) -> bool:
    """Whether it only waits for whoever adopted it."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
