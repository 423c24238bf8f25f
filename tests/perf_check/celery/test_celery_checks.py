"""Tasks in requests, a real broker, real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from environment import BIN

from kallithea_tune.app.package import package_directory
from kallithea_tune.perf_check.celery import celery_checks
from kallithea_tune.perf_check.model import Severity


@pytest.mark.parametrize(
    "workers, waiting, cores, severity",
    [
        ({}, 0, 2, Severity.error),
        ({"a": 2}, 20, 2, Severity.ok),
        ({"a": 2}, 21, 2, Severity.warning),
        ({"a": 2, "b": 2}, 0, 2, Severity.ok),
        ({"a": 5}, 0, 2, Severity.advice),
    ],
)
def test_workers_are_judged_by_number_queue_and_cores(workers, waiting, cores, severity):
    assert celery_checks.judge_workers(workers, waiting, cores, "celery-run").severity is severity


def test_a_broker_that_does_not_answer_is_an_error():
    assert celery_checks.judge_broker("refused", None).severity is Severity.error
    assert celery_checks.judge_broker("", 1.0).severity is Severity.ok


def test_the_tasks_are_those_that_kallithea_registers_with_celery():
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import kallithea, kallithea.model.async_tasks, kallithea.model.repo,"
            "kallithea.model.notification, kallithea.lib.indexers.daemon;"
            "print(' '.join(n for n in kallithea.CELERY_APP.tasks if not n.startswith('celery.')))",
        ],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    ).stdout
    assert celery_checks.tasks_in(package_directory("egg:kallithea")) == sorted(said.split())


def findings(gearbox, ini, *words):
    said = gearbox(
        "perf-check", "-c", ini, "--only", "celery", "-f", "json", *words, cwd=str(ini.parent)
    )
    assert said.returncode in (0, 1, 5), said.stderr
    return {item["check"]: item for item in json.loads(said.stdout)}


def test_without_celery_the_mail_server_is_timed_and_gets_no_mail(gearbox, instance, edit):
    from servers.server import free_port

    port = free_port()
    edit(instance, "\nsmtp_server =", "\nsmtp_server = 127.0.0.1")
    edit(instance, "\nsmtp_port =", "\nsmtp_port = %d" % port)
    assert "refused" in findings(gearbox, instance)["CEL001"]["evidence"]["mail_server"].lower()
    server = subprocess.Popen(
        [
            sys.executable,
            "-u",
            "-W",
            "ignore",
            "-m",
            "smtpd",
            "-n",
            "-c",
            "DebuggingServer",
            "127.0.0.1:%d" % port,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        give_up = time.monotonic() + 60
        while "greeting_ms" not in findings(gearbox, instance)["CEL001"]["evidence"]:
            assert time.monotonic() < give_up
    finally:
        server.terminate()
        said, _ = server.communicate()
    assert said == b""


def use(instance, edit, url):
    text = instance.read_text()
    broker = next(line for line in text.splitlines() if line.startswith("celery.broker_url"))
    edit(instance, broker, "celery.broker_url = " + url)
    edit(instance, "use_celery = false", "use_celery = true")


def test_a_broker_that_is_down_or_refuses_the_password_is_said_without_it(
    gearbox, instance, edit, rabbitmq
):
    use(instance, edit, "amqp://kallithea:wrong-secret@127.0.0.1:%d//" % rabbitmq.port)
    refused = findings(gearbox, instance)
    assert (
        refused["CEL002"]["severity"] == "error"
        and "AccessRefused" in refused["CEL002"]["evidence"]["said"]
    )
    assert "wrong-secret" not in json.dumps(refused) and "CEL003" not in refused
    edit(instance, ":%d//" % rabbitmq.port, ":1//")
    assert "ConnectionRefused" in findings(gearbox, instance)["CEL002"]["evidence"]["said"]


def test_no_worker_then_tasks_that_wait_then_a_worker_that_answers(
    gearbox, instance, edit, rabbitmq
):
    import celery as library

    use(instance, edit, rabbitmq.url)
    seen = findings(gearbox, instance)
    assert (seen["CEL001"]["severity"], seen["CEL002"]["severity"]) == ("ok", "ok")
    assert seen["CEL003"]["severity"] == "error" and seen["CEL003"]["evidence"]["waiting"] == 0
    app = library.Celery(broker=rabbitmq.url, set_as_current=False)
    for _ in range(25):
        app.send_task("no.such.task", ignore_result=True)
    assert findings(gearbox, instance)["CEL003"]["evidence"]["waiting"] == 25
    app.control.purge()
    worker = subprocess.Popen(
        [str(BIN / "kallithea-cli"), "celery-run", "-c", str(instance), "--", "--concurrency=1"],
        cwd=str(instance.parent),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        give_up = time.monotonic() + 60
        while True:
            seen = findings(gearbox, instance)
            if seen["CEL003"]["severity"] == "ok":
                break
            assert worker.poll() is None and time.monotonic() < give_up, seen
        assert seen["CEL003"]["evidence"]["processes"] == 1
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
