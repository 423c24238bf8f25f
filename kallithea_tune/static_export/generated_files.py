"""Generated files: shown as a diff, replaced atomically, with the previous one kept beside it."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil

from kallithea_tune.errors import ConfigError
from kallithea_tune.system import atomic


def diff(path: str, text: str) -> str:
    """Return the lines that differ between the file at `path`, which need not exist, and `text`."""
    before = ""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        before = file.read()
    lines = difflib.unified_diff(before.splitlines(True), text.splitlines(True), path, path, n=0)
    return "".join(lines)


def replace(path: str, text: str) -> None:
    """Write `text` to `path`; what was there before is kept as ``path.old``. Raises ConfigError."""
    path = os.path.realpath(path)
    try:
        if os.path.exists(path):
            shutil.copy2(path, path + ".old")
        atomic.replace(path, text, lambda handle: os.fchmod(handle, 0o644))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
