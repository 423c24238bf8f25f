"""The matrix of planted states: what an admin may meet, and what perf-check reports of it.

usage: planted [-b BUDGET] [INSTANCE [PATTERN ...]]

INSTANCE is a directory that tools/make_instance.py made; by default one is made. Each state is
planted into a copy of it, and all checks run. Prints a table in reStructuredText: the state, the
checks that report it, and the seconds. First come the healthy instances, quiet and with all cores
busy: what they report is false. Run it with the Python that has Kallithea; as root, for some states
need a file system of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT)]

import databases  # noqa: E402
import files  # noqa: E402, F401
import make_instance  # noqa: E402
import repositories  # noqa: E402, F401
import services  # noqa: E402
import settings  # noqa: E402, F401
from state import BIN, STATES, Planted, State, copied  # noqa: E402

LEVELS = ("ok", "unknown", "advice", "warning", "error")
WIDTHS = (66, 8, 60, 7)


@dataclass(frozen=True)
class Result:
    """What a run reported: the worst level of each check, its notes, and how long it took."""

    levels: dict[str, str]
    seconds: float

    def at_least(self, level: str) -> set[str]:
        """Return the checks that report `level` or worse."""
        least = LEVELS.index(level)
        return {check for check, found in self.levels.items() if LEVELS.index(found) >= least}


def measured(ini: Path, budget: float) -> Result:
    """Run all checks as an admin does."""
    started = time.monotonic()
    done = subprocess.run(
        [str(BIN / "gearbox"), "perf-check", "-c", str(ini), "-f", "json", f"--budget={budget:g}"],
        cwd="/",
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode in (0, 1, 5), done
    levels: dict[str, str] = {}
    for finding in json.loads(done.stdout):
        before = levels.get(finding["check"], "ok")
        levels[finding["check"]] = max(before, finding["severity"], key=LEVELS.index)
    return Result(levels, time.monotonic() - started)


def _on(move: Callable[[Planted], object]) -> Callable[[Planted], None]:
    def prepare(planted: Planted) -> None:
        move(planted)
        services.serve(planted)

    return prepare


HEALTHY: dict[str, Callable[[Planted], None]] = {
    "SQLite, not running": lambda planted: None,
    "SQLite": services.serve,
    "SQLite, RabbitMQ and a worker": services.with_worker,
    "PostgreSQL": _on(databases.on_postgresql),
    "MariaDB": _on(databases.on_mariadb),
}


def _burn() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Keep all cores busy."""
    burning = [multiprocessing.Process(target=_burn) for _ in os.sched_getaffinity(0)]
    for process in burning:
        process.start()
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.join()


def row(*cells: str) -> None:
    """Print a row of the table at once: the next may take a minute."""
    print("  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS)).rstrip(), flush=True)


def line() -> None:
    """Print a border of the table."""
    row(*("=" * width for width in WIDTHS))


def healthy_rows(pristine: Path, budget: float) -> None:
    """Print what the healthy instances report."""
    for name, prepare in HEALTHY.items():
        with tempfile.TemporaryDirectory() as place:
            planted = copied(pristine, Path(place) / "instance")
            with planted.stack:
                planted.use_gunicorn("workers = 3", "timeout = 3600")
                prepare(planted)
                quiet = measured(planted.ini, budget)
                with busy_cores():
                    busy = measured(planted.ini, budget)
        for result, load in ((quiet, "quiet"), (busy, "all cores busy")):
            false = sorted(result.at_least("warning"))
            text = f"{len(result.at_least('advice')) - len(false)} advised"
            row(
                f"healthy: {name}, {load}",
                "FALSE" if false else "none",
                " ".join(false) or text,
                f"{result.seconds:.0f}",
            )


def state_row(state: State, pristine: Path, unspoilt: Result, budget: float) -> None:
    """Plant one state, and print whether it was found."""
    with tempfile.TemporaryDirectory() as place:
        planted = copied(pristine, Path(place) / "instance")
        with planted.stack:
            state.plant(planted)
            result = measured(planted.ini, budget)
    level = "advice" if state.advice else "warning"
    new = result.at_least("advice") - unspoilt.at_least("advice")
    found = result.at_least(level) & set(state.finds) & new
    others = sorted(new - found)
    text = " ".join(f"{check} {result.levels[check]}" for check in sorted(found))
    if others:
        text += f"{' ' if text else ''}({' '.join(others)})"
    row(state.name, "found" if found else "MISSED", text, f"{result.seconds:.0f}")


def main() -> None:
    """Print the matrix."""
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("usage: ")[1].split("\n")[0])
    parser.add_argument("-b", "--budget", type=float, default=30.0)
    parser.add_argument("instance", nargs="?", type=Path)
    parser.add_argument("patterns", nargs="*", default=["*"])
    args = parser.parse_args()
    chosen = [
        state
        for state in STATES
        if any(fnmatch.fnmatchcase(state.plant.__name__, item) for item in args.patterns)
    ]
    with tempfile.TemporaryDirectory() as place:
        pristine = args.instance or make_instance.make(Path(place) / "instance").parent
        line()
        row("State", "Verdict", "Checks (others that report something new)", "Seconds")
        line()
        if args.patterns == ["*"]:
            healthy_rows(pristine, args.budget)
        unspoilt = measured(copied(pristine, Path(place) / "unspoilt").ini, args.budget)
        for state in chosen:
            try:
                state_row(state, pristine, unspoilt, args.budget)
            except Exception as error:  # The others are still of interest.
                row(state.name, "FAILED", f"{type(error).__name__}: {error}"[:200], "")
        line()


if __name__ == "__main__":
    main()
