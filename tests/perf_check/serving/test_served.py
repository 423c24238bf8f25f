"""Which processes serve an ini file, and with which settings: with real processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from servers.application import Kallithea

from kallithea_tune.config.instance import load
from kallithea_tune.config.wsgi_server import UNLIMITED
from kallithea_tune.perf_check.servers.processes import look
from kallithea_tune.perf_check.servers.served import Served, grouped

PROGRAM = """#!%s
import sys, threading
for _ in range(%d):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
INI = """[app:main]
use = egg:kallithea
sqlalchemy.url = sqlite://
[server:main]
use = egg:waitress#main
threads = 1
[server:prod]
use = egg:waitress#main
threads = 10
"""


@contextlib.contextmanager
def running(place: Path, words: "list[str]", threads: int = 0) -> Iterator[None]:
    """Run something that is called like a server, in the directory of the ini file."""
    program = place / "bin" / words[0]
    program.parent.mkdir(exist_ok=True)
    program.write_text(PROGRAM % (sys.executable, threads))
    program.chmod(0o755)
    process = subprocess.Popen(
        [str(program), *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=str(place)
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    try:
        yield
    finally:
        process.communicate()


def found(ini: Path) -> "list[Served]":
    return list(grouped(look(str(ini)), load(str(ini))))


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    path = tmp_path / "my.ini"
    path.write_text(INI)
    (tmp_path / "gunicorn.py").write_text("workers = 3\nthreads = 4\n")
    (tmp_path / "unread.py").write_text("import os\nworkers = os.cpu_count()\n")
    (tmp_path / "uwsgi.ini").write_text(f"[uwsgi]\nini-paste = {path}\nthreads = 5\n")
    return path


@pytest.mark.parametrize(
    "line, section, threads, seconds",
    [
        ("gearbox serve -c my.ini", "[server:main]", 1, ""),
        ("gearbox serve -c ./my.ini --server-name prod", "[server:prod]", 10, ""),
        ("gearbox serve -c my.ini -s gevent", "the command line", UNLIMITED, ""),
        ("pserve my.ini --server-name=prod", "[server:prod]", 10, ""),
        # The section is not read, so that gunicorn's own timeout counts.
        ("gunicorn --paste my.ini --workers 3", "gunicorn's command line", 1, "30"),
        ("gunicorn --paste my.ini -c gunicorn.py -t 60", "gunicorn's command line", 4, "60"),
        ("gunicorn --paste my.ini -c unread.py", "gunicorn's command line", None, ""),
        ("gunicorn --paste my.ini -k gevent", "gunicorn's command line", 1000, ""),
        ("uwsgi --ini-paste my.ini --threads 2", "[uwsgi]", 2, ""),
        ("uwsgi --ini uwsgi.ini", "uwsgi.ini", 5, ""),
    ],
)
def test_the_settings_of_what_runs(
    ini: Path, line: str, section: str, threads: object, seconds: str
) -> None:
    with running(ini.parent, line.split()):
        (served,) = found(ini)
    assert served.server.section.endswith(section) and served.server.threads == threads
    assert len(served.workers) == 1 and not served.masters
    if seconds.isdigit():
        assert served.server.request_seconds == int(seconds)


@pytest.mark.parametrize(
    "line", ["gearbox serve -c other.ini", "gearbox perf-check -c my.ini", "uwsgi --ini else.ini"]
)
def test_what_serves_another_ini_file_or_nothing(ini: Path, line: str) -> None:
    ini.with_name("other.ini").write_text(INI)
    ini.with_name("else.ini").write_text("[uwsgi]\nini-paste = /srv/other.ini\n")
    with running(ini.parent, line.split()):
        assert found(ini) == []


def test_what_is_no_file_is_not_opened(
    ini: Path,
) -> None:
    # A FIFO blocks who opens it, and a device may do something.
    os.mkfifo(str(ini.with_name("fifo.py")))
    with running(ini.parent, ["gunicorn", "--paste", "my.ini", "-c", "fifo.py"]):
        (served,) = found(ini)
    assert served.server.threads is None


def test_daemon_processes_of_mod_wsgi(ini: Path) -> None:
    (ini.parent / "dispatch.wsgi").write_text(f"ini = '{ini}'\n")
    (ini.parent / "apache.conf").write_text(
        "WSGIDaemonProcess kallithea threads=15\n"
        f"WSGIScriptAlias / {ini.parent}/dispatch.wsgi process-group=kallithea\n"
    )
    script = "import sys; print('ready', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        ["(wsgi:kallithea)", "-c", script],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    try:
        (served,) = found(ini)
    finally:
        process.communicate()
    assert (served.server.kind, served.server.threads) == ("mod_wsgi", 15)
    assert [worker.pid for worker in served.workers] == [process.pid]


def test_the_section_that_runs_is_judged_and_its_remedy_helps(
    instance: Path,
    edit: Callable[[Path, str, str], None],
) -> None:
    from carry_out import carry_out

    from kallithea_tune.perf_check.measurement import Context, Deadline
    from kallithea_tune.perf_check.serving.wsgi_server_checks import threads

    def judged() -> Any:
        (finding,) = threads.findings(Context(load(str(instance)), Deadline(60)))
        return finding

    idle = judged()
    assert (idle.severity.name, idle.confidence) == ("ok", "low")
    text = instance.read_text()
    instance.write_text(
        text + "\n[server:prod]\nuse = egg:waitress#main\nhost = 127.0.0.1\nthreads = 10\n"
    )

    class Prod(Kallithea):
        def command(self) -> "list[str]":
            return [*super().command(), "--server-name", "prod"]

    server = Prod(instance)
    edit(instance, "threads = 10\n", f"threads = 10\nport = {server.port}\n")
    try:
        server.start()
        before = judged()
        server.stop()
        carry_out(before.remedy, instance)
        server.start()
        after = judged()
    finally:
        server.remove()
    assert (before.severity.name, before.confidence, before.subject) == (
        "error",
        "high",
        "[server:prod]",
    )
    assert before.evidence["threads_seen"] == 10
    assert (after.severity.name, after.confidence) == ("ok", "high")
