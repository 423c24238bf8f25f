"""Shared connections: judged by tables, and found in real servers under load."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import socket
import subprocess
from concurrent import futures
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from servers.application import Kallithea
from servers.server import Server as Program

from kallithea_tune.config.wsgi_server import Server
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.servers.processes import Worker
from kallithea_tune.perf_check.servers.served import Served, Servers
from kallithea_tune.perf_check.serving.shared_connections_checks import (
    judge_configured,
    judge_running,
)
from kallithea_tune.system.processes import Process, Socket

DATABASE = Socket(7, listens=False, port=40000, remote="127.0.0.1:5432")
LISTENER = Socket(8, listens=True, port=5000)
CLIENT = Socket(9, listens=False, port=5000, remote="127.0.0.1:51000")
JOURNAL = Socket(10, listens=False, remote="/run/systemd/journal/stdout")
PAIR = Socket(11, listens=False)
GUNICORN = Server("gunicorn", "egg:gunicorn#main", processes=3, options={"port": "5000"})


def held(pid: int, *sockets: Socket) -> Worker:
    numbered = {str(number): item for number, item in enumerate(sockets, 3)}
    return Worker(Process(pid, 1, ("gearbox",)), sockets=numbered)


@pytest.mark.parametrize(
    "workers, severity",
    [
        ([held(2, DATABASE), held(3, DATABASE)], Severity.error),
        ([held(2, DATABASE), held(3)], Severity.warning),
        ([held(2), held(3)], Severity.ok),
        ([Worker(Process(2, 1, ("gearbox",)))], Severity.unknown),
    ],
)
def test_connections_of_the_master(workers: "list[Worker]", severity: Severity) -> None:
    master = held(1, DATABASE, LISTENER)
    served = Served(GUNICORN, tuple(workers), (master,))
    assert judge_running(served, Servers((served,), ini="/my.ini")).severity is severity


def test_what_is_shared_by_intention_is_no_connection() -> None:
    sockets = (LISTENER, CLIENT, JOURNAL, PAIR)
    served = Served(GUNICORN, (held(2, *sockets), held(3, *sockets)), (held(1, *sockets),))
    assert judge_running(served, Servers((served,))).severity is Severity.ok


@pytest.mark.parametrize("pooled, processes, found", [(True, 3, 1), (True, 1, 0), (False, 3, 0)])
def test_what_is_only_configured(pooled: bool, processes: int, found: int) -> None:
    served = Served(Server("gunicorn", "", processes=processes))
    findings = list(judge_configured(served, Servers((served,), pooled=pooled)))
    assert [finding.confidence for finding in findings] == ["low"] * found


class Gunicorn(Program):
    """What a remedy has a service run."""

    account = "root"

    def __init__(self, command: "list[str]", port: int) -> None:
        super().__init__()
        self._command, self.port = command, port

    def command(self) -> "list[str]":
        return self._command

    def ready(self) -> bool:
        return self.answers("/_admin/api")


def statuses(port: int, count: int, clients: int) -> "dict[int, int]":
    """Request the front page from several clients at once; return how often each status came."""

    def one(number: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        finally:
            connection.close()

    with futures.ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(one, range(count)))
    return {status: found.count(status) for status in set(found)}


@pytest.mark.once
def test_workers_of_gunicorn_share_connections_until_each_loads_the_application(
    instance: Path,
    gearbox: Callable[..., "subprocess.CompletedProcess[str]"],
    edit: Callable[[Path, str, str], None],
    postgresql: Any,
) -> None:
    url = postgresql.url("shared")
    gearbox("db-migrate", "-c", instance, "--to", url, "-y", check=True)
    text = re.sub(r"(?m)^sqlalchemy\.url = .*", f"sqlalchemy.url = {url}", instance.read_text())
    instance.write_text(text.replace("max_request_body_size = 107374182400\n", "timeout = 3600\n"))
    edit(instance, "use = egg:waitress#main", "use = egg:gunicorn#main\nworkers = 3")

    def finding() -> Mapping[str, Any]:
        done = gearbox("perf-check", "-c", instance, "--only", "WEB011", "-f", "json")
        (found,) = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    configured = finding()
    assert (configured["severity"], configured["confidence"]) == ("warning", "low")
    server: Program = Kallithea(instance)
    try:
        server.start()
        found = finding()
    finally:
        server.remove()
    assert (found["severity"], found["confidence"]) == ("error", "high")
    assert len(found["evidence"]["processes"]) == 4
    assert found["evidence"]["connections"][0] == f"127.0.0.1:{postgresql.port}"
    command = shlex.split(found["remedy"].partition("service run: ")[2])
    assert "--timeout" in command and f"127.0.0.1:{server.port}" in command
    server = Gunicorn(command, server.port)
    try:
        server.start()
        answers = statuses(server.port, 60, 6)
        after = finding()
    finally:
        server.remove()
    assert answers == {200: 60}
    assert (after["severity"], after["confidence"]) == ("ok", "high")
    assert url.partition("@")[0] not in str([configured, found, after])


APPLICATION = """
import socket
connection = socket.create_connection(("127.0.0.1", %d))


def application(environ, start_response):
    start_response("200 OK", [])
    return [b"answer"]
"""


@pytest.mark.slow
def test_workers_of_uwsgi_share_connections_unless_they_load_lazily(
    tmp_path: Path, gearbox: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    from carry_out import carry_out

    from kallithea_tune.config.instance import load
    from kallithea_tune.perf_check.servers.processes import look
    from kallithea_tune.perf_check.servers.served import grouped

    ini = tmp_path / "my.ini"

    class UWSGI(Program):
        account = "root"

        def command(self) -> "list[str]":
            return ["uwsgi", "--plugin", "python3", "--die-on-term", "--ini", str(ini)]

        def ready(self) -> bool:
            return self.answers("/")

    def judged() -> Finding:
        with_settings = load(str(ini))
        (served,) = grouped(look(str(ini)), with_settings)
        return judge_running(served, Servers((served,), ini=str(ini), pooled=True))

    with socket.create_server(("127.0.0.1", 0)) as database:
        (tmp_path / "app.py").write_text(APPLICATION % database.getsockname()[1])
        server = UWSGI()
        ini.write_text(
            "[app:main]\nuse = egg:kallithea\nsqlalchemy.url = postgresql://a@b/c\n"
            f"[uwsgi]\nwsgi-file = {tmp_path}/app.py\nmaster = true\nworkers = 2\n"
            f"http-socket = 127.0.0.1:{server.port}\nauto-procname = true\n"
        )
        try:
            server.start()
            before = judged()
            server.stop()
            carry_out(before.remedy, ini)
            server.start()
            after = judged()
        finally:
            server.remove()
    assert before.severity is Severity.error and after.severity is Severity.ok
    assert str(before.remedy) == "set lazy-apps = true in [uwsgi]"
