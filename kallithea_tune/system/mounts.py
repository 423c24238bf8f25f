"""Which mount a directory is on: the kernel's table of mounts, parsed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Optional, Sequence

# As mount(8) names them; what these promise about locks depends on server and options.
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

    `device` is ``major:minor`` as stat(2) gives it on most file systems, `root` the directory of
    the file system that is mounted at `point`, `options` those of the mount and of the file system
    together.
    """

    id: int
    device: str
    root: str
    point: str
    type: str
    source: str
    options: tuple[str, ...]

    def option(self, name: str) -> Optional[str]:
        """Return the value of ``name=value``, "" for a bare ``name``, None where it is not
        there.
        """
        for option in self.options:
            key, _, value = option.partition("=")
            if key == name:
                return value
        return None


def parse(text: str) -> list[Mount]:
    """Read the lines of ``/proc/self/mountinfo``."""
    mounts = []
    for line in text.splitlines():
        front, separator, back = line.partition(" - ")
        fields, rest = front.split(), back.split(" ")
        if separator and len(fields) >= 6 and len(rest) >= 2:
            options = [*fields[5].split(","), *(rest[2].split(",") if len(rest) > 2 else ())]
            mounts.append(
                Mount(
                    int(fields[0]),
                    fields[2],
                    _plain(fields[3]),
                    _plain(fields[4]),
                    rest[0],
                    _plain(rest[1]),
                    tuple(dict.fromkeys(options)),
                )
            )
    return mounts


def _plain(text: str) -> str:
    # The kernel writes a blank, tab, newline and backslash as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def table() -> list[Mount]:
    """Return the mounts that this process sees."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read())


def holding(path: str, mounts: Sequence[Mount]) -> Optional[Mount]:
    """Return the mount that holds the directory `path`, as the kernel resolves it; it may hang with
    its file system.
    """
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        with open("/proc/self/fdinfo/%d" % descriptor, encoding="ascii") as file:
            found = re.search(r"^mnt_id:\s*(\d+)", file.read(), re.M)
    finally:
        os.close(descriptor)
    return next((mount for mount in mounts if found and mount.id == int(found[1])), None)


def rotational(mount: Mount, sys_directory: str = "/sys") -> Optional[bool]:
    """Return whether the kernel takes the block device below `mount` for a rotating disk, None
    where there is none.

    A virtual disk is what its host says it is.
    """
    numbers = [mount.device]
    if mount.source.startswith("/dev/"):
        try:
            device = os.stat(mount.source).st_rdev
            # btrfs gives its files a device number of their own.
            numbers.append("%d:%d" % (os.major(device), os.minor(device)))
        except OSError:
            pass
    for number in numbers:
        block = os.path.realpath(os.path.join(sys_directory, "dev", "block", number))
        for place in (block, os.path.dirname(block)):
            # A partition has no queue of its own: its disk, the parent directory, has.
            try:
                with open(os.path.join(place, "queue", "rotational"), encoding="ascii") as file:
                    return file.read().strip() == "1"
            except OSError:
                continue
    return None
