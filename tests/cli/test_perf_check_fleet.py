"""``perf-check --fleet`` with three workers in namespaces of their own."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest
from servers.fleet import Worker
from servers.pair import set_in

pytestmark = pytest.mark.once
Run = Callable[..., "subprocess.CompletedProcess[str]"]
SECRET = "fl33t-s3cret"


@pytest.fixture(params=["rabbitmq", "redis"])
def ini(instance: Path, request: pytest.FixtureRequest) -> Path:
    """An ini file whose workers load the plug-in."""
    set_in(
        instance,
        use_celery="true",
        celery__broker_url=request.getfixturevalue(request.param).url,
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
    other = ini.with_name("other.ini")
    other.write_text(ini.read_text().replace(SECRET, "an-0ther-s3cret"))
    bare = ini.with_name("bare.ini")
    bare.write_text(ini.read_text().replace("celery.include", "#celery.include"))
    for file, host in ((ini, "web1"), (ini, "web2"), (other, "web3"), (bare, "bare")):
        started(file, host)
    # Another worker of a machine leaves the request to the first.
    started(ini, "web4")
    page, saved = tmp_path / "page.html", tmp_path / "saved.json"
    words = ["-c", ini, "--fleet", "--only", "CFG*", "--only", "CEL00[45]"]
    done = perf_check(*words, "-f", "json", "--html", page, "--save", saved)
    rows = json.loads(done.stdout)
    machines = {(row["instance"], row["machine"]) for row in rows}
    assert machines == {
        ("my.ini", ""),
        *(("my.ini", host) for host in ("web1", "web2", "web4")),
        ("other.ini", "web3"),
        ("", "celery@bare"),
    }
    (silent,) = [row for row in rows if row["machine"] == "celery@bare"]
    assert silent["severity"] == "unknown" and "celery.include does not load" in silent["diagnosis"]
    # Where the settings of one machine differ, it is found, by digests.
    (broken,) = [row for row in rows if row["check"] == "SCA002"]
    assert (broken["machine"], broken["subject"]) == ("web3", "session.secret")
    assert done.returncode == 1
    written = done.stdout + done.stderr + page.read_text() + saved.read_text()
    assert SECRET not in written and "an-0ther-s3cret" not in written
    if "redis:" in ini.read_text():
        return  # what reports look like does not depend on the broker
    text = perf_check(*words).stdout
    assert "\nNo report\n=========\n\ncelery@bare: celery.include does not load" in text
    assert re.search(
        r"session.secret: must be equal \(error, SCA002\)\n  A: my.ini, my.ini on", text
    )


def test_what_cannot_be_requested_of_workers_is_refused_in_one_sentence(
    instance: Path, perf_check: Run
) -> None:
    second = instance.with_name("second.ini")
    second.write_text(instance.read_text())
    for words, sentence in (
        ([], "--fleet: set use_celery = true and celery.broker_url in [app:main] of"),
        (["--try", "debug=true"], "--fleet and --try cannot be combined"),
        (["-c", second], "--fleet is for one instance, whose workers report; give one -c"),
    ):
        refused = perf_check("-c", instance, "--fleet", *words)
        assert refused.returncode == 2 and sentence in refused.stderr, refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_fix_has_the_workers_load_the_module(instance: Path, perf_check: Run) -> None:
    set_in(instance, use_celery="true", celery__broker_url="amqp://127.0.0.1:1//")
    fix = ["-c", instance, "--fix", "CEL004", "-y"]
    assert "nothing to fix" in perf_check(*fix).stdout
    fixed = perf_check(*fix, "--fleet")
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    assert "celery.include = kallithea_tune.fleet\n" in instance.read_text()
