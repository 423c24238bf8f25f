"""Finds the control groups of a process, in versions 1 and 2 of the kernel's hierarchy."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator, Optional, Sequence

from kallithea_tune.system import mounts


def holding(
    pid: int, controller: str, proc: str = "/proc", table: Optional[Sequence[mounts.Mount]] = None
) -> Iterator[tuple[int, str]]:
    """Yield version and directory of each group of process `pid` with limits of `controller`.

    From the innermost out, as far as they are mounted here; nothing where they cannot be read.
    """
    with contextlib.suppress(OSError):
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
        yield from _groups(lines, controller, mounts.table() if table is None else table)


def _groups(
    lines: Sequence[Sequence[str]], controller: str, table: Sequence[mounts.Mount]
) -> Iterator[tuple[int, str]]:
    for _, controllers, path in lines:
        if controller in controllers.split(","):
            version = 1
            mounts_of = [m for m in table if m.type == "cgroup" and controller in m.options]
        elif not controllers:
            version = 2
            mounts_of = [m for m in table if m.type == "cgroup2"]
        else:
            continue
        if not mounts_of:
            continue
        mount = mounts_of[0]
        # In a container, the mount may begin inside the tree that the path starts from.
        inside = path[len(mount.root) :] if path.startswith(mount.root) else path
        group = os.path.normpath(mount.point + "/" + inside)
        while os.path.commonpath([group, mount.point]) == mount.point:
            yield version, group
            if group == mount.point:
                break
            group = os.path.dirname(group)
