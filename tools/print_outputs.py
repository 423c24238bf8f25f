"""Prints anew what the documentation shows: real commands on a real instance, with private servers.

usage: print_outputs.py DIRECTORY reports|runbooks|tutorial|load

DIRECTORY, best /srv/kallithea, is where the instance is made, and must not be there. Run it on a
quiet machine with the Python of a virtual environment that holds Kallithea and the tests' needs;
DIRECTORY/venv becomes a link to that.
"""

from __future__ import annotations

import contextlib
import os
import pty
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
from terminal_picture import ESCAPE, draw  # noqa: E402

LOG_ROWS = 10**6
# A command of the tutorial, or several, and the file with what they print.
STEP = re.compile(r"::\n\n((?:    .+\n)+)\n\.\. literalinclude:: tutorial/(.+)\.txt")
# What is said below a table.
NOTE = re.compile(r"(?m)^Note: .*\n(?: {6}.*\n)*")
# The mistake that the tutorial begins with.
MISTAKE = re.compile(r"    (sed -i .+)\n")


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
    healthy = ini.read_text()
    plant_for_fix(ini)
    output = ROOT / "docs" / "runbooks" / "output" / "fix.txt"
    output.write_text(gearbox(ini, *words, "--fix", "CFG001,CFG004", "-y"))
    ini.write_text(healthy)
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


def on_terminal(directory: Path, command: str, hidden: str = "") -> str:
    """Run a command of the shell, and return its standard output on a terminal of 80 columns,
    colours included; the address `hidden` as ``localhost``.
    """
    leader, follower = pty.openpty()
    path = "{}:{}".format(directory / "venv" / "bin", os.environ["PATH"])
    process = subprocess.Popen(
        command,
        shell=True,
        cwd=str(directory),
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ, COLUMNS="80", TERM="xterm", PATH=path, PYTHONUNBUFFERED="1"),
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):
        # Linux says so when all that write have closed it.
        while True:
            shown += os.read(leader, 65536)
    os.close(leader)
    print(f"{command}: status {process.wait()}")
    text = shown.decode().replace("\r\n", "\n").replace(sys.prefix, str(directory / "venv"))
    return text.replace(hidden, "localhost") if hidden else text


class Installed(PostgreSQL):
    """PostgreSQL as a package sets it up: that of the tests would be reported for its haste."""

    def command(self) -> list[str]:
        """Return the server program with no option but where it is reached."""
        places = {"port": self.port, "unix_socket_directories": self.directory}
        options = [word for key, value in places.items() for word in ("-c", f"{key}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), *options]


def shortened(report: str) -> str:
    """Return the beginning of a report, with two findings, and its end."""
    areas, *findings = report.strip("\n").split("\n\n")
    return "\n\n".join([areas, *findings[:2], "...", findings[-1]])


def print_tutorial(directory: Path) -> None:
    """Carry out the tutorial, and draw its first report."""
    docs, server = ROOT / "docs", Installed()
    try:
        server.start()
        instance(directory, 3000)
        (directory / "url").write_text(server.url("kallithea") + "\n")
        (directory / "url").chmod(0o600)
        text = (docs / "tutorial.rst").read_text(encoding="utf-8")
        mistake = MISTAKE.search(text)
        assert mistake
        on_terminal(directory, mistake[1])
        for block, name in STEP.findall(text):
            command = re.sub("(?m)^    ", "", block).strip()
            # What is drawn to show the progress is in the first only, and is not kept.
            if name != "check":
                command = f"({command}) 2>&1 | cat"
            shown = on_terminal(directory, command, f"127.0.0.1:{server.port}")
            if name == "check":
                picture = docs / "images" / "report"
                draw("gearbox perf-check -c my.ini", shortened(shown), picture)
            output = docs / "tutorial" / f"{name}.txt"
            output.write_text(ESCAPE.sub("", shown), encoding="utf-8")
    finally:
        server.remove()


def curves_of(page: str) -> str:
    """Return a page that has the pictures of the throughput in two columns, and nothing else."""
    head = page[: page.index("</head>")]
    pictures = re.findall(r"(?s)<h2[^>]*>Load: (.*?)</h2>.*?(<svg.*?</svg>)", page)
    figures = [f"<div><h3>{title}</h3>{picture}</div>" for title, picture in pictures]
    grid = "display: grid; grid-template-columns: 1fr 1fr; gap: 1em"
    return f'{head}</head><body style="{grid}">{"".join(figures)}</body></html>'


def print_load(directory: Path) -> None:
    """Put the load on processes with SQLite and, in turns, with a copy in PostgreSQL, and on
    threads; for some 20 minutes.
    """
    reports, server = ROOT / "docs" / "reports", Installed()
    try:
        server.start()
        ini = instance(directory, 3000)
        (directory / "url").write_text(server.url("kallithea") + "\n")
        (directory / "url").chmod(0o600)
        gearbox(ini, "db-migrate", "-c", "my.ini", "--to", "file:url")
        words = ["--compare-db", "file:url", "--target-rate", "5", "--html", "load.html"]
        said = gearbox(ini, "perf-check", "-c", "my.ini", "--only", "WEB00[12]", "--load", *words)
        (reports / "load.txt").write_text(NOTE.sub("", said[said.index("\nprocesses\n") + 1 :]))
        page = directory / "curves.html"
        page.write_text(curves_of((directory / "load.html").read_text()))
        size, picture = "--window-size=1280,620", f"--screenshot={reports / 'load.png'}"
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", size, picture, page.as_uri()], check=True
        )
    finally:
        server.remove()


PRINTERS = {
    "reports": print_reports,
    "runbooks": print_runbooks,
    "tutorial": print_tutorial,
    "load": print_load,
}

if __name__ == "__main__":
    made = Path(sys.argv[1]).absolute()
    if made.exists():
        sys.exit(f"{made} is there already")
    try:
        PRINTERS[sys.argv[2]](made)
    finally:
        shutil.rmtree(str(made), ignore_errors=True)
