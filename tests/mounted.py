"""Real file systems to measure on, small and private, made as root or by sudo, then removed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Iterator

from waiting import until

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


def run(*command: object) -> None:
    """Run a command as root; the error has its output when it fails."""
    done = subprocess.run(
        [*AS_ROOT, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}"


@contextlib.contextmanager
def mount(path: Path, *arguments: object) -> Iterator[Path]:
    """Make the directory `path` and mount there, with these arguments of mount(8)."""
    path.mkdir(exist_ok=True)
    run("mount", *arguments, path)
    try:
        yield path
    finally:
        until(lambda: _unmounted(path))


def _unmounted(path: Path) -> bool:
    """Try to unmount; it is busy while a process that was killed is still ending."""
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
    with mount(path, "-t", "tmpfs", "-o", f"{options},mode=1777", "none") as mounted:
        yield mounted


@contextlib.contextmanager
def ext4(path: Path, megabytes: int, options: str = "rw") -> Iterator[Path]:
    """Mount a new ext4 on a loop device."""
    image = path.with_name(f"{path.name}.img")
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    run("mkfs.ext4", "-q", image)
    with mount(path, "-o", f"loop,{options}", image) as mounted:
        run("chmod", "1777", mounted)
        yield mounted
    image.unlink()


# What is looked up is believed for three seconds, as on NFS with attribute caching; locks stay in
# the mount, as with NFS's local_lock.
CACHING = "attr_timeout=3,entry_timeout=3,negative_timeout=3"


@contextlib.contextmanager
def bindfs(source: Path, path: Path, options: str = CACHING) -> Iterator[Path]:
    """Mount `source` once more, through FUSE."""
    path.mkdir(exist_ok=True)
    words = [*AS_ROOT, "bindfs", "-f", "-o", f"allow_other,{options}", str(source), str(path)]
    process = subprocess.Popen(words)
    try:
        until(lambda: os.path.ismount(str(path)) or process.poll() is not None)
        assert process.poll() is None, "bindfs did not mount"
        yield path
    finally:
        if process.poll() is None:
            until(lambda: _unmounted(path))
            # It may have ended by itself; it is our child, so that its number is still its own.
            run("sh", "-c", f"kill {process.pid} 2>&1 || true")
        process.wait(30)


@contextlib.contextmanager
def frozen(path: Path) -> Iterator[None]:
    """Freeze a file system: processes that write there hang in the kernel, as on a dead disk."""
    run("fsfreeze", "--freeze", path)
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", path)


@contextlib.contextmanager
def memory_group(megabytes: int) -> Iterator[Path]:
    """Make a control group with a memory limit.

    A process joins it by writing its id to ``cgroup.procs``.
    """
    from kallithea_tune.system.mounts import table

    groups = [found for found in table() if found.type in ("cgroup", "cgroup2")]
    version_1 = [found for found in groups if "memory" in found.options]
    version_2 = [found for found in groups if found.type == "cgroup2"]
    parent = Path((version_1 or version_2)[0].point)
    group = parent / f"kallithea-tune-{os.getpid()}"
    if not version_1:
        run("sh", "-c", f"echo +memory > {parent}/cgroup.subtree_control")
    run("mkdir", group)
    try:
        name = "memory.limit_in_bytes" if version_1 else "memory.max"
        run("sh", "-c", f"echo {megabytes << 20} > {group}/{name}")
        if os.geteuid():
            run("chmod", "a+w", group / "cgroup.procs", parent / "cgroup.procs")
        yield group
    finally:
        run("rmdir", group)
