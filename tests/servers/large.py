"""Repositories of data that do not compress, quickly made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable

from servers.application import run

PIECE = 4 << 20


def write_pieces(directories: Iterable[Path], pieces: int) -> None:
    """Write the same `pieces` files of 4 MB of random data into each of the directories."""
    for number in range(pieces):
        content = os.urandom(PIECE)
        for directory in directories:
            (directory / ("piece%d" % number)).write_bytes(content)


def init_git(directory: Path) -> None:
    """Make a Git repository that looks for nothing in common between its files, and does not try to
    compress them.
    """
    run("git", "init", "-q", "-b", "master", directory, cwd=directory.parent)
    run("git", "config", "core.bigFileThreshold", "1m", cwd=directory)
    run("git", "config", "core.compression", "0", cwd=directory)


def commit_git(directory: Path) -> None:
    """Commit all that is there."""
    run("git", "add", ".", cwd=directory)
    run("git", "commit", "-q", "-m", "All", cwd=directory)
