"""Running processes: what one is, and which work in a directory."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Collection, Iterator, Mapping, Optional


@dataclass(frozen=True)
class Process:
    """A running process: its number, when it started (seconds since 1970), and its command line,
    empty where that cannot be read.
    """

    number: int
    started: float
    command: str


def running(number: int) -> Optional[Process]:
    """Return the process of that number, None where none is running."""
    import psutil

    try:
        process = psutil.Process(number)
        started, command = process.create_time(), ""
        with contextlib.suppress(psutil.AccessDenied):
            command = " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # A zombie, too.
        return None
    return Process(number, started, command)


def occupants(directories: Collection[str], program: str) -> Mapping[str, int]:
    """Return the number of a process for each of `directories` in which any works.

    It has something in it open, or it is in it and its name begins with `program`: a shell may be
    there as well. Those of other users are seen by root only.
    """
    wanted = {os.path.realpath(directory): directory for directory in directories}
    found: dict[str, int] = {}
    for name in os.listdir("/proc") if wanted else ():
        if not name.isdigit() or int(name) == os.getpid():
            continue
        for path in _paths_of(f"/proc/{name}", program):
            while path not in wanted and len(path) > 1:
                path = os.path.dirname(path)
            if path in wanted:
                found.setdefault(wanted[path], int(name))
    return found


def _paths_of(process: str, program: str) -> Iterator[str]:
    """Yield the files that a process has open, and its working directory if it is a `program`."""
    links = []
    with contextlib.suppress(OSError):
        with open(f"{process}/comm", encoding="utf-8", errors="replace") as file:
            links += [f"{process}/cwd"] * file.read(100).startswith(program)
        links += [f"{process}/fd/{name}" for name in os.listdir(f"{process}/fd")]
    for link in links:
        with contextlib.suppress(OSError):
            path = os.readlink(link)
            if path.startswith("/"):
                yield path
