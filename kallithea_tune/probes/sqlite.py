"""Looks into a SQLite file for damage."""

from __future__ import annotations

import time
from typing import Any

from kallithea_tune.engine import open_sqlite


def quick_check(path: str, seconds: float) -> dict[str, Any]:
    """Run ``PRAGMA quick_check`` for at most `seconds`; return its complaints and whether it came to the end.

    It holds a shared lock, which in rollback-journal mode keeps writers waiting: hence the limit.
    """
    import sqlite3

    end = time.monotonic() + seconds
    connection = open_sqlite(path)
    # SQLite calls back every so many virtual machine instructions, and stops when the answer is not zero.
    connection.set_progress_handler(lambda: time.monotonic() > end, 10000)
    started = time.perf_counter()
    complaints, complete = [], True
    try:
        for (line,) in connection.execute("PRAGMA quick_check(5)"):
            if line != "ok":
                complaints.append(str(line).splitlines()[-1])
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        complete = False
    except sqlite3.DatabaseError as error:
        complaints.append(str(error))
    finally:
        connection.close()
    return {"complaints": complaints, "complete": complete, "ms": (time.perf_counter() - started) * 1000}
