"""Prints anew what the documentation shows: real commands on a real instance, with private servers.

usage: print_outputs.py DIRECTORY reports|runbooks

DIRECTORY, best /srv/kallithea, is where the instance is made, and must not be there. Run it on a
quiet machine with the Python of a virtual environment that holds Kallithea and the tests' needs;
DIRECTORY/venv becomes a link to that.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import make_instance  # noqa: E402
from servers.mariadb import MariaDB  # noqa: E402
from servers.postgresql import PostgreSQL  # noqa: E402
from sick_instance import make_sick  # noqa: E402

LOG_ROWS = 10**6


def instance(directory: Path, log_rows: int) -> Path:
    """Make the instance and return its ini file."""
    ini = make_instance.make(directory, log_rows)
    (directory / "venv").symlink_to(sys.prefix)
    return ini


def gearbox(ini: Path, *words: str) -> str:
    """Run a command as an admin would, and return what the terminal shows; ports of private servers
    left out.
    """
    program, begun = ini.parent / "venv" / "bin", time.perf_counter()
    done = subprocess.run(
        [str(program / "python"), str(program / "gearbox"), *words],
        cwd=str(ini.parent),
        universal_newlines=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(os.environ, COLUMNS="80", PYTHONUNBUFFERED="1"),
    )
    print("%s: status %d, %.1f s" % (" ".join(words), done.returncode, time.perf_counter() - begun))
    return re.sub(r"127\.0\.0\.1:\d+", "localhost", done.stdout)


def plant_for_fix(ini: Path) -> None:
    """Set debug, and misspell three options."""
    text = ini.read_text()
    planted = "static_files = true\nstatic_filse = true\ndebug = true\ncache_dirr = x"
    text = text.replace("static_files = true", planted)
    ini.write_text(text.replace("\nthreads = 1", "\nthreads = 1\nchannel_timeot = 9"))


def print_reports(directory: Path) -> None:
    """Print what perf-check says of a healthy instance, of its cache, of planted faults as it fixes
    them, and of the same instance made sick.
    """
    ini, reports = instance(directory, 3000), ROOT / "docs" / "reports"
    words = ["perf-check", "-c", str(ini)]
    (reports / "healthy.txt").write_text(gearbox(ini, *words))
    (reports / "cache-effect.txt").write_text(gearbox(ini, *words, "--only", "CAC002", "--all"))
    plant_for_fix(ini)
    output = ROOT / "docs" / "runbooks" / "output" / "fix.txt"
    output.write_text(gearbox(ini, *words, "--fix", "CFG001,CFG004", "-y"))
    make_sick(ini)
    (reports / "sick.txt").write_text(gearbox(ini, *words))


def print_runbooks(directory: Path) -> None:
    """Print the steps of the runbooks: from SQLite to PostgreSQL, on to MariaDB, and back."""
    servers: list[Any] = [PostgreSQL(), MariaDB()]
    try:
        for server in servers:
            server.start()
        ini = instance(directory, LOG_ROWS)
        # As Kallithea's ini file has it, and so with mysqlclient.
        postgresql, mariadb = (
            server.url("kallithea").replace("+pymysql", "") for server in servers
        )
        steps: list[tuple[str, str, list[str]]] = [
            ("plan", postgresql, ["--dry-run"]),
            ("copy", postgresql, []),
            ("refused", postgresql, ["--switch"]),
            ("switch", postgresql, ["--catch-up", "--switch"]),
            ("to-mariadb", mariadb, ["--switch"]),
            ("back", "sqlite:///{}".format(directory / "back.db"), ["--switch"]),
        ]
        for name, url, words in steps:
            if name == "refused":
                with sqlite3.connect(str(directory / "kallithea.db")) as source:
                    source.executescript(make_instance.WRITTEN_MEANWHILE)
            (directory / "url").write_text(url + "\n")
            said = gearbox(ini, "db-migrate", "-c", "my.ini", "--to", "file:url", *words)
            (ROOT / "docs" / "runbooks" / "output" / (name + ".txt")).write_text(said)
    finally:
        for server in servers:
            server.remove()


if __name__ == "__main__":
    made = Path(sys.argv[1]).absolute()
    if made.exists():
        sys.exit(f"{made} is there already")
    try:
        {"reports": print_reports, "runbooks": print_runbooks}[sys.argv[2]](made)
    finally:
        shutil.rmtree(str(made), ignore_errors=True)
