"""Why a database cannot be used, in one sentence."""

from __future__ import annotations

import os

from kallithea_tune.db.sqlite_locks import locks_on
from kallithea_tune.db.url import sqlite_file


def failure_reason(error: Exception, url: str) -> str:
    """Return in one sentence, without the URL, why the database of `url` raised `error`."""
    origin = getattr(error, "orig", None) or error
    text = str(origin.args[-1] if origin.args else origin).strip() or type(origin).__name__
    path, text = sqlite_file(url), text.splitlines()[0]
    if not path:
        return text
    try:
        os.stat(path)
    except FileNotFoundError:
        return f"the SQLite file {path} does not exist"
    except OSError as failure:
        return f"the SQLite file {path} cannot be reached: {failure.strerror}"
    if os.path.isdir(path):
        return f"{path} is a directory, not a SQLite file"
    if not os.access(path, os.R_OK, effective_ids=True):
        return f"the SQLite file {path} cannot be read: Permission denied"
    if "locked" in text:
        owners = ", ".join(f"process {pid}" for pid in lock_owners(path))
        return f"{path} is locked{' by ' + owners if owners else ''}"
    if "readonly" in text:
        return (
            f"{path} was left in mid-transaction by a process that died; "
            "Kallithea rolls it back when it next opens the file"
        )
    return f"{path}: {text}"


def lock_owners(path: str) -> list[int]:
    """Return the processes with a write lock on the file."""
    return sorted({lock.process for lock in locks_on(path) if lock.writes})
