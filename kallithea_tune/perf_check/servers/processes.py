"""Looks for the processes that may serve an ini file, and at the files that set them up."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from dataclasses import dataclass, replace
from typing import Mapping, Optional, Sequence

from kallithea_tune.config import mod_wsgi, server_command
from kallithea_tune.config.server_command import Start
from kallithea_tune.system import cgroups, files, mounts
from kallithea_tune.system import processes as system
from kallithea_tune.system.account import Account, acting_as
from kallithea_tune.system.processes import Process, Socket

MAIN_FILES = ("/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf")
# More of them belong to no Kallithea; a file of a server is shorter.
MOST_FILES, MOST_BYTES, DEPTH = 300, 1 << 20, 4


@dataclass(frozen=True)
class Worker:
    """A running process: its threads, its memory in bytes, and its sockets by descriptor.

    `sockets` and `paths` are None where only root may see them.
    """

    process: Process
    threads: int = 1
    resident: int = 0
    virtual: int = 0
    open_files: Optional[int] = None
    sockets: Optional[Mapping[str, Socket]] = None
    paths: Optional[Mapping[str, str]] = None

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def ports(self) -> frozenset[int]:
        """The ports that it listens on."""
        return frozenset(
            found.port for found in (self.sockets or {}).values() if found.listens and found.port
        )


@dataclass(frozen=True)
class Seen:
    """The processes that may serve the ini file, and the texts of the files that set servers up."""

    workers: tuple[Worker, ...]
    texts: Mapping[str, str]
    cores: float


def look(ini: str, account: Optional[Account] = None) -> Seen:
    """Find the processes and files; for a child.

    Only processes of root and of the owner of the data, who is `account` where root looks: what
    others write into their command lines is theirs. Files are read as the owner.
    """
    uid = account.uid if account else os.geteuid()
    found = [process for process in system.running(frozenset({0, uid})) if process.words]
    own = {os.getpid(), os.getppid()}
    texts: dict[str, str] = {}
    kept = []
    with acting_as(account):
        for process in found:
            start = server_command.start_of(process.words)
            if start and process.pid not in own and _concerns(start, process, ini, texts):
                kept.append(process)
        _read_apache(ini, kept, texts)
    workers = tuple(map(_worker, kept))
    return Seen(workers, texts, cores(min((item.pid for item in kept), default=os.getpid())))


def _concerns(start: Start, process: Process, ini: str, texts: dict[str, str]) -> bool:
    """Whether a process may serve the ini file; adds the texts of other files that it was given."""
    if start.program in ("apache", "mod_wsgi") or start.renamed:
        # Its section or its port tells, later.
        return True
    paths = [path_in(name, process.directory) for name in start.files]
    others = {path: _text(path) for path in paths if not _same(path, ini)}
    own = start.program in ("gunicorn", "uwsgi") and any(ini in text for text in others.values())
    if not own and len(others) == len(set(paths)):
        return False
    texts.update(others)
    return True


def path_in(name: str, directory: str) -> str:
    """Return the path in an argument such as ``config:my.ini#main``."""
    path = re.sub(r"^config:", "", name).partition("#")[0]
    return os.path.normpath(os.path.join(directory, path)) if directory else path


def _same(path: str, ini: str) -> bool:
    # Where the directory of a process is unknown, its relative path can only be compared so.
    if not os.path.isabs(path):
        return os.path.basename(path) == os.path.basename(ini)
    return os.path.realpath(path) == os.path.realpath(ini)


def _text(path: str) -> str:
    """Return the text of a file that an admin's command line or configuration names."""
    real = os.path.realpath(path)
    try:
        return files.text(os.path.dirname(real), os.path.basename(real), MOST_BYTES)
    except (OSError, files.Broken, ValueError):
        return ""


def _read_apache(ini: str, processes: Sequence[Process], texts: dict[str, str]) -> None:
    """Add the texts of Apache's files: those beside the ini file, and those of a running one."""
    waiting = [(path, 0) for path in sorted(glob.glob(_beside(ini, "*.conf")))]
    for process in processes:
        start = server_command.start_of(process.words)
        if start and start.program in ("apache", "mod_wsgi"):
            chosen = [path_in(name, process.directory) for name in start.files]
            waiting += [(path, 0) for path in (chosen or MAIN_FILES)]
    while waiting and len(texts) < MOST_FILES:
        path, depth = waiting.pop(0)
        if path in texts:
            continue
        texts[path] = _text(path)
        if depth < DEPTH:
            for pattern in mod_wsgi.includes(texts[path]):
                matching = glob.glob(os.path.join(os.path.dirname(path), pattern))
                waiting += [(name, depth + 1) for name in sorted(matching)[:MOST_FILES]]
        for script in mod_wsgi.scripts(texts[path]):
            texts.setdefault(script, _text(script))


def _beside(ini: str, pattern: str) -> str:
    return os.path.join(glob.escape(os.path.dirname(ini)), pattern)


def _worker(process: Process) -> Worker:
    threads, (resident, virtual) = system.threads(process.pid), system.memory(process.pid)
    worker = Worker(process, threads, resident, virtual, system.open_files_limit(process.pid))
    with contextlib.suppress(OSError):
        held, known = system.descriptors(process.pid), system.sockets(process.pid)
        inodes = {number: system.inode_of(target) for number, target in held.items()}
        return replace(
            worker,
            sockets={
                str(number): known[inode]
                for number, inode in inodes.items()
                if inode is not None and inode in known
            },
            paths={str(number): path for number, path in held.items() if path.startswith("/")},
        )
    return worker


def cores(pid: int, proc: str = "/proc", table: Optional[Sequence[mounts.Mount]] = None) -> float:
    """Return how many cores process `pid` may use.

    That is its CPU affinity, or the lowest quota of its control groups if that is less.
    """
    try:
        lowest = float(len(os.sched_getaffinity(pid)))
    except ProcessLookupError:
        lowest = float(len(os.sched_getaffinity(0)))
    for version, group in cgroups.holding(pid, "cpu", proc, table):
        quota, period = _quota(group, version)
        if quota > 0 and period > 0:
            lowest = min(lowest, quota / period)
    return lowest


def _quota(group: str, version: int) -> tuple[float, float]:
    """Return the microseconds of CPU time in each period of microseconds; -1 without a limit."""
    if version == 2:
        fields = files.text(group, "cpu.max").split()
    else:
        fields = [
            files.text(group, name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        ]
    quota, period = (float(field) if field.isdigit() else -1.0 for field in (*fields, "", "")[:2])
    return quota, period
