"""How long a line takes to be written where a log file lies."""

from __future__ import annotations

import time
from typing import Any

from kallithea_tune.system.scratch import scratch

LINE = b"2027-01-01 12:00:00.000 INFO  [kallithea.controllers] " + b"x" * 100 + b"\n"


def write_lines(directory: str, count: int) -> dict[str, Any]:
    """Append `count` lines, each by one write(2) without fsync as logging's handlers do; return
    p50, p99, max in ms.
    """
    taken = []
    with scratch(directory) as place, open(place + "/lines.log", "ab", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(LINE)
            taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    return {
        "p50_ms": taken[count // 2],
        "p99_ms": taken[max(0, -(-count * 99 // 100) - 1)],
        "max_ms": taken[-1],
    }
