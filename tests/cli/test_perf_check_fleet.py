"""``perf-check --fleet`` with three workers in namespaces of their own."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from environment import BIN
from servers.pair import set_in
from servers.server import Server

pytestmark = pytest.mark.once
Run = Callable[..., "subprocess.CompletedProcess[str]"]
SECRET = "fl33t-s3cret"


class Worker(Server):
    """A Celery worker with host name and process ids of its own."""

    account = "root"
    stop_signal = signal.SIGKILL  # to unshare, with which all in its namespace dies

    def __init__(self, ini: Path, host: str, *words: str) -> None:
        super().__init__()
        self.ini, self.host, self.words = ini, host, words

    def command(self) -> "list[str]":
        """Return celery-run in namespaces."""
        run = [str(BIN / "kallithea-cli"), "celery-run", "-c", str(self.ini), "--", "-l", "INFO"]
        inside = f'hostname {self.host} && exec "$@"'
        return [
            *["unshare", "-m", "-u", "-p", "-f", "--mount-proc", "--kill-child"],
            *["sh", "-ec", inside, "sh", "env", f"HOME={self.directory}", *run, "-c", "1"],
            *self.words,
        ]

    def ready(self) -> bool:
        """Tell whether it waits for tasks."""
        return " ready." in self.log.read_text(errors="replace")


@pytest.fixture
def ini(instance: Path, rabbitmq: Any) -> Path:
    """An ini file whose workers load the plug-in."""
    set_in(
        instance,
        use_celery="true",
        celery__broker_url=rabbitmq.url,
        celery__include="kallithea_tune.fleet",
        session__secret=SECRET,
    )
    return instance


@pytest.fixture
def started() -> "Iterator[Callable[..., Worker]]":
    """Start workers; all are stopped at the end."""
    workers: "list[Worker]" = []

    def start(ini: Path, host: str, *words: str) -> Worker:
        worker = Worker(ini, host, *words)
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.remove()


def test_three_machines_report_and_one_without_the_plug_in_is_listed(
    ini: Path, perf_check: Run, started: "Callable[..., Worker]", tmp_path: Path
) -> None:
    for host in ("web1", "web2", "web3"):
        started(ini, host)
    bare = ini.with_name("bare.ini")
    bare.write_text(ini.read_text().replace("celery.include", "#celery.include"))
    started(bare, "bare")
    page = tmp_path / "page.html"
    words = ["-c", ini, "--fleet", "--only", "CFG*", "--only", "CEL00[45]", "--only", "MEM*"]
    done = perf_check(*words, "-f", "json", "--html", page)
    print(done.stdout[-1500:], done.stderr)
    rows = json.loads(done.stdout)
    found = {(row["instance"], row["machine"]) for row in rows}
    assert found == {
        ("my.ini", ""),
        *(("my.ini", f"web{n}") for n in (1, 2, 3)),
        ("", "celery@bare"),
    }
    (silent,) = [row for row in rows if row["machine"] == "celery@bare"]
    assert silent["severity"] == "unknown" and "celery.include does not load" in silent["diagnosis"]
    assert SECRET not in done.stdout + done.stderr + page.read_text()
    assert done.returncode in (1, 5)
    text = perf_check(*words)
    print(text.stdout)
