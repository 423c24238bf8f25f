"""Reads files and directories; never follows a symbolic link to a directory, never writes."""

from __future__ import annotations

import os
import time
from typing import Iterator


class Broken(Exception):
    """A repository that cannot be used; the text is the reason."""


def entries(directory: str) -> Iterator[os.DirEntry[str]]:
    """Yield what is in `directory`; nothing when it does not exist or is not a directory."""
    try:
        with os.scandir(directory) as iterator:
            yield from iterator
    except (FileNotFoundError, NotADirectoryError):
        return


def below(directory: str, end: float) -> Iterator[os.DirEntry[str]]:
    """Yield every file below `directory`, until the monotonic clock reaches `end`."""
    directories = [directory]
    while directories and time.monotonic() < end:
        for entry in entries(directories.pop()):
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.path)
            else:
                yield entry


def size(entry: os.DirEntry[str]) -> int:
    """Return the bytes of a file, 0 when it has just been removed."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def size_of(path: str) -> int:
    """Return the bytes of the file `path`, 0 when there is none."""
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def text(path: str, limit: int = 1 << 20) -> str:
    """Return at most the first `limit` bytes of a file as text, empty when there is none.

    Bytes that are not UTF-8 are as in the names of files: `os.fsencode` returns them.
    """
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
