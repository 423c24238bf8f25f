"""Generated files: shown as a difference, replaced by one rename, the one before kept beside it."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import tempfile

from kallithea_tune.errors import ConfigError


def difference(path: str, text: str) -> str:
    """Return the unified difference between the file at `path`, which may not be there yet, and `text`."""
    before = ""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        before = file.read()
    return "".join(difflib.unified_diff(before.splitlines(True), text.splitlines(True), path, path))


def replace(path: str, text: str) -> None:
    """Write `text` to `path` by a rename; what was there before is at ``path.old``. Raises ConfigError."""
    path = os.path.realpath(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".kallithea-tune-", dir=os.path.dirname(path))
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        if os.path.exists(path):
            shutil.copy2(path, path + ".old")
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError("%s cannot be written: %s" % (path, error.strerror)) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
