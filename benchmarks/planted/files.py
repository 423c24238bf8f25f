"""What is wrong with caches, sessions and file systems."""

from __future__ import annotations

import os
import shutil

import mounted
import sick_instance
from state import Planted, state


@state("CAC003", advice=True)
def cache_files(planted: Planted) -> None:
    """50,000 files in the cache."""
    sick_instance.fill_cache(planted.directory / "data" / "cache" / "container_file", 50_000)


@state("STO006")
def writable(planted: Planted) -> None:
    """Caches and sessions that anybody may write."""
    # Others may not even enter a temporary directory.
    os.chmod(planted.directory.parent, 0o755)
    for name in ("cache", "sessions"):
        (planted.directory / "data" / name).mkdir(parents=True, exist_ok=True)
    for directory, _, names in os.walk(planted.directory / "data"):
        for path in (directory, *(os.path.join(directory, name) for name in names)):
            os.chmod(path, 0o777)
    os.chmod(planted.ini, 0o666)
    os.chmod(planted.directory / "kallithea.db", 0o666)


@state("STO004")
def inodes(planted: Planted) -> None:
    """No inodes left for sessions."""
    data = planted.directory / "data"
    kept = planted.directory / "data.kept"
    if data.exists():
        os.rename(data, kept)
    planted.stack.enter_context(mounted.tmpfs(data, "size=200m,nr_inodes=8000"))
    if kept.exists():
        shutil.copytree(kept, data, dirs_exist_ok=True)
    sessions = data / "sessions" / "container_file" / "0"
    sessions.mkdir(parents=True, exist_ok=True)
    number = 0
    while os.statvfs(sessions).f_ffree > 30:
        (sessions / f"{number}.cache").touch()
        number += 1


@state("STO004")
def space(planted: Planted) -> None:
    """No space left for caches."""
    data = planted.directory / "data"
    shutil.rmtree(data, ignore_errors=True)
    planted.stack.enter_context(mounted.tmpfs(data, "size=20m"))
    (data / "filler").write_bytes(b"x" * (os.statvfs(data).f_bavail * 4096 - 40_000))
