"""A real broker and real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest
from environment import BIN

from kallithea_tune.perf_check.celery.broker import Answer, Broker
from kallithea_tune.perf_check.celery.broker_checks import judge_broker, judge_workers, reachable
from kallithea_tune.perf_check.celery.broker_checks import workers as workers_check
from kallithea_tune.perf_check.model import Severity

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]
Edit = Callable[[Path, str, str], None]


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
def test_workers_are_judged_by_number_queue_and_cores(
    workers: Mapping[str, int], waiting: int, cores: int, severity: Severity
) -> None:
    answer = Answer(1.0, waiting, workers)
    assert judge_workers(answer, cores, "celery-run").severity is severity


def test_a_broker_that_does_not_answer_is_an_error() -> None:
    assert judge_broker(Answer(failed="refused")).severity is Severity.error
    assert judge_broker(Answer(1.0)).severity is Severity.ok


def test_without_celery_or_an_answer_nothing_is_judged() -> None:
    assert list(reachable.judge(Broker())) == list(workers_check.judge(Broker())) == []
    assert list(workers_check.judge(Broker(Answer(failed="refused")))) == []


def findings(gearbox: Gearbox, ini: Path) -> Mapping[str, Any]:
    done = gearbox("perf-check", "-c", ini, "--only", "celery", "-f", "json", cwd=str(ini.parent))
    assert done.returncode in (0, 1, 5), done.stderr
    return {item["check"]: item for item in json.loads(done.stdout)}


def use(instance: Path, edit: Edit, url: str) -> None:
    text = instance.read_text()
    broker = next(line for line in text.splitlines() if line.startswith("celery.broker_url"))
    edit(instance, broker, f"celery.broker_url = {url}")
    edit(instance, "use_celery = false", "use_celery = true")


def test_a_broker_that_is_down_or_refuses_the_password_is_reported_without_it(
    gearbox: Gearbox, instance: Path, edit: Edit, rabbitmq: Any
) -> None:
    use(instance, edit, f"amqp://kallithea:wrong-secret@127.0.0.1:{rabbitmq.port}//")
    refused = findings(gearbox, instance)
    assert refused["CEL002"]["severity"] == "error"
    assert "AccessRefused" in refused["CEL002"]["evidence"]["said"]
    assert "wrong-secret" not in json.dumps(refused)
    assert refused["CEL003"]["severity"] == "unknown"
    edit(instance, f":{rabbitmq.port}//", ":1//")
    assert "ConnectionRefused" in findings(gearbox, instance)["CEL002"]["evidence"]["said"]


def test_no_worker_then_tasks_that_wait_then_a_worker_that_answers(
    gearbox: Gearbox, instance: Path, edit: Edit, rabbitmq: Any
) -> None:
    import celery as library

    use(instance, edit, rabbitmq.url)
    found = findings(gearbox, instance)
    assert (found["CEL001"]["severity"], found["CEL002"]["severity"]) == ("ok", "ok")
    assert found["CEL003"]["severity"] == "error" and found["CEL003"]["evidence"]["waiting"] == 0
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
            found = findings(gearbox, instance)
            if found["CEL003"]["severity"] == "ok":
                break
            assert worker.poll() is None and time.monotonic() < give_up, found
        assert found["CEL003"]["evidence"]["processes"] == 1
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
