"""Workers that are busy, killed or taken over while they are asked."""

from __future__ import annotations

import datetime
import io
import os
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence
from urllib.parse import urlsplit

import pytest
from environment import BIN
from servers.fleet import Worker
from servers.pair import set_in
from servers.server import Server
from servers.tap import Tap
from waiting import until

from kallithea_tune.perf_check import report
from kallithea_tune.perf_check.fleet import client, merging
from kallithea_tune.perf_check.fleet.client import Reply
from kallithea_tune.perf_check.fleet.messages import REPORT_BYTES, Machine, Request, State
from kallithea_tune.perf_check.formats import html
from kallithea_tune.perf_check.results import Place, PlacedRun, Results
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.perf_check.scaling.instances import Facts, Value

pytestmark = pytest.mark.once
SECRET = "l1ve-s3cret"
MODULES = {
    # A check that ends when a file is there, and tells the secret.
    "gates": '''
import os
import time
from dataclasses import dataclass
from kallithea_tune.perf_check.measurement import Examined, measurement
from kallithea_tune.perf_check.model import Finding, Severity, check

@dataclass(frozen=True)
class Gate:
    secret: str
    examined: Examined = Examined(1, 1, "gate")

@measurement(seconds=60.0)
def gate(context):
    settings = context.instance.settings
    while not os.path.exists(settings["gate"]) and not context.deadline.passed:
        time.sleep(0.01)
    return Gate(settings["session.secret"])

@check("GATE001", "gate", "A gate that somebody opens", "gates", measures=(gate,))
def opened(gate):
    """Pass the gate."""
    yield Finding(Severity.ok, "the gate is open", evidence={"key": "key " + gate.secret})
''',
    # The module of an admin, which imports ours, with a task that takes as long.
    "tasks": """
import os
import time
import kallithea_tune.fleet
from celery import shared_task

@shared_task(name="tasks.wait")
def wait(begun, gate):
    open(begun, "w").close()
    while not os.path.exists(gate):
        time.sleep(0.01)
""",
    # A worker that was taken over: to each request another answer.
    "hostile": """
import json
import os
from celery import Celery
from celery.worker.control import inspect_command

app = Celery(broker=os.environ["HOSTILE_BROKER"])
MACHINE = {"host": "evil\\x1b]0;x\\x07", "boot": "b", "processes": "p", "ini": "/<script>.ini"}
FINDING = {"check": "<script>", "severity": "error", "area": "storage",
           "diagnosis": "a\\x1b[2J\\n<script>alert(1)</script>",
           "evidence": {"<script>": ["\\x1b[31m"]}, "remedy": "<script>"}
REPORT = {"runs": [{"instance": "<script>\\x1b", "checks": ["X"], "findings": [FINDING]}]}
VALUE = {"shown": "<script>\\x1b[2J", "identity": "x", "option": {}, "failure": ""}
FACTS = {"name": "\\x1b", "uri": "", "section": "", "more": {}, "machine": "",
         "values": {"session.key": VALUE}}
DONE = {"state": "done", "reason": "", "report": json.dumps(REPORT), "facts": json.dumps(FACTS),
        "machine": MACHINE}
ANSWERS = [DONE, {**DONE, "report": "x" * (20 << 20)}, ["done"]]
asked = []

@inspect_command(name="kallithea_tune_begin")
def begin(state, **arguments):
    asked.append(1)
    return {**DONE, "state": "running", "report": "", "facts": ""}

@inspect_command(name="kallithea_tune_collect")
def collect(state, **arguments):
    running = {**DONE, "state": "running", "report": "", "facts": ""}
    return running if os.environ["HOSTILE_RUNNING"] else ANSWERS[len(asked) - 1]
""",
}


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A directory for PYTHONPATH with the modules, and the entry point of the check."""
    site = tmp_path / "site"
    info = site / "gates-1.0.dist-info"
    info.mkdir(parents=True)
    for name, text in MODULES.items():
        (site / f"{name}.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gates\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kallithea_tune.checks]\ngates = gates\n")
    return site


@pytest.fixture
def started(modules: Path) -> "Iterator[Callable[[Server], Any]]":
    """Start servers that import the modules; all are stopped at the end."""
    servers: "list[Server]" = []

    def start(server: Server) -> Server:
        servers.append(server)
        paths = [str(modules), os.environ.get("PYTHONPATH", "")]
        server.environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        server.start()
        return server

    yield start
    for server in servers:
        server.remove()


class Hostile(Server):
    """The worker that was taken over."""

    account = "root"

    def __init__(self, broker_url: str, running: bool = False) -> None:
        super().__init__()
        self.environment["HOSTILE_BROKER"] = broker_url
        self.environment["HOSTILE_RUNNING"] = "yes" * running

    def command(self) -> "list[str]":
        """Return Celery's own command."""
        words = ["-A", "hostile", "worker", "-P", "solo", "-l", "INFO", "-n", "evil@host"]
        return ["env", f"HOME={self.directory}", str(BIN / "celery"), *words]

    def ready(self) -> bool:
        """Tell whether it waits for tasks."""
        return " ready." in self.log.read_text(errors="replace")


def _request(*checks: str) -> Request:
    return Request(os.urandom(16).hex(), checks, 60.0)


def _reports(
    url: str, *checks: str, progress: client.Progress = lambda title, done, total: None
) -> "dict[str, Reply]":
    return {reply.worker: reply for reply in client.reports(url, _request(*checks), progress)}


def _ping(url: str, count: int) -> "Sequence[str]":
    from celery import Celery

    app = Celery(broker=url, set_as_current=False)
    replies = app.control.ping(timeout=60, limit=count)
    return sorted(name for reply in replies for name in reply)


def _send_task(url: str, queue: str, *words: object) -> None:
    from celery import Celery

    app = Celery(broker=url, set_as_current=False)
    app.send_task("tasks.wait", args=list(map(str, words)), queue=queue, ignore_result=True)


def test_workers_that_are_killed_or_take_up_a_task_while_they_check(
    instance: Path, rabbitmq: Any, started: "Callable[[Server], Any]", tmp_path: Path
) -> None:
    gate, task_begun, task_gate = (tmp_path / name for name in ("gate", "begun", "task-gate"))
    tap = Tap(urlsplit(rabbitmq.url).port or 0)
    tap.recorded = bytearray()
    set_in(
        instance,
        use_celery="true",
        celery__broker_url=rabbitmq.url.replace(f":{rabbitmq.port}/", f":{tap.port}/"),
        celery__include="tasks",
        session__secret=SECRET,
        gate=str(gate),
    )
    started(Worker(instance, "web1"))
    gone = started(Worker(instance, "gone"))
    started(Worker(instance, "solo", "-P", "solo", "-Q", "solo"))
    names = ["celery@gone", "celery@solo", "celery@web1"]
    seen: "list[tuple[int, int]]" = []

    def progress(title: str, done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) > 1:
            return
        # All three check now: their loops answer, and begin nothing else.
        assert _ping(rabbitmq.url, 3) == names
        other = client.begun(rabbitmq.url, names, _request("GATE001"))
        assert {answer.state for answer in other.values()} == {State.busy}
        gone.stop()
        _send_task(rabbitmq.url, "solo", task_begun, task_gate)
        until(task_begun.exists)
        gate.touch()

    try:
        replies = _reports(rabbitmq.url, "GATE001", progress=progress)
        assert seen[0] == (0, 3) and sorted(replies) == names
        for name in ("celery@gone", "celery@solo"):
            assert replies[name].answer is None
            assert "began, and then stopped answering" in replies[name].reason
        answer = replies["celery@web1"].answer
        assert answer and answer.state is State.done, replies
        assert "the gate is open" in answer.report
        # A solo pool that runs a task does not answer the ping either: nobody can know of it.
        assert sorted(_reports(rabbitmq.url, "GATE001")) == ["celery@web1"]
    finally:
        task_gate.touch()
    # All that the workers sent passed here.
    assert b"the gate is open" in tap.recorded and b"celery@web1" in tap.recorded
    assert SECRET.encode() not in tap.recorded
    refused = _reports(rabbitmq.url, "XYZ001", "STO001")["celery@web1"]
    assert refused.answer and refused.answer.state is State.failed
    assert "none of the requested checks" in refused.answer.reason


def test_what_a_worker_that_was_taken_over_sends_is_harmless(
    rabbitmq: Any, started: "Callable[[Server], Any]"
) -> None:
    started(Hostile(rabbitmq.url))

    def reply() -> Reply:
        (found,) = _reports(rabbitmq.url, "CFG001").values()
        return found

    results = _merged(reply())
    stream = io.StringIO()
    report.write_results(results, stream)
    page = html.page(results, datetime.datetime(2026, 1, 1))
    assert results.runs[1].run.findings and "alert(1)" in stream.getvalue() and "alert(1)" in page
    for text in (stream.getvalue(), page):
        assert "\x1b" not in text and "\x07" not in text
    assert "<script>alert" not in page and "<script>\\" not in page
    large = reply().answer
    assert large and large.state is State.failed
    assert f"larger than {REPORT_BYTES >> 10} KB" in large.reason and not large.report
    assert "not an answer to the request" in _merged(reply()).silent[0].reason


def test_a_broker_that_is_lost_meanwhile_is_the_reason_of_those_that_run(
    redis: Any, started: "Callable[[Server], Any]"
) -> None:
    started(Hostile(redis.url, running=True))
    try:
        (reply,) = _reports(
            redis.url, "CFG001", progress=lambda title, done, total: redis.stop()
        ).values()
    finally:
        redis.start()
    assert reply.reason == "it began, and then the broker stopped answering"


def _merged(reply: Reply) -> Results:
    values = {"session.key": Value("a", "a", {}), "sqlalchemy.url": Value("b", "b", {})}
    own = merging.Reported(
        PlacedRun(Place("my.ini"), Run([], 1.0)), Machine("here"), Facts("", "", "", values, {})
    )
    return merging.merged(Results((own.run,)), [reply], own)
