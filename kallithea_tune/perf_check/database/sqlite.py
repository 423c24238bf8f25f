"""Looks at a SQLite file: where it lies, and whether it is damaged."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from kallithea_tune.db.engine import open_sqlite
from kallithea_tune.errors import NotMeasured
from kallithea_tune.system.mounts import holding, table


def file_system(path: str) -> str:
    """Return the type of the file system that holds the file `path`, as the table of mounts has it;
    "" if unknown.
    """
    try:
        mount = holding(os.path.dirname(os.path.realpath(path)), table())
    except OSError:
        return ""
    return mount.type if mount else ""


def examine(path: str, limit: float) -> dict[str, Any]:
    """Run ``PRAGMA quick_check`` for at most `limit` seconds; return its complaints and whether it
    came to the end.

    It holds a shared lock, which in rollback-journal mode keeps writers waiting: hence the limit.
    Raises NotMeasured when the file cannot be opened or is locked.
    """
    import sqlite3

    from kallithea_tune.perf_check.database.server import explained

    complaints, complete, started = [], True, time.monotonic()
    try:
        with contextlib.closing(open_sqlite(path, timeout=0.5)) as connection:
            started = time.monotonic()
            # SQLite calls back every so many virtual machine instructions, and stops when the
            # answer is not zero.
            connection.set_progress_handler(lambda: time.monotonic() > started + limit, 10000)
            for (line,) in connection.execute("PRAGMA quick_check(5)"):
                if line != "ok":
                    complaints.append(str(line).splitlines()[-1])
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise NotMeasured(explained(error, "sqlite:///" + path)) from None
        complete = False
    except sqlite3.DatabaseError as error:
        complaints.append(str(error))
    return {
        "complaints": complaints,
        "complete": complete,
        "ms": (time.monotonic() - started) * 1000,
    }
