"""A local file system with room, and a directory on it, for the tables of tests."""

from __future__ import annotations

from kallithea_tune.perf_check.storage.directories import Directory, Location
from kallithea_tune.system.mounts import Mount

EXT4 = Mount(1, "8:1", "/", "/srv", "ext4", "/dev/sda1", ("rw",))
LOCATION = Location(
    real="/srv/repos",
    device=2049,
    mount=EXT4,
    rotational=False,
    size=10**12,
    free=5 * 10**11,
    inodes=10_000_000,
    free_inodes=9_000_000,
)
OK = Directory("/srv/repos", location=LOCATION)
