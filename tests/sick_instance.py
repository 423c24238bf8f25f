"""Makes a real instance sick in five ways that admins meet.

usage: sick_instance.py INI

Ten threads, debug on, no logger for gearbox, 50,000 files in the cache, a Git repository with
20,000 loose objects.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

CACHE_FILES = 50_000
LOOSE_OBJECTS = 20_000


def make_sick(ini: Path) -> None:
    """Spoil the instance that `ini` belongs to."""
    spoil_ini(ini)
    fill_cache(ini.parent / "data" / "cache" / "container_file", CACHE_FILES)
    add_loose_objects(ini.parent / "repos" / "git-one", LOOSE_OBJECTS)


def spoil_ini(ini: Path) -> None:
    """Set ten threads and debug, and take the gearbox logger away."""
    text = ini.read_text()
    for pattern, replacement in (
        (r"(?m)^threads = 1$", "threads = 10"),
        (r"(?m)^use = egg:kallithea$", "use = egg:kallithea\ndebug = true"),
        (r"(?m)^(keys = root.*), gearbox\b", r"\1"),
        (r"(?ms)^\[logger_gearbox\].*?(?=^\[)", ""),
    ):
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    ini.write_text(text)


def fill_cache(directory: Path, count: int) -> None:
    """Write small cache files in the two levels of directories that Beaker uses; half of them are
    60 days old.
    """
    then = time.time() - 60 * 86400
    for number in range(count):
        name = hashlib.sha1(b"%d" % number).hexdigest()
        parent = directory / name[0] / name[:2]
        if number < 4096:
            parent.mkdir(parents=True, exist_ok=True)
        path = str(parent / (name + ".cache"))
        with open(path, "wb") as file:
            file.write(b"\x80" + name.encode())
        if number % 2:
            os.utime(path, (then, then))


def add_loose_objects(repository: Path, count: int) -> None:
    """Write blobs as `git hash-object -w` does, without a process for each."""
    for number in range(count):
        content = b"loose object %d\n" % number
        data = b"blob %d\0" % len(content) + content
        name = hashlib.sha1(data).hexdigest()
        parent = repository / "objects" / name[:2]
        parent.mkdir(exist_ok=True)
        (parent / name[2:]).write_bytes(zlib.compress(data, 1))
    said = subprocess.run(
        ["git", "-C", str(repository), "count-objects"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    assert int(said.stdout.split()[0]) >= count


if __name__ == "__main__":
    make_sick(Path(sys.argv[1]).resolve())
