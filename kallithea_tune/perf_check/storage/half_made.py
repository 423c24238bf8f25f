"""Archives that were not finished: cut short where they are kept, or left among temporary files."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import os
import re
import tempfile
import time
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.storage.archives import ARCHIVE
from kallithea_tune.perf_check.storage.directories import directories
from kallithea_tune.system import child, files
from kallithea_tune.system.files import Entry

# What was written to since may still be growing.
SETTLED_SECONDS = 600
# The record at the end of a zip file, and how far from the end a comment may move it.
_ZIP_END, _ZIP_TAIL = b"PK\x05\x06", 22 + 65535
# As Python's tempfile names the file that Kallithea writes an archive to.
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")
_MAGIC = (b"PK\x03\x04", b"\x1f\x8b", b"BZh")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class HalfMade:
    """The archives that are `cut` short, of so many `checked` out of `kept`, and those that were
    `left` in the directory `temporary` with so many bytes.
    """

    cut: tuple[str, ...] = ()
    kept: int = 0
    checked: int = 0
    temporary: str = ""
    left: tuple[str, ...] = ()
    left_bytes: int = 0

    @property
    def examined(self) -> Examined:
        """The archives that were read to their end."""
        return Examined(self.checked, self.kept, "archives")


@measurement(seconds=0.5, uses=(directories,))
def half_made(context: Context) -> HalfMade:
    """Read the archives that are kept to their end, and look for those left in TMPDIR."""
    archives = context.measure(directories).by_name.get("archives")
    return child.call(
        survey,
        context.deadline.left + 2,
        directory=(archives.usable if archives else None) or "",
        temporary=tempfile.gettempdir(),
        within=context.deadline.left,
    )


def survey(directory: str, temporary: str, within: float) -> HalfMade:
    """Look in both directories, for so many seconds; for a child, since a disk may hang."""
    end = time.monotonic() + within
    left, left_bytes = _left(temporary, time.monotonic() + within / 4)
    cut = []
    kept = checked = 0
    for entry in files.entries(directory) if directory else ():
        if not ARCHIVE.search(entry.name) or not _settled(entry):
            continue
        kept += 1
        with contextlib.suppress(TimeoutError, OSError, files.NotAFile):
            if not _complete(directory, entry, end):
                cut.append(entry.path)
            checked += 1
    return HalfMade(tuple(cut), kept, checked, temporary, left, left_bytes)


def _settled(entry: Entry) -> bool:
    return entry.is_file and time.time() - entry.status.st_mtime > SETTLED_SECONDS


def _left(temporary: str, end: float) -> tuple[tuple[str, ...], int]:
    """Return this user's files that are named and begin as an archive that is being made."""
    found, size = [], 0
    for entry in files.entries(temporary):
        if time.monotonic() > end:
            break
        own = _settled(entry) and entry.status.st_uid == os.geteuid()
        if own and _TEMPORARY.fullmatch(entry.name):
            with contextlib.suppress(OSError, files.NotAFile), files.opened(
                temporary, entry.name
            ) as file:
                if file.read(4).startswith(_MAGIC):
                    found.append(entry.path)
                    size += entry.status.st_blocks * 512
    return tuple(found), size


def _complete(directory: str, entry: Entry, end: float) -> bool:
    """Whether an archive goes on to its end. Raises TimeoutError after `end`."""
    with files.opened(directory, entry.name) as file:
        if entry.name.endswith(".zip"):
            if time.monotonic() > end:
                raise TimeoutError
            file.seek(max(0, entry.status.st_size - _ZIP_TAIL))
            return _ends_as_zip(file.read(_ZIP_TAIL))
        return _decompresses(file, entry.name.endswith(".gz"), end)


def _ends_as_zip(tail: bytes) -> bool:
    """Whether the last record of a zip file is there, with as long a comment as it says."""
    record = tail[tail.rfind(_ZIP_END) :] if _ZIP_END in tail else b""
    return len(record) >= 22 and len(record) == 22 + int.from_bytes(record[20:22], "little")


def _decompresses(file: BinaryIO, gzipped: bool, end: float) -> bool:
    stream = gzip.GzipFile(fileobj=file) if gzipped else bz2.BZ2File(file)
    try:
        while True:
            if time.monotonic() > end:
                raise TimeoutError
            if not stream.read(_CHUNK):
                return True
    except TimeoutError:
        raise
    except (EOFError, OSError, zlib.error):
        return False
