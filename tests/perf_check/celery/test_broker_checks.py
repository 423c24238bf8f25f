"""A real broker and real workers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import pytest
from carry_out import carry_out
from environment import BIN

from kallithea_tune.perf_check.celery.broker import Answer, Broker, workers_behind
from kallithea_tune.perf_check.celery.broker_checks import judge_broker, judge_workers, reachable
from kallithea_tune.perf_check.celery.broker_checks import workers as workers_check
from kallithea_tune.perf_check.celery.workers import RunningTask, Worker
from kallithea_tune.perf_check.measurement import Configuration
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.remedy import IniEdit

Gearbox = Callable[..., "subprocess.CompletedProcess[str]"]
Edit = Callable[[Path, str, str], None]
OWN = ("send_email",)


def judged(cores: int = 2, **answer: Any) -> Sequence[Finding]:
    measured = Broker(True, Answer(1.0, **answer), cores, OWN)
    return list(judge_workers(measured, ("celery-run",), "app:main"))


def worker(processes: int = 2, *, queues: Sequence[str] = ("celery",), **more: Any) -> Worker:
    return Worker(processes, tuple(queues), tasks=OWN, **more)


@pytest.mark.parametrize(
    "workers, waiting, severity, words",
    [
        ({}, 0, Severity.error, "no Celery worker answers, so no task is ever run"),
        ({}, 5000, Severity.error, "5,000 tasks wait in 'celery', and no Celery worker answers"),
        (
            {"a": worker(queues=["other"])},
            1,
            Severity.error,
            "1 task waits in 'celery', and no worker consumes the queue 'celery': "
            "they consume other",
        ),
        ({"a": worker()}, 20, Severity.ok, "keep up"),
        ({"a": worker()}, 21, Severity.warning, "21 tasks wait for 2 worker processes"),
        ({"a": worker(), "b": worker(queues=["other"])}, 21, Severity.warning, "for 2 worker"),
        ({"a": worker(), "b": worker()}, 0, Severity.ok, "keep up"),
        ({"a": worker(5)}, 0, Severity.advice, "5 worker processes share 2 cores"),
        ({"a": worker(held=3)}, 99, Severity.error, "of a do not work: 3 tasks not started"),
        ({"a": worker(stopped=(7,))}, 99, Severity.error, "1 of 2 worker processes is stopped"),
        (
            {"a": worker(1, running=(RunningTask("send_email", 600.0),))},
            99,
            Severity.error,
            "send_email has run for 10 minutes in 1 of 1 worker process",
        ),
        (
            {"a": worker(running=(RunningTask("create_repo_fork", 7200.0),))},
            0,
            Severity.warning,
            "create_repo_fork has run for 120 minutes in 1 of 2 worker processes",
        ),
        ({"a": worker(running=(RunningTask("create_repo_fork", 600.0),))}, 0, Severity.ok, ""),
    ],
)
def test_workers_are_judged_by_what_they_consume_and_what_they_run(
    workers: Mapping[str, Worker], waiting: int, severity: Severity, words: str
) -> None:
    (finding,) = judged(workers=workers, waiting=waiting)
    assert finding.severity is severity and words in finding.diagnosis


def test_more_processes_are_advised_only_where_they_help() -> None:
    (few,) = judged(workers={"a": worker(1)}, waiting=50)
    assert str(few.remedy).endswith(
        "restart the workers: set celery.worker_concurrency = 4 in [app:main]"
    )
    (enough,) = judged(workers={"a": worker(4)}, waiting=50)
    (elsewhere,) = judged(workers={"a": worker(queues=["other"])}, waiting=50)
    assert "concurrency" not in f"{enough.remedy} {elsewhere.remedy}"
    (crowd,) = judged(workers={"a": worker(3), "b": worker(3)})
    assert str(crowd.remedy).endswith(
        "restart the workers: set celery.worker_concurrency = 1 in [app:main]"
    )


def test_a_worker_that_lacks_tasks_of_the_application_discards_them() -> None:
    foreign = Worker(1, ("celery",), tasks=("x",))
    _, unknown = judged(workers={"a": foreign, "b": worker(1)})
    assert unknown.severity is Severity.warning and "send_email" in unknown.diagnosis
    assert len(judged(workers={"a": Worker(1, ("other",)), "b": worker(1)})) == 1


def test_the_names_of_waiting_tasks_are_evidence() -> None:
    (finding,) = judged(waiting=5000, names={"x": 1000})
    assert finding.evidence["first_waiting"] == {"x": 1000}


def test_a_broker_that_does_not_answer_is_an_error() -> None:
    refused = judge_broker(Answer(failed="refused"), "app:main")
    assert refused.severity is Severity.error and isinstance(refused.remedy, IniEdit)
    assert judge_broker(Answer(1.0), "app:main").severity is Severity.ok
    assert isinstance(judge_broker(Answer(failed="refused"), "").remedy, str)


def test_without_celery_or_an_answer_nothing_is_judged(instance: Path) -> None:
    from kallithea_tune.config.instance import load

    settings = Configuration(load(str(instance)))
    assert list(reachable.judge(Broker(), settings)) == []
    assert list(workers_check.judge(Broker(), settings)) == []
    assert list(workers_check.judge(Broker(True, Answer(failed="refused")), settings)) == []


def findings(gearbox: Gearbox, ini: Path) -> Mapping[str, Any]:
    done = gearbox(
        *("perf-check", "-c", ini, "--only", "CEL00[23]", "-f", "json"), cwd=str(ini.parent)
    )
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
    down = findings(gearbox, instance)["CEL002"]
    assert "ConnectionRefused" in down["evidence"]["said"]
    remedy = judge_broker(Answer(failed="refused"), "app:main").remedy
    assert str(remedy) == down["remedy"]
    carry_out(remedy, instance)
    assert findings(gearbox, instance) == {}


def test_a_broker_that_accepts_and_says_nothing_is_an_error(
    gearbox: Gearbox, instance: Path, edit: Edit
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        use(instance, edit, f"amqp://u:p@127.0.0.1:{mute.getsockname()[1]}//")
        found = findings(gearbox, instance)["CEL002"]
    assert (found["severity"], "timed out" in found["evidence"]["said"]) == ("error", True)


@contextlib.contextmanager
def started(words: Sequence[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        words,
        cwd=str(directory),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until_worker_answers(url: str) -> None:
    until(lambda: workers_behind(url), bool)


def until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    give_up = time.monotonic() + 60
    while True:
        found = look()
        if good(found):
            return found
        assert time.monotonic() < give_up, found


@pytest.mark.once
def test_a_queue_that_nobody_consumes_and_then_processes_that_are_stopped(
    gearbox: Gearbox, instance: Path, edit: Edit, rabbitmq: Any
) -> None:
    import celery as library

    use(instance, edit, rabbitmq.url)
    app = library.Celery(broker=rabbitmq.url, set_as_current=False)
    app.control.purge()
    for _ in range(25):
        app.send_task("no.such.task", ignore_result=True)
    none = findings(gearbox, instance)
    assert none["CEL002"]["severity"] == "ok"
    assert none["CEL003"]["diagnosis"].startswith("25 tasks wait in 'celery', and no Celery")

    run = [str(BIN / "kallithea-cli"), "celery-run", "-c", str(instance), "--", "-c", "1"]

    def look() -> Any:
        return findings(gearbox, instance)["CEL003"]

    with started([*run, "-Q", "other"], instance.parent):
        until_worker_answers(rabbitmq.url)
        found = look()
    assert found["severity"] == "error" and found["evidence"]["waiting"] == 25
    assert "no worker consumes the queue 'celery': they consume other" in found["diagnosis"]
    remedy = found["remedy"].partition(": ")[2].split()
    assert remedy == run[:4]
    with started(run, instance.parent) as process:
        until_worker_answers(rabbitmq.url)
        found = until(look, lambda found: not found["evidence"]["waiting"])
        assert (found["severity"], found["evidence"]["processes"]) == ("ok", 1)
        (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(pid), signal.SIGSTOP)
        app.send_task("send_email", args=([], "subject"), ignore_result=True)
        found = look()
        assert "1 of 1 worker process is stopped" in found["diagnosis"]
        (held,) = workers_behind(rabbitmq.url).values()
        assert (held.held, held.stopped, held.running) == (1, (int(pid),), ())
        assert found["remedy"] == f"kill -CONT {pid}"
        subprocess.run(found["remedy"].split(), check=True)
        assert look()["severity"] == "ok"
