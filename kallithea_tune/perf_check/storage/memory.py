"""What memory there is and how short it is: for the machine, and for the control group that
Kallithea runs in.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Any, Mapping, Optional, Sequence

from kallithea_tune.system import cgroups, files, mounts

# Swapping is counted over so many seconds at least.
SAMPLE_S = 0.4
# Version 1 writes "no limit" as the largest number of whole pages.
_NO_LIMIT = 1 << 60


def survey(directories: Mapping[str, str], ini: str, within: float) -> dict[str, Any]:
    """Return the sizes of `directories` by name, memory, swap, pressure and limits, in bytes; for a
    child.

    A directory that could not be counted within its part of `within` seconds is among
    ``unfinished``.
    """
    import psutil

    started, before = time.monotonic(), psutil.swap_memory()
    sizes, unfinished = {}, []
    for number, (name, path) in enumerate(directories.items()):
        left = within - (time.monotonic() - started)
        end = time.monotonic() + left / (len(directories) - number)
        sizes[name], whole = _size(path, end)
        if not whole:
            unfinished.append(name)
    time.sleep(max(0.0, SAMPLE_S - (time.monotonic() - started)))
    after, memory, seconds = (
        psutil.swap_memory(),
        psutil.virtual_memory(),
        time.monotonic() - started,
    )
    processes = serving(ini)
    return {
        "sizes": sizes,
        "unfinished": unfinished,
        "total": memory.total,
        "available": memory.available,
        "page_cache": memory.cached + memory.buffers,
        "swap_total": after.total,
        "swap_used": after.used,
        "swapped_in_per_s": (after.sin - before.sin) / seconds,
        "swapped_out_per_s": (after.sout - before.sout) / seconds,
        "pressure": {name: pressure(name) for name in ("memory", "io")},
        "processes": len(processes),
        "resident": sum(_resident(process) for process in processes),
        "limit": limit(processes[0].pid if processes else os.getpid()),
    }


def _size(directory: str, end: float) -> tuple[int, bool]:
    """Return the bytes that the files below take on the disk, and whether all were counted."""
    size = 0
    try:
        for entry in files.below(directory, end):
            with contextlib.suppress(FileNotFoundError):  # It has just been removed.
                size += entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return size, False
    return size, time.monotonic() < end


def pressure(resource: str, directory: str = "/proc/pressure") -> Optional[dict[str, float]]:
    """Return the share of time, in percent, in which ``some`` process or all (``full``) waited for
    `resource`.

    Averages over 300 seconds, of the kernel's pressure stall information; None where it keeps none.
    """
    try:
        with open(os.path.join(directory, resource), encoding="ascii") as file:
            text = file.read()
    except OSError:
        return None
    return {
        kind: float(value)
        for kind, value in re.findall(r"^(some|full) .*\bavg300=([\d.]+)", text, re.M)
    }


def serving(ini: str) -> list[Any]:
    """Return the processes that were started with the ini file, as psutil's, this command and its
    parents left out.
    """
    import psutil

    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.pid not in own and any(
            _names(word, ini, process)
            for word in process.info["cmdline"] or ()
            if os.path.basename(ini) in word
        ):
            found.append(process)
    return found


def _names(word: str, ini: str, process: Any) -> bool:
    """Tell whether a word of a command line, as ``config:my.ini#main`` or ``--paste=my.ini``, names
    the file `ini`.
    """
    import psutil

    path = re.sub(r"^(--?[\w-]+=)?(config:)?", "", word).partition("#")[0]
    try:
        return os.path.samefile(
            path if os.path.isabs(path) else os.path.join(process.cwd(), path), ini
        )
    except (OSError, psutil.Error):
        return False


def _resident(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def limit(
    pid: int, proc: str = "/proc", table: Optional[Sequence[mounts.Mount]] = None
) -> Optional[dict[str, Any]]:
    """Return the least memory limit of the control groups that hold process `pid`, or None where
    there is none.

    With the version of cgroups, the ``group`` that sets it, what is ``used`` of it, the page cache
    included, and how often its processes were ``killed`` for want of memory.
    """
    found = [
        one
        for version, group in cgroups.holding(pid, "memory", proc, table)
        for one in [_limit_of(group, version)]
        if one
    ]
    return min(found, key=lambda one: int(one["bytes"])) if found else None


def _limit_of(group: str, version: int) -> Optional[dict[str, Any]]:
    names = (
        ("memory.max", "memory.current", "memory.events")
        if version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
    )
    most, used, events = (files.text(os.path.join(group, name)).strip() for name in names)
    if not most.isdigit() or int(most) >= _NO_LIMIT:
        return None
    kills = re.search(r"^oom_kill (\d+)", events, re.M)
    return {
        "version": version,
        "group": group,
        "bytes": int(most),
        "used": int(used or 0),
        "killed": int(kills[1]) if kills else 0,
    }
