"""Where the processes of instances run, as locks that contain a process id depend on it."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Iterator, Mapping, Sequence

from kallithea_tune.config.server_command import program_of, start_of
from kallithea_tune.perf_check.measurement import BY_NOTHING, Context, Examined, measurement
from kallithea_tune.perf_check.servers.processes import path_in
from kallithea_tune.system import child, processes
from kallithea_tune.system.account import as_invoker
from kallithea_tune.system.processes import Process

LOOK_SECONDS = 5.0
COMMAND = "kallithea-cli"
_BOOT = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Host:
    """What a process takes for its machine.

    `name` is that of uname(2), empty where it is not known, `pid_namespace` the inode of
    ``/proc/self/ns/pid``, 0 without one, and `boot` what tells the running kernel from all others.
    """

    name: str
    pid_namespace: int
    boot: str

    @property
    def processes(self) -> tuple[str, int]:
        """What two processes have in common where a process id means the same to both."""
        return self.boot, self.pid_namespace


def pid_files_exclude(one: Host, other: Host) -> bool:
    """Whether each can tell if the process is alive that the other wrote into a file.

    Kallithea's DaemonLock takes a number for dead that no process has here, and removes the file;
    and for alive one that another process has here (kallithea/lib/pidlock.py).
    """
    return one.processes == other.processes


def mercurial_breaks(one: Host, other: Host) -> bool:
    """Whether each takes a lock of the other for one of its own, and breaks it while it is held.

    Mercurial writes ``NAME/NAMESPACE:PID`` into it, and without ``/proc`` ``NAME:PID``. The first
    namespace of a machine has the same inode everywhere (Linux, PROC_PID_INIT_INO), so that only
    the name tells machines apart (mercurial/lock.py, _getlockprefix).
    """
    same = (one.name, one.pid_namespace) == (other.name, other.pid_namespace)
    return same and bool(one.name) and (one.processes != other.processes or not one.pid_namespace)


def own() -> Host:
    """Return where this process runs."""
    return of_process("self")


def of_process(pid: object) -> Host:
    """Return where a process runs. Raises OSError where that may not be looked at."""
    with open(_BOOT, encoding="ascii") as file:
        boot = file.read().strip()
    ours = _namespace("self", "uts") == _namespace(pid, "uts")
    return Host(socket.gethostname() if ours else "", _namespace(pid, "pid"), boot)


def _namespace(pid: object, kind: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


@dataclass(frozen=True)
class Running:
    """A process of an instance: its ini file, its program, and where it runs."""

    ini: str
    program: str
    host: Host


@dataclass(frozen=True)
class Runnings:
    """The processes that were given one of the ini files."""

    found: tuple[Running, ...]

    @property
    def examined(self) -> Examined:
        """All that were found: none where nothing runs."""
        return Examined(len(self.found), len(self.found), "process")


@measurement(seconds=0.5, decided_by=BY_NOTHING)
def running(context: Context) -> Runnings:
    """List the processes that were given the ini files, with their namespaces."""
    instances = context.together or (context.instance,)
    # Only root may look at the namespaces of a process of another user.
    user = os.geteuid()
    with as_invoker():
        inis = [instance.path for instance in instances]
        return child.call(look, LOOK_SECONDS, inis=inis, user=user)


def look(inis: Sequence[str], user: int) -> Runnings:
    """Find the processes of `user` and root that were given one of `inis`; for a child.

    What others write into their command lines is theirs.
    """
    real = {os.path.realpath(ini): ini for ini in inis}
    return Runnings(tuple(_matching(real, frozenset({0, user}))))


def _matching(real: Mapping[str, str], users: frozenset[int]) -> Iterator[Running]:
    for process in processes.running(users):
        program = _program(process.words)
        ini = _given(process, real) if program else ""
        # It may end at any moment.
        with contextlib.suppress(OSError):
            if ini:
                yield Running(ini, program, of_process(process.pid))


def _program(words: Sequence[str]) -> str:
    """Return a program that takes the locks: ``gearbox``, ``kallithea-cli celery-run``; else "".

    What starts it, and has the same words, may be in another namespace.
    """
    if not words:
        return ""
    name, arguments = program_of(words)
    if name == COMMAND:
        return " ".join([name, *arguments[:1]])
    start = start_of(words)
    return start.program if start else ""


def _given(process: Process, real: Mapping[str, str]) -> str:
    """Return the ini file that a process was given, which may be after a ``=``."""
    start = start_of(process.words)
    for word in (*(start.files if start else ()), *process.words[1:]):
        path = path_in(word.partition("=")[2] or word, process.directory)
        if os.path.realpath(path) in real:
            return real[os.path.realpath(path)]
    return ""
