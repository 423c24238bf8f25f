"""What replaces and limits processes: by tables, with real processes, and with the remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from carry_out import carry_out
from servers.application import Kallithea

from kallithea_tune.config.instance import load
from kallithea_tune.config.wsgi_server import Server, mod_wsgi
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.servers.processes import Worker
from kallithea_tune.perf_check.servers.served import Served, Servers
from kallithea_tune.perf_check.serving.recycling_checks import recycling
from kallithea_tune.system.processes import Process

OK, ADVICE, WARNING, ERROR = Severity.ok, Severity.advice, Severity.warning, Severity.error


def judged(server: Server, *workers: Worker) -> "list[Finding]":
    return list(recycling.judge(Servers((Served(server, workers),))))


@pytest.mark.parametrize(
    "kind, options, severity, words",
    [
        ("gunicorn", {"max_requests": "1000"}, OK, ""),
        ("gunicorn", {"max_requests": "0"}, OK, ""),
        ("gunicorn", {"max_requests": "10"}, WARNING, "set max_requests = 1000 in [server:main]"),
        ("gunicorn", {"reload": "true"}, WARNING, "remove reload in [server:main]"),
        ("uwsgi", {"max-requests": "1"}, WARNING, "set max-requests = 1000"),
        ("uwsgi", {"max-worker-lifetime": "60"}, ADVICE, "max-worker-lifetime = 3600"),
        ("uwsgi", {"reload-on-rss": "64"}, WARNING, "reload-on-rss = 1000"),
        ("uwsgi", {"reload-on-rss": "512"}, OK, ""),
        ("uwsgi", {"evil-reload-on-rss": "64"}, ERROR, "evil-reload-on-rss = 1000"),
        ("uwsgi", {"limit-as": "200"}, ERROR, "limit-as = 2000"),
        ("uwsgi", {"py-autoreload": "1"}, WARNING, "remove py-autoreload"),
        ("waitress", {"channel_timeout": "5"}, WARNING, "channel_timeout = 120"),
        ("waitress", {"channel_timeout": "120"}, OK, ""),
    ],
)
def test_settings(kind: str, options: Mapping[str, str], severity: Severity, words: str) -> None:
    (finding,) = judged(Server(kind, kind, options=options))
    assert finding.severity is severity and words in str(finding.remedy)
    assert finding.confidence == "low"


def test_mod_wsgi() -> None:
    options = {"maximum-requests": "5", "inactivity-timeout": "60", "threads": "1"}
    requests, idle = judged(mod_wsgi(options, "WSGIDaemonProcess of /k.conf"))
    assert requests.impact_ms == 240 and "maximum-requests = 1000" in str(requests.remedy)
    assert "after 5 requests" in requests.diagnosis and idle.severity is ADVICE


@pytest.mark.parametrize(
    "kind, limit, severity", [("waitress", 100, WARNING), ("gunicorn", 100, OK)]
)
def test_open_files(kind: str, limit: int, severity: Severity) -> None:
    worker = Worker(Process(7, 1, (kind,)), open_files=limit)
    (finding,) = judged(Server(kind, kind), worker)
    assert (finding.severity, finding.confidence) == (severity, "high")


def test_what_a_process_takes_counts_more_than_what_is_usual() -> None:
    worker = Worker(Process(7, 1, ("uwsgi",)), resident=600_000_000)
    (finding,) = judged(Server("uwsgi", "", "[uwsgi]", options={"reload-on-rss": "512"}), worker)
    assert finding.severity is WARNING and "takes 600 MB" in finding.diagnosis


@pytest.mark.parametrize(
    "server, line",
    [
        ("gunicorn", "max_requests = 5"),
        ("gunicorn", "reload = true"),
        ("waitress", "channel_timeout = 5"),
        ("uwsgi", "evil-reload-on-rss = 50"),
        ("uwsgi", "max-worker-lifetime = 30  ; seconds"),
    ],
)
def test_the_remedies_remove_what_they_are_for(tmp_path: Path, server: str, line: str) -> None:
    ini = tmp_path / "my.ini"
    section = "[uwsgi]" if server == "uwsgi" else f"[server:main]\nuse = egg:{server}#main"
    ini.write_text(
        f"{section}\n{line}\n[app:main]\nuse = egg:kallithea\nsqlalchemy.url = sqlite://\n"
    )

    def found() -> Finding:
        (finding,) = recycling.findings(Context(load(str(ini)), Deadline(60)))
        return finding

    before = found()
    carry_out(before.remedy, ini)
    assert before.severity >= ADVICE and found().severity is OK


def test_a_real_limit_of_open_files(instance: Path, edit: Callable[[Path, str, str], None]) -> None:
    class Limited(Kallithea):
        def command(self) -> "list[str]":
            return ["prlimit", "--nofile=128", *super().command()]

    server = Limited(instance)

    def found() -> Any:
        (finding,) = recycling.findings(Context(load(str(instance)), Deadline(60)))
        return finding

    try:
        server.start()
        before = found()
        edit(instance, "threads = 1\n", "threads = 1\nconnection_limit = 20\n")
        after = found()
    finally:
        server.remove()
    assert before.severity is WARNING and before.evidence["limit"] == 128
    assert after.severity is OK and after.confidence == "high"
