"""Shows where the seconds of ``db-migrate --catch-up --switch`` go, while Kallithea is stopped.

usage: downtime.py DIRECTORY [postgresql|mysql [ROWS]]

DIRECTORY, which must not be there, gets a real Kallithea with ROWS log rows (default: 1,000,000),
which is copied to a private server; then some rows are written, and the switch is timed. Run it
with the Python of the virtual environment that holds Kallithea and the tests' needs.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, NamedTuple, Sequence

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import make_instance  # noqa: E402
from servers.mariadb import MariaDB  # noqa: E402
from servers.postgresql import PostgreSQL  # noqa: E402

WIDTH = 40  # of the longest bar


class Run(NamedTuple):
    """A finished run: its report, seconds by step, and seconds of processor time."""

    report: dict[str, Any]
    steps: dict[str, float]
    processor: float

    @property
    def seconds(self) -> float:
        """The seconds from start to end."""
        return sum(self.steps.values())


def gearbox(ini: Path, *words: str) -> Run:
    """Run db-migrate, which must succeed; a step lasts until the next one is on standard error."""
    # The report is more than a pipe holds.
    with tempfile.TemporaryFile("w+") as report:
        return timed(ini, words, report)


def timed(ini: Path, words: Sequence[str], report: IO[str]) -> Run:
    """Run it, and look at its notes while it writes its report."""
    begun = time.perf_counter()
    before = os.times()
    process = subprocess.Popen(
        [str(BIN / "gearbox"), "db-migrate", "-c", str(ini), "--to", "file:url", "-f", "json"]
        + list(words),
        cwd=str(ini.parent),
        universal_newlines=True,
        stdout=report,
        stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    assert process.stderr
    seen: list[tuple[str, float]] = [("start, snapshot", begun)]
    notes = []
    for line in process.stderr:
        notes.append(line)
        if line.endswith(" ...\n"):
            seen.append((line[:-5], time.perf_counter()))
        elif line.startswith("---"):
            seen.append(("switch", time.perf_counter()))
    if process.wait():
        sys.exit("".join(notes))
    report.seek(0)
    after = os.times()
    processor = sum(after[2:4]) - sum(before[2:4])
    ends = [moment for _, moment in seen[1:]] + [time.perf_counter()]
    steps: dict[str, float] = {}
    for (name, start), end in zip(seen, ends):
        steps[name] = steps.get(name, 0) + end - start
    return Run(json.load(report), steps, processor)


def show(run: Run) -> None:
    """Print a bar for each step, and how every page was answered."""
    longest = max(run.steps.values())
    for name, seconds in run.steps.items():
        print("%-18s %6.1f s  %s" % (name, seconds, "#" * round(WIDTH * seconds / longest)))
    print("%-18s %6.1f s  %.1f s of processor time" % ("downtime", run.seconds, run.processor))
    for page in run.report["pages"]:
        print("    {}: {}".format(page["path"], page["not_compared"] or page["statuses"]))


def measure(directory: Path, server: Any, rows: int) -> None:
    """Make the instance, copy it, write to it, and switch."""
    ini = make_instance.make(directory, rows, front_end=False)
    (directory / "url").write_text(server.url("kallithea").replace("+pymysql", "") + "\n")
    copied = gearbox(ini)
    print(f"{rows:,} log rows; the copy, while Kallithea runs: {copied.seconds:.1f} s")
    with sqlite3.connect(str(directory / "kallithea.db")) as source:
        source.executescript(make_instance.WRITTEN_MEANWHILE)
    source.close()
    show(gearbox(ini, "--catch-up", "--switch"))


if __name__ == "__main__":
    made = Path(sys.argv[1]).absolute()
    if made.exists():
        sys.exit(f"{made} is there already")
    started: Any = {"postgresql": PostgreSQL, "mysql": MariaDB}[
        (sys.argv[2:] or ["postgresql"])[0]
    ]()
    try:
        started.start()
        measure(made, started, int(sys.argv[3]) if len(sys.argv) > 3 else 10**6)
    finally:
        started.remove()
        shutil.rmtree(str(made), ignore_errors=True)
