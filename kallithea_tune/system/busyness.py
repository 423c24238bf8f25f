"""How busy the machine is: its load, and how long processes waited for its parts."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from typing import Mapping

_SOME = re.compile(r"^some avg10=(?P<percent>[0-9.]+)", re.MULTILINE)


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
