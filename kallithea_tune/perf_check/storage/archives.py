"""The archives that Kallithea keeps of what users downloaded."""

from __future__ import annotations

import re
import time
from typing import Any

from kallithea_tune.system import files

# Its name, as kallithea.controllers.files makes it, ends with twelve digits of the revision and the
# kind of archive.
ARCHIVE = re.compile(r"-[0-9a-f]{12}\.(zip|tar\.gz|tar\.bz2)$")
_DAY = 86400


def count(directory: str, old_days: int, within: float) -> dict[str, Any]:
    """Count the archives in `directory`, their bytes on disk, and what of them ``find -mtime
    +old_days`` finds.

    Stops after `within` seconds, saying so by ``complete``.
    """
    now, end = time.time(), time.monotonic() + within
    found: dict[str, Any] = {
        "files": 0,
        "bytes": 0,
        "old_files": 0,
        "old_bytes": 0,
        "complete": True,
    }
    for number, entry in enumerate(files.entries(directory)):
        if number % 200 == 199 and time.monotonic() > end:
            return dict(found, complete=False)
        if not ARCHIVE.search(entry.name) or not entry.is_file(follow_symlinks=False):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        found["files"] += 1
        found["bytes"] += status.st_blocks * 512
        if (now - status.st_mtime) // _DAY > old_days:
            found["old_files"] += 1
            found["old_bytes"] += status.st_blocks * 512
    return found
