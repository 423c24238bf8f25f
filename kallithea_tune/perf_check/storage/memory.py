"""The memory there is and how short it is: of the machine, and of Kallithea's control group."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.storage.directories import directories
from kallithea_tune.system import cgroups, child, files, mounts

if TYPE_CHECKING:
    import psutil

# Swapping is counted over so many seconds at least.
SAMPLE_SECONDS = 0.4
LOCAL_HOSTS = (None, "", "localhost", "127.0.0.1", "::1")
WORKING_SET = ("repositories", "index_dir")
# Version 1 writes "no limit" as the largest number of whole pages.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Limit:
    """The memory limit of a control group, in bytes.

    `used` includes the page cache; `killed` is how often its processes were killed at the limit.
    """

    version: int
    group: str
    bytes: int
    used: int
    killed: int


@dataclass(frozen=True)
class Pressure:
    """The percentage of the last 300 seconds in which some process, or all, waited for a resource.

    From the kernel's pressure stall information.
    """

    some: float
    full: float


@dataclass(frozen=True)
class Memory:
    """Memory and swap in bytes, swapping in bytes per second, and the `sizes` of the working set.

    `sizes` are bytes by name; those in `unfinished` were not counted to the end. `processes` were
    started with the ini file and take `resident` bytes together; the most that one of them ever
    took is `peak`. Pressures and limit are None where the kernel has none.
    """

    sizes: Mapping[str, int]
    unfinished: tuple[str, ...]
    total: int
    available: int
    page_cache: int
    swap_total: int
    swap_used: int
    swapped_in_per_s: float
    swapped_out_per_s: float
    processes: int
    resident: int
    peak: int = 0
    memory_pressure: Optional[Pressure] = None
    io_pressure: Optional[Pressure] = None
    limit: Optional[Limit] = None

    @property
    def examined(self) -> Examined:
        """How many parts of the working set were counted to the end."""
        return Examined(
            len(self.sizes) - len(self.unfinished), len(self.sizes), "part of the working set"
        )


@measurement(seconds=0.5, uses=(database_facts, directories))
def memory(context: Context) -> Memory:
    """Count the bytes of the working set and read the kernel's figures."""
    found = context.measure(directories).by_name
    usable = {name: found[name].usable for name in WORKING_SET if name in found}
    measured = child.call(
        survey,
        context.deadline.left + 3,
        directories={name: path for name, path in usable.items() if path},
        ini=os.path.realpath(context.instance.path),
        within=max(0.2, context.deadline.left - 0.5),
    )
    return replace(measured, sizes={**measured.sizes, **_database(context)})


def _database(context: Context) -> dict[str, int]:
    """Return the size of the database where it is on this host and can be read."""
    from sqlalchemy.engine.url import make_url

    # DB000 reports why it cannot be read.
    with contextlib.suppress(NotMeasured, TuneError, ValueError):
        if make_url(context.instance.database_url).host in LOCAL_HOSTS:
            return {"database": context.measure(database_facts).size_bytes}
    return {}


def survey(directories: Mapping[str, str], ini: str, within: float) -> Memory:
    """Count the sizes of `directories` within `within` seconds and read the rest; for a child."""
    import psutil

    started, before = time.monotonic(), psutil.swap_memory()
    sizes, unfinished = _sizes(directories, started + within)
    time.sleep(max(0.0, SAMPLE_SECONDS - (time.monotonic() - started)))
    after, memory = psutil.swap_memory(), psutil.virtual_memory()
    seconds = time.monotonic() - started
    processes = serving(ini)
    return Memory(
        sizes,
        unfinished,
        total=memory.total,
        available=memory.available,
        page_cache=memory.cached + memory.buffers,
        swap_total=after.total,
        swap_used=after.used,
        swapped_in_per_s=(after.sin - before.sin) / seconds,
        swapped_out_per_s=(after.sout - before.sout) / seconds,
        processes=len(processes),
        resident=sum(map(_resident, processes)),
        peak=max((_peak(process.pid) for process in processes), default=0),
        memory_pressure=pressure("memory"),
        io_pressure=pressure("io"),
        limit=limit(processes[0].pid if processes else os.getpid()),
    )


def _sizes(directories: Mapping[str, str], end: float) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Return the bytes below each directory, and the names of those not counted to the end.

    The time left is shared among the directories still to come.
    """
    sizes, unfinished = {}, []
    for number, (name, path) in enumerate(directories.items()):
        now = time.monotonic()
        sizes[name], complete = _size(path, now + (end - now) / (len(directories) - number))
        if not complete:
            unfinished.append(name)
    return sizes, tuple(unfinished)


def _size(directory: str, end: float) -> tuple[int, bool]:
    """Return the bytes that the files below take on the disk, and whether all were counted."""
    size = 0
    try:
        for entry in files.below(directory, end):
            size += entry.status.st_blocks * 512
    except OSError:
        return size, False
    return size, time.monotonic() < end


def pressure(resource: str, directory: str = "/proc/pressure") -> Optional[Pressure]:
    """Return the pressure of `resource` ("memory" or "io"), None where the kernel keeps none."""
    try:
        with open(os.path.join(directory, resource), encoding="ascii") as file:
            text = file.read()
    except OSError:
        return None
    percent = dict(re.findall(r"^(some|full) .*\bavg300=([\d.]+)", text, re.M))
    if "some" not in percent:
        return None
    return Pressure(float(percent["some"]), float(percent.get("full", 0.0)))


def serving(ini: str) -> list[psutil.Process]:
    """Return the processes that were started with the ini file.

    This command and its parents are left out.
    """
    import psutil

    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid not in own
        and any(
            _is_file(argument, ini, process)
            for argument in process.info["cmdline"] or ()
            if os.path.basename(ini) in argument
        )
    ]


def _is_file(argument: str, ini: str, process: psutil.Process) -> bool:
    """Whether an argument, as ``config:my.ini#main`` or ``--paste=my.ini``, is the file `ini`."""
    import psutil

    path = re.sub(r"^(--?[\w-]+=)?(config:)?", "", argument).partition("#")[0]
    try:
        return os.path.samefile(
            path if os.path.isabs(path) else os.path.join(process.cwd(), path), ini
        )
    except (OSError, psutil.Error):
        return False


def _resident(process: psutil.Process) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _peak(pid: int) -> int:
    """Return the most bytes that a process ever had in memory (proc(5), VmHWM)."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", files.text(f"/proc/{pid}", "status"), re.M)
    return int(found[1]) * 1024 if found else 0


def limit(
    pid: int, proc: str = "/proc", table: Optional[Sequence[mounts.Mount]] = None
) -> Optional[Limit]:
    """Return the lowest memory limit of the control groups around process `pid`, None without."""
    limits = [
        _limit_of(group, version) for version, group in cgroups.holding(pid, "memory", proc, table)
    ]
    return min(filter(None, limits), key=lambda found: found.bytes, default=None)


def available(pid: int) -> int:
    """Return the bytes that processes beside `pid` may still take: on this machine, and in its
    control groups.
    """
    import psutil

    found = limit(pid)
    machine: int = psutil.virtual_memory().available
    return min(machine, found.bytes - found.used) if found else machine


def _limit_of(group: str, version: int) -> Optional[Limit]:
    names = (
        ("memory.max", "memory.current", "memory.events")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
    )
    most, used, events = (files.text(group, name).strip() for name in names)
    if not most.isdigit() or int(most) >= _NO_LIMIT:
        return None
    kills = re.search(r"^oom_kill (\d+)", events, re.M)
    return Limit(version, group, int(most), int(used or 0), int(kills[1]) if kills else 0)
