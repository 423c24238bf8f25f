"""Generated files: shown as a difference, replaced by one rename, the one before kept beside it."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil

from kallithea_tune.errors import ConfigError
from kallithea_tune.system import atomic


def difference(path: str, text: str) -> str:
    """Return the unified difference between the file at `path`, which may not be there yet, and
    `text`.
    """
    before = ""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        before = file.read()
    return "".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), path, path))


def replace(path: str, text: str) -> None:
    """Write `text` to `path` by a rename; what was there before is at ``path.old``. Raises
    ConfigError.
    """
    path = os.path.realpath(path)
    try:
        if os.path.exists(path):
            shutil.copy2(path, path + ".old")
        atomic.replace(path, text, lambda handle: os.fchmod(handle, 0o644))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
