"""What preflight takes, against reading the same rows: seconds, and memory, as the database grows.

usage: preflight.py DIRECTORY [LOG_ROWS ...]

Without numbers 10,000, 100,000 and 1,000,000 log rows. Run it with the Python of the virtual
environment that holds Kallithea. The target is another SQLite database, told to be PostgreSQL, so
that no server is asked.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

SIZES = (10_000, 100_000, 1_000_000)


def look(path: str) -> dict[str, float]:
    """Look through one database, and read all of its rows; return seconds of both and peak memory
    in megabytes.
    """
    from kallithea.model import db, meta

    from kallithea_tune.db_migrate import connect, schema
    from kallithea_tune.db_migrate.engines import engine_class, engine_for
    from kallithea_tune.db_migrate.preflight.preflight import Preflight

    assert db.User
    engine = connect.source_engine("sqlite:///" + path)
    source, target = (engine_for(engine.connect()) for _ in range(2))
    source.reader.begin_snapshot()
    tables = schema.ordered(meta.Base.metadata)
    copies = schema.for_target(tables, target.writer, meta.Base.metadata)
    target.column_limits_class = engine_class("postgresql").column_limits_class
    begun = time.perf_counter()
    targets = [copies.tables[table.name] for table in tables]
    result = Preflight(source, target, tables, targets).run({})
    seconds = time.perf_counter() - begun
    assert not result.violations, result.violations
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": seconds,
        "memory": memory,
        "reading": reading(path, [table.name for table in tables]),
    }


def reading(path: str, names: list[str]) -> float:
    """Return how many seconds it takes to fetch every row by Python's own module."""
    connection = sqlite3.connect(path)
    begun = time.perf_counter()
    for name in names:
        cursor = connection.execute(f'SELECT * FROM "{name}"')
        while cursor.fetchmany(1000):
            pass
    return time.perf_counter() - begun


def main(directory: Path, sizes: list[int]) -> None:
    """Make each database, look at it in a process of its own, and print a line."""
    print("%12s %10s %10s %7s %8s" % ("log rows", "preflight", "reading", "ratio", "memory"))
    for size in sizes:
        path = directory / ("preflight-%d.db" % size)
        if not path.exists():
            generate = Path(__file__).with_name("generate.py")
            subprocess.run(
                [sys.executable, str(generate), str(path), str(size), str(size // 10)], check=True
            )
        said = subprocess.run(
            [sys.executable, __file__, "--look", str(path)], check=True, stdout=subprocess.PIPE
        ).stdout
        found = json.loads(said)
        print(
            "%12s %8.2f s %8.2f s %7.2f %5.0f MB"
            % (
                f"{size:,}",
                found["seconds"],
                found["reading"],
                found["seconds"] / found["reading"],
                found["memory"],
            )
        )


if __name__ == "__main__":
    if sys.argv[1] == "--look":
        json.dump(look(sys.argv[2]), sys.stdout)
    else:
        main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or list(SIZES))
