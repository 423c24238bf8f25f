"""Reads the state of Kallithea's full-text index from its files, and from the journal what was
pushed since.

The index itself is not opened: Whoosh unpickles its table of contents.
"""

from __future__ import annotations

import datetime
import os
import re
from typing import Any, Mapping, Optional

from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.server import explained
from kallithea_tune.system.files import entries, size, text

# kallithea/lib/indexers/__init__.py: file contents and paths, changesets.
NAMES = ("HG_INDEX", "CHGSET_INDEX")
LOCK = "make_index.lock"
ROWS = 5000


def describe(directory: str) -> dict[str, Any]:
    """Return for each of the two indexes that is there its ``segments`` and when it was ``built``;
    bytes; the lock.
    """
    files = {entry.name: entry for entry in entries(directory)}
    found: dict[str, Any] = {}
    for name in NAMES:
        tables = [
            files[file].stat().st_mtime for file in files if re.match(rf"_{name}_\d+\.toc$", file)
        ]
        if tables:
            segments = sum(file.startswith(name + "_") and file.endswith(".seg") for file in files)
            found[name] = {"built": max(tables), "segments": segments}
    return {
        "indexes": found,
        "bytes": sum(size(entry) for entry in files.values()),
        "lock": _lock(directory, files),
    }


def _lock(directory: str, files: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """Say what Kallithea makes of its lock file: the process in it, and what that is (None when it
    is gone).
    """
    if LOCK not in files:
        return None
    said = text(os.path.join(directory, LOCK), 100).split("\n", 1)[0].strip()
    process = int(said) if said.isdigit() else -1
    return {"process": process, "command": command(process) if process > 0 else None}


def command(process: int) -> Optional[str]:
    """Return the command line of a process, None when there is none of that number."""
    import psutil

    try:
        return " ".join(psutil.Process(process).cmdline())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error as error:
        raise NotMeasured(
            "process %d is not to be asked: %s" % (process, type(error).__name__)
        ) from None


def pushes_since(url: str, since: float) -> dict[str, Any]:
    """Count the pushes of changesets after the time `since`, in the newest 5,000 rows of the
    journal; for a child.

    Returns ``pushes``, the ``repositories`` they went to, and the time of the ``first``, None
    without.
    """
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    statement = sqlalchemy.text(
        "SELECT substr(action, 1, 40) AS action, action_date, repository_name FROM user_logs "
        "ORDER BY user_log_id DESC LIMIT %d" % ROWS
    ).columns(
        action=sqlalchemy.String, action_date=sqlalchemy.DateTime, repository_name=sqlalchemy.String
    )
    try:
        with read_only_engine(url).connect() as connection:
            rows = connection.execute(statement).fetchall()
    except SQLAlchemyError as error:
        raise NotMeasured(explained(error, url)) from None
    # Kallithea writes the local time, without a zone (kallithea/model/userlog.py).
    begin = datetime.datetime.fromtimestamp(since)
    pushed = [
        (date, name) for action, date, name in rows if date > begin and _adds_changesets(action)
    ]
    return {
        "pushes": len(pushed),
        "repositories": len({name for _, name in pushed}),
        "first": min(pushed)[0].timestamp() if pushed else None,
    }


def _adds_changesets(action: str) -> bool:
    what, _, revisions = action.partition(":")
    return what.startswith("push") and not revisions.startswith(("tag=>", "delete_branch=>"))
