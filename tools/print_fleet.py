"""Prints anew what the documentation shows of several machines: three of them in namespaces, with
PostgreSQL and RabbitMQ, and the page of their report with its picture.

usage: print_fleet.py DIRECTORY

DIRECTORY, best /srv/kallithea, is where the instance is made, and must not be there. Run it as
root on a quiet machine with the Python of a virtual environment that holds Kallithea and what the
tests need.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import make_instance  # noqa: E402
from environment import BIN  # noqa: E402
from servers.browser import Browser  # noqa: E402
from servers.fleet import Machine, Worker  # noqa: E402
from servers.pair import set_in  # noqa: E402
from servers.postgresql import PostgreSQL  # noqa: E402
from servers.rabbitmq import RabbitMQ  # noqa: E402

REPORTS = ROOT / "docs" / "reports"


def gearbox(*words: object) -> str:
    """Run a command and return what a terminal shows; ports of private servers left out."""
    done = subprocess.run(
        [str(BIN / "gearbox"), *map(str, words)],
        universal_newlines=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(os.environ, COLUMNS="80", PYTHONUNBUFFERED="1"),
    )
    print(f"{' '.join(map(str, words))}: status {done.returncode}")
    return shown(re.sub(r"127\.0\.0\.1:\d+", "localhost", done.stdout))


def shown(text: str) -> str:
    """Return a text with the environment, and our home, where the documentation has them."""
    text = text.replace(sys.prefix, "/srv/kallithea/venv")
    return text.replace(f"{Path.home()}/", "/srv/kallithea/")


def started(stack: ExitStack, server: Any) -> Any:
    """Start a server that is removed at the end."""
    stack.callback(server.remove)
    server.start()
    return server


def inis(ini: Path, database: PostgreSQL, broker: RabbitMQ) -> "list[Path]":
    """Move the instance to the server, and return an ini file for each machine; the third one has
    another secret and another directory of the index.
    """
    url = ini.with_name("url")
    url.write_text(database.url("fleet") + "\n")
    url.chmod(0o600)
    gearbox("db-migrate", "-c", ini, "--to", f"file:{url}", "--switch", "-y")
    set_in(
        ini,
        use_celery="true",
        celery__broker_url=broker.url,
        celery__include="kallithea_tune.fleet",
    )
    copies = [ini.with_name(f"web{number}.ini") for number in (1, 2, 3)]
    for number, copy in enumerate(copies, 1):
        text = ini.read_text()
        copy.write_text(re.sub("(?m)^host = .*", f"host = 127.0.0.1{number}", text))
    set_in(copies[2], session__secret="forgotten-to-copy", index_dir="%(here)s/index-of-web3")
    return copies


def main() -> None:
    """Make the machines, and write text, page and picture."""
    directory = Path(sys.argv[1])
    ini = make_instance.make(directory, 1000)
    with ExitStack() as stack:
        database, broker = started(stack, PostgreSQL()), started(stack, RabbitMQ())
        copies = inis(ini, database, broker)
        for number, copy in enumerate(copies, 1):
            started(stack, Machine(copy, None, number))
            started(stack, Worker(copy, f"web{number}"))
        given = [word for copy in copies for word in ("-c", copy)]
        text = gearbox("perf-check", *given, "--only", "scaling")
        (REPORTS / "several.txt").write_text(text)
        page = REPORTS / "fleet.html"
        words = ("perf-check", "-c", copies[0], "--fleet", "--html", page)
        (REPORTS / "fleet.txt").write_text(gearbox(*words))
        page.write_text(shown(page.read_text()))
        browser = started(stack, Browser())
        browser.open(page.as_uri())
        browser.screenshot(REPORTS / "fleet.png")


if __name__ == "__main__":
    main()
