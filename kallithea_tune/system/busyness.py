"""How busy the machine is: its load, and how long processes waited for its parts."""

from __future__ import annotations

import contextlib
import enum
import os
import re
import time
from dataclasses import dataclass, field
from typing import Collection, Mapping

_SOME = re.compile(r"^some avg10=(?P<percent>[0-9.]+)", re.MULTILINE)
_TOTAL = re.compile(r"^some .*\btotal=(?P<microseconds>\d+)", re.MULTILINE)
# How long is looked on: ten ticks of the clock that Linux counts the CPUs' time with.
WINDOW_S = 0.1
# A part that is used for longer than this share of the time is taken for this share, since a queue
# has no upper bound.
MOST = 0.95


@dataclass(frozen=True)
class Busyness:
    """The load of the last minute, beside the CPUs that this process may use.

    `waiting` has the percentage of the last ten seconds in which a process waited for ``CPU``,
    ``I/O`` or ``memory``, where Linux measures it (Documentation/accounting/psi.rst).
    """

    load: float
    cpus: int
    waiting: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """As in ``load 2.1 on 2 CPUs, waiting for CPU 12 %, I/O 3 %, memory 0 %``."""
        text = f"load {self.load:.1f} on {self.cpus} CPU{'' if self.cpus == 1 else 's'}"
        waiting = ", ".join(f"{what} {share:.0f} %" for what, share in self.waiting.items())
        return f"{text}, waiting for {waiting}" if waiting else text


def busyness(directory: str = "/proc/pressure") -> Busyness:
    """Return how busy the machine is now."""
    waiting = {}
    for name, what in (("cpu", "CPU"), ("io", "I/O"), ("memory", "memory")):
        with contextlib.suppress(OSError), open(os.path.join(directory, name), "rb") as file:
            match = _SOME.search(file.read(1000).decode("ascii", "replace"))
            if match:
                waiting[what] = float(match["percent"])
    return Busyness(os.getloadavg()[0], len(os.sched_getaffinity(0)), waiting)


class Part(enum.Enum):
    """A part of the machine that processes share."""

    cpu = "CPU"
    disk = "disk"
    memory = "memory"


@dataclass(frozen=True)
class Others:
    """What others used while this command did nothing, as shares of the time.

    `running` processes had a CPU or waited for one of `cpus`; `disk` is that of the busiest disk,
    and `memory` the share of the time in which a process waited for it.
    """

    cpu: float = 0.0
    running: float = 0.0
    cpus: int = 1
    disk: float = 0.0
    memory: float = 0.0

    def __str__(self) -> str:
        """As in ``CPU 100 %, disk 20 %, memory 0 %``."""
        return ", ".join(f"{part.value} {100 * getattr(self, part.name):.0f} %" for part in Part)

    def slowdown(self, parts: Collection[Part]) -> float:
        """Return how many times as long something takes beside the others as without them.

        Linux divides a CPU evenly among the processes that want it (sched-design-CFS.rst); an
        operation on a disk that others use for the share u of the time takes 1 / (1 - u) times as
        long (M/M/1 queue: Gregg, Systems Performance, 2.6.5), and the same is taken for memory.
        """
        factors = [1.0]
        if Part.cpu in parts and self.cpu >= 0.5:
            factors.append((self.running + 1) / self.cpus)
        if Part.disk in parts:
            factors.append(1 / (1 - min(self.disk, MOST)))
        if Part.memory in parts:
            factors.append(1 / (1 - min(self.memory, MOST)))
        return max(factors)


@dataclass(frozen=True)
class _Counters:
    """The kernel's counters at one moment, times in seconds."""

    at: float
    cpu_total: float
    cpu_idle: float
    running: int
    disks: Mapping[str, float]
    memory: float


def others() -> Others:
    """Look on for `WINDOW_S`, doing nothing."""
    first = _counters()
    time.sleep(WINDOW_S)
    return between(first, _counters())


def between(first: _Counters, second: _Counters) -> Others:
    """Return what was used between two moments."""
    seconds = max(second.at - first.at, 1e-6)
    total = second.cpu_total - first.cpu_total
    idle = (second.cpu_idle - first.cpu_idle) / total if total > 0 else 1.0
    used = [busy - first.disks.get(name, busy) for name, busy in second.disks.items()]
    return Others(
        cpu=min(1.0, max(0.0, 1 - idle)),
        # This process runs whenever it counts.
        running=max(0.0, (first.running + second.running) / 2 - 1),
        cpus=os.cpu_count() or 1,
        disk=min(1.0, max(used, default=0.0) / seconds),
        memory=min(1.0, (second.memory - first.memory) / seconds),
    )


def _counters(proc: str = "/proc") -> _Counters:
    """Read the counters of all processes (proc(5), iostats.rst, psi.rst); 0 for what is not
    there.
    """
    ticks, running, disks = [0.0] * 5, 1, {}
    for line in _text(proc, "stat").splitlines():
        name, *values = line.split()
        if name == "cpu":
            ticks = [int(value) / 100 for value in values[:8]]
        elif name == "procs_running":
            running = int(values[0])
    for line in _text(proc, "diskstats").splitlines():
        fields = line.split()
        # The time in which a disk, or a partition of one, had something to do.
        if len(fields) > 12 and not fields[2].startswith(("loop", "ram", "zram")):
            disks[fields[2]] = int(fields[12]) / 1000
    waited = _TOTAL.search(_text(proc, "pressure/memory"))
    return _Counters(
        at=time.monotonic(),
        cpu_total=sum(ticks),
        cpu_idle=ticks[3] + ticks[4],
        running=running,
        disks=disks,
        memory=int(waited["microseconds"]) / 1e6 if waited else 0.0,
    )


def _text(proc: str, name: str) -> str:
    with contextlib.suppress(OSError), open(os.path.join(proc, name), "rb") as file:
        return file.read(1_000_000).decode("ascii", "replace")
    return ""
