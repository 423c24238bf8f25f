"""The kernel's table of mounts: which one a directory is on, and what kind of disk is below it."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import Optional, Sequence

# Names as in mount(8). What these guarantee about locks depends on server and options.
NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "lustre",
        "ncpfs",
        "ocfs2",
        "gfs2",
        "virtiofs",
    }
)
MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo`` (proc(5)).

    `device` is ``major:minor``, which most file systems return from stat(2), `root` the directory
    of the file system that is mounted at `point`, `options` are those of the mount and those of the
    file system.
    """

    id: int
    device: str
    root: str
    point: str
    type: str
    source: str
    options: tuple[str, ...]

    def option(self, name: str) -> Optional[str]:
        """Return the value of ``name=value``, "" for a bare ``name``, None without either."""
        for option in self.options:
            key, _, value = option.partition("=")
            if key == name:
                return value
        return None


def parse(text: str) -> list[Mount]:
    """Read the lines of ``/proc/self/mountinfo``."""
    mounts = []
    for line in text.split("\n"):
        front, separator, back = line.partition(" - ")
        fields, rest = front.split(), back.split(" ")
        if separator and len(fields) >= 6 and len(rest) >= 2:
            options = [*fields[5].split(","), *(rest[2].split(",") if len(rest) > 2 else ())]
            mounts.append(
                Mount(
                    int(fields[0]),
                    fields[2],
                    _unescaped(fields[3]),
                    _unescaped(fields[4]),
                    rest[0],
                    _unescaped(rest[1]),
                    tuple(dict.fromkeys(options)),
                )
            )
    return mounts


def _unescaped(text: str) -> str:
    # The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def table() -> list[Mount]:
    """Return the mounts that this process sees."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


def holding(path: str, mounts: Sequence[Mount]) -> Optional[Mount]:
    """Return the mount with the directory `path`; this may hang as long as its file system does."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            match = re.search(r"^mnt_id:\s*(\d+)", file.read(), re.M)
    finally:
        os.close(descriptor)
    return next((mount for mount in mounts if match and mount.id == int(match[1])), None)


def rotational(mount: Mount, sys_directory: str = "/sys") -> Optional[bool]:
    """Whether the kernel believes the block device below `mount` to rotate; None without a device.

    For a virtual disk, its host decides.
    """
    numbers = [mount.device]
    if mount.source.startswith("/dev/"):
        # btrfs gives its files a device number of their own.
        with contextlib.suppress(OSError):
            device = os.stat(mount.source).st_rdev
            numbers.append(f"{os.major(device)}:{os.minor(device)}")
    for number in numbers:
        block = os.path.realpath(os.path.join(sys_directory, "dev", "block", number))
        for place in (block, os.path.dirname(block)):
            # A partition has no queue of its own; its disk, the parent directory, does.
            try:
                with open(os.path.join(place, "queue", "rotational"), encoding="ascii") as file:
                    return file.read().strip() == "1"
            except OSError:
                continue
    return None
