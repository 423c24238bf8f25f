"""What preflight takes, against reading the same rows: processor time of all and of each rule, and
memory, as the database grows.

usage: preflight.py DIRECTORY [LOG_ROWS ...]

Without numbers 10,000, 100,000 and 1,000,000 log rows. Run it with the Python of the virtual
environment that holds Kallithea. The target is another SQLite database with the limits of
PostgreSQL, so that no server is needed.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

SIZES = (10_000, 100_000, 1_000_000)


def taken(work: Callable[[], Any]) -> float:
    """Return the seconds of processor time, user and system, that a function takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def look(path: str) -> dict[str, Any]:
    """Look through one database, and read all of its rows; return seconds of both, of each rule
    alone, and peak memory in megabytes.
    """
    from kallithea.model import db, meta

    from kallithea_tune.db_migrate import connect, schema
    from kallithea_tune.db_migrate.engines import engine_class, engine_for
    from kallithea_tune.db_migrate.engines.base.violation_sql import Tests
    from kallithea_tune.db_migrate.preflight.conditions import Scope, conditions
    from kallithea_tune.db_migrate.preflight.preflight import Preflight
    from kallithea_tune.db_migrate.preflight.scan import Scan

    assert db.User
    engine = connect.source_engine("sqlite:///" + path)
    source, target = (engine_for(engine.connect()) for _ in range(2))
    source.reader.begin_snapshot()
    tables = schema.ordered(meta.Base.metadata)
    copies = schema.for_target(tables, target.writer, meta.Base.metadata)
    target.column_limits_class = engine_class("postgresql").column_limits_class
    targets = [copies.tables[table.name] for table in tables]
    preflight = Preflight(source, target, tables, targets)

    def find_nothing() -> None:
        assert not preflight.run({}).violations

    seconds = taken(find_nothing)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rules: dict[str, float] = {}
    scope = Scope.of(source, target, tables, targets)
    for table in tables:
        scan, every = Scan(scope, table), conditions(scope, table, scope.limits(table.name))
        for name in dict.fromkeys(item.rule.name for item in every):
            of_rule = [item for item in every if item.rule.name == name]
            rules[name] = rules.get(name, 0) + taken(lambda: scan.violations(of_rule))  # noqa: B023
        rules["(none)"] = rules.get("(none)", 0) + taken(
            lambda: scope.violation_sql.suspects(table, Tests(["0"]))  # noqa: B023
        )
    names = [table.name for table in tables]
    return {
        "seconds": seconds,
        "memory": memory,
        "reading": taken(lambda: reading(path, names)),
        "rules": rules,
    }


def reading(path: str, names: list[str]) -> None:
    """Fetch every row by Python's own module."""
    connection = sqlite3.connect(path)
    for name in names:
        cursor = connection.execute(f'SELECT * FROM "{name}"')
        while cursor.fetchmany(1000):
            pass


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
        for name, seconds in sorted(found["rules"].items(), key=lambda item: -item[1]):
            print("%31s %8.2f s alone" % (name, seconds))


if __name__ == "__main__":
    if sys.argv[1] == "--look":
        json.dump(look(sys.argv[2]), sys.stdout)
    else:
        main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or list(SIZES))
