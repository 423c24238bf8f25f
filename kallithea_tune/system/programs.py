"""Starts every interpreter and every program, reads what they write, and ends them in time."""

from __future__ import annotations

import contextlib
import glob
import os
import selectors
import shutil
import signal
import site
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import IO, Callable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import interruption
from kallithea_tune.system.environment import isolated

BOOTSTRAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap.py")
# More output than this is an endless one, not a long history or page.
OUTPUT_BYTES = 256 << 20
ERRORS_KEPT = 64 << 10
# How often to look whether a process has ended that left its pipes open to another.
POLL_S = 0.05


class TooLate(Exception):
    """A process was ended because it took longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it did not answer within {seconds:.3g} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Result:
    """How a program ended: its status, negative for a signal; what it wrote; how long it took."""

    status: int
    output: bytes
    errors: bytes
    ms: float


def run(
    command: Sequence[str],
    seconds: float,
    directory: str = "/",
    variables: Optional[Mapping[str, str]] = None,
) -> Result:
    """Run a program in `directory`, with further environment `variables`, and return its result.

    It is found as `program` finds it, reads nothing, and has `seconds`. Raises OSError where it
    cannot be started, TooLate, NotMeasured where it writes without end, and KeyboardInterrupt when
    the end was requested; it and what it started are killed then.
    """
    found = program(command[0])
    if not found:
        raise FileNotFoundError(2, os.strerror(2), command[0])
    command = [found, *command[1:]]
    if os.getresuid() != (os.geteuid(),) * 3 or os.getresgid() != (os.getegid(),) * 3:
        command = [*_interpreter(), *command]
    with started(command, directory, variables) as running:
        running.read(lambda: False, seconds)
        ms = (time.perf_counter() - running.began) * 1000
    return Result(running.status, bytes(running.output), bytes(running.errors), ms)


def program(*names: str, directories: Sequence[str] = ()) -> Optional[str]:
    """Return the path of the first installed program, from other `directories` than PATH's, too.

    Nothing is found relative to the working directory.
    """
    path = os.pathsep.join([environment()["PATH"], *directories])
    found = (name if os.path.isabs(name) else shutil.which(name, path=path) for name in names)
    return next((item for item in found if item and os.path.isabs(item)), None)


def beside(name: str) -> str:
    """Return the path of a program in the environment of this Python, else only its name."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    return path if os.path.exists(path) else name


def environment() -> dict[str, str]:
    """Return the environment of every process that is started.

    PATH and PYTHONPATH keep their absolute entries only: a relative or an empty one is the working
    directory or lies in it. A user's site, which our interpreters ignore, is added where this
    package itself lies in it. Python's other variables, some of which have it run something, go.
    """
    given = isolated()
    variables = {name: value for name, value in given.items() if not name.startswith("PYTHON")}
    variables["PATH"] = _absolute(given.get("PATH", "")) or os.defpath
    python = [_absolute(given.get("PYTHONPATH", ""))]
    if BOOTSTRAP.startswith(site.getusersitepackages() + os.sep):
        python.append(site.getusersitepackages())
    if any(python):
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, python))
    return variables


def _absolute(path: str) -> str:
    return os.pathsep.join(filter(os.path.isabs, path.split(os.pathsep)))


def _interpreter() -> list[str]:
    # It ignores the variables by which this one may have been given these options.
    bytecode = ["-B"] if sys.flags.dont_write_bytecode else []
    encoding = ["-X", "utf8"] if sys.flags.utf8_mode else []
    return [sys.executable, "-I", *bytecode, *encoding, BOOTSTRAP]


@dataclass
class Running:
    """A process that was started, and what it has written: all output, and the last errors.

    It `began` at that time of the performance counter.
    """

    process: subprocess.Popen[bytes]
    began: float
    output: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)

    @property
    def status(self) -> int:
        """The status that it ended with."""
        return self.process.returncode

    @property
    def ended(self) -> bool:
        """Whether the process itself has ended; it stays a zombie, so that its number stays its."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.process.pid, options) is not None
        except ChildProcessError:
            # Who started us ignores SIGCHLD, so nothing is left of a process that has ended.
            return True

    def read(self, complete: Callable[[], bool], seconds: float) -> None:
        """Read until `complete()`, or the process has ended, whoever else has its pipes.

        Raises TooLate after `seconds`, and NotMeasured after `OUTPUT_BYTES`.
        """
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for stream in filter(None, (self.process.stdout, self.process.stderr)):
                if not stream.closed:
                    selector.register(stream, selectors.EVENT_READ)
            while not complete():
                ended, left = self.ended, end - time.monotonic()
                if left <= 0:
                    raise TooLate(seconds)
                # Having closed its pipes, it is about to end.
                pause = POLL_S if selector.get_map() else POLL_S / 50
                ready = selector.select(0 if ended else min(pause, left))
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    if key.fileobj is self.process.stdout:
                        self.output += data
                    else:
                        self.errors += data
                        del self.errors[:-ERRORS_KEPT]
                    if not data:
                        selector.unregister(key.fileobj)
                if len(self.output) > OUTPUT_BYTES:
                    raise NotMeasured(f"it wrote more than {OUTPUT_BYTES >> 20} MB")
                if ended and not ready:
                    return

    def end(self) -> None:
        """Kill it, and wait until it has ended, so that it has a status."""
        self.kill()
        # A process that hangs in the kernel, on a dead network file system, cannot even be killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)

    def kill(self) -> None:
        """Kill the process, its group, and its descendants in other groups."""
        if self.process.returncode is not None:
            # Its number may be another's by now.
            return
        for pid in [*_descendants(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        # Even when the process itself is gone, it may have left others in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


@contextlib.contextmanager
def started(
    command: Sequence[str],
    directory: str = "/",
    variables: Optional[Mapping[str, str]] = None,
    request: Optional[bytes] = b"",
) -> Iterator[Running]:
    """Start a process in a group of its own, with `request` to read; it is killed at the end.

    With None it reads what is written to its standard input. Also killed when the end of the
    command is requested: raises KeyboardInterrupt then.
    """
    variables = {**environment(), **(variables or {})}
    with contextlib.nullcontext(subprocess.PIPE) if request is None else _held(request) as stdin:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=variables,
            start_new_session=True,
        )
    running = Running(process, began)
    try:
        with interruption.waking(running.kill):
            yield running
    finally:
        running.end()
        for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@contextlib.contextmanager
def _held(request: bytes) -> Iterator[IO[bytes]]:
    """Hold `request` in memory, so that writing it blocks on nobody, and no secret is on a disk."""
    with open(os.memfd_create("request"), "w+b") as stdin:
        stdin.write(request)
        stdin.seek(0)
        yield stdin


def interpreter(
    request: Optional[bytes] = None,
) -> contextlib.AbstractContextManager[Running]:
    """Start an interpreter that answers `request`, see `bootstrap`; as `started`."""
    return started(_interpreter(), request=request)


def _descendants(pid: int) -> Iterator[int]:
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            for child in map(int, file.read().split()):
                yield from _descendants(child)
                yield child
