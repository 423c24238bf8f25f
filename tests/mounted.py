"""Real file systems to measure on, small and private, made as root (or through sudo) and gone
afterwards.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Iterator

from waiting import until

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


def run(*command: object) -> None:
    """Run a command as root; what it says is in the error when it fails."""
    said = subprocess.run(
        [*AS_ROOT, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert said.returncode == 0, "{}: {}".format(" ".join(map(str, command)), said.stdout)


@contextlib.contextmanager
def mount(path: Path, *arguments: object) -> Iterator[Path]:
    """Mount at `path`, which is made, with these arguments of mount(8)."""
    path.mkdir(exist_ok=True)
    run("mount", *arguments, path)
    try:
        yield path
    finally:
        until(lambda: _unmounted(path))


def _unmounted(path: Path) -> bool:
    """Unmount; not while a process that was killed is still on its way out."""
    try:
        run("umount", path)
    except AssertionError as error:
        if "busy" in str(error):
            return False
        raise
    return True


@contextlib.contextmanager
def tmpfs(path: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs, as in ``size=64k,nr_inodes=10``."""
    with mount(path, "-t", "tmpfs", "-o", options + ",mode=1777", "none") as mounted:
        yield mounted


@contextlib.contextmanager
def ext4(path: Path, megabytes: int, options: str = "rw") -> Iterator[Path]:
    """Mount an ext4 of its own on a loop device."""
    image = path.with_name(path.name + ".img")
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    run("mkfs.ext4", "-q", image)
    with mount(path, "-o", "loop," + options, image) as mounted:
        run("chmod", "1777", mounted)
        yield mounted
    image.unlink()


@contextlib.contextmanager
def frozen(path: Path) -> Iterator[None]:
    """Freeze a file system: whoever writes hangs in the kernel and cannot be killed, as on a dead
    disk.
    """
    run("fsfreeze", "--freeze", path)
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", path)


@contextlib.contextmanager
def memory_group(megabytes: int) -> Iterator[Path]:
    """Make a control group with a limit of memory; a process joins it by writing itself to its
    ``cgroup.procs``.
    """
    from kallithea_tune.system.mounts import table

    first = next((one for one in table() if one.type == "cgroup" and "memory" in one.options), None)
    parent = Path((first or next(one for one in table() if one.type == "cgroup2")).point)
    group = parent / ("kallithea-tune-%d" % os.getpid())
    if not first:
        run("sh", "-c", f"echo +memory > {parent}/cgroup.subtree_control")
    run("mkdir", group)
    try:
        name = "memory.limit_in_bytes" if first else "memory.max"
        run("sh", "-c", "echo %d > %s/%s" % (megabytes << 20, group, name))
        if os.geteuid():
            run("chmod", "a+w", group / "cgroup.procs", parent / "cgroup.procs")
        yield group
    finally:
        run("rmdir", group)
