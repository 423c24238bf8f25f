"""Remedies of settings, carried out on real ini files: the finding is gone, and it still loads."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from carry_out import carry_out
from servers.application import Kallithea

from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Check, Finding, Severity
from kallithea_tune.perf_check.serving.limits_checks import limits
from kallithea_tune.perf_check.serving.processes_checks import process_count
from kallithea_tune.perf_check.serving.wsgi_server_checks import debug, instance_id, threads

WAITRESS = "use = egg:waitress#main\n"
GUNICORN = "use = egg:gunicorn#main\ntimeout = 3600\n"


def faults(check: Check, ini: Path) -> "list[Finding]":
    found = check.findings(Context(load(str(ini)), Deadline(60)))
    return [finding for finding in found if finding.severity > Severity.unknown]


@pytest.mark.parametrize(
    "check, server",
    [
        (threads, f"{WAITRESS}threads = 10"),
        (threads, f"{GUNICORN}threads = 3"),
        (threads, f"{GUNICORN}worker_class = gevent"),
        (threads, "use = egg:gearbox#gevent"),
        (threads, "use = egg:gearbox#cherrypy\nnumthreads = 5"),
        (threads, "use = egg:gearbox#wsgiref\nwsgiref.threaded = true"),
        (process_count, f"{GUNICORN}workers = 1"),
        (process_count, f"{GUNICORN}workers = 90"),
        (limits, f"{WAITRESS}max_request_header_size = 9000\nmax_request_body_size = 1000"),
        (limits, f"{GUNICORN}limit_request_fields = 20\nlimit_request_field_size = 500"),
        (limits, "use = egg:gunicorn#main"),
    ],
)
@pytest.mark.once
def test_settings_of_the_server(instance: Path, check: Check, server: str) -> None:
    head, _, rest = instance.read_text().partition("[server:main]\n")
    rest = rest[rest.index("[app:main]") :]
    instance.write_text(f"{head}[server:main]\n{server}\nhost = 127.0.0.1\nport = 5000\n\n{rest}")
    found = faults(check, instance)
    assert found
    # One limit may stand behind another.
    for _ in range(3):
        for finding in found:
            carry_out(finding.remedy, instance)
        found = faults(check, instance)
        if not found:
            break
    assert found == []
    running = Kallithea(instance)
    try:
        running.start()
    finally:
        running.remove()


@pytest.mark.parametrize(
    "check, line", [(debug, "debug = true"), (instance_id, "instance_id = one")]
)
def test_settings_of_the_application(
    instance: Path, edit: Callable[[Path, str, str], None], check: Check, line: str
) -> None:
    edit(instance, "use = egg:kallithea\n", f"use = egg:kallithea\n{line}\n")
    edit(instance, WAITRESS, f"{GUNICORN}workers = 3\n")
    (finding,) = faults(check, instance)
    carry_out(finding.remedy, instance)
    assert faults(check, instance) == []
