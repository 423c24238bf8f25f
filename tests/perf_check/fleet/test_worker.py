"""What a worker does with requests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from servers.pair import set_in

from kallithea_tune.perf_check import saved_run
from kallithea_tune.perf_check.fleet.facts import loaded
from kallithea_tune.perf_check.fleet.messages import Answer, Request, State
from kallithea_tune.perf_check.fleet.worker import Work, ini_in
from kallithea_tune.perf_check.model import Severity

TOKEN = "0123456789abcdef" * 2
SECRET = "w0rker-s3cret"


@pytest.mark.parametrize(
    "words, ini",
    [
        (["kallithea-cli", "celery-run", "-c", "my.ini"], "/srv/my.ini"),
        (["kallithea-cli", "celery-run", "-c", "/etc/my.ini", "--", "-c", "4"], "/etc/my.ini"),
        (["kallithea-cli", "celery-run", "--config_file=my.ini"], "/srv/my.ini"),
        (["kallithea-cli", "celery-run", "-cmy.ini"], "/srv/my.ini"),
        (["celery", "worker", "--", "-c", "4"], ""),
        (["kallithea-cli", "celery-run", "-c"], ""),
    ],
)
def test_the_ini_file_is_that_of_the_command_line(words: "list[str]", ini: str) -> None:
    assert ini_in(words, "/srv") == ini


def _work(ini: Path) -> Work:
    return Work(["kallithea-cli", "celery-run", "-c", str(ini)], "/")


def _ended(work: Work, token: str = TOKEN) -> Answer:
    give_up = time.monotonic() + 60
    while True:
        answer = work.collect({"token": token})
        if answer.state is not State.running:
            return answer
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_checks_run_and_the_report_has_no_secret(instance: Path) -> None:
    set_in(instance, session__secret=SECRET, session__url="redis://:w0rker-s3cret@127.0.0.1/0")
    work = _work(instance)
    began = work.begin(Request(TOKEN, ("CFG001", "CFG004"), 20.0).arguments())
    assert began.state is State.running and began.machine.ini == str(instance)
    again = work.begin(Request("f" * 32, ("CFG001",), 20.0).arguments())
    assert again.state is State.busy
    assert work.collect({"token": "f" * 32}).state is State.forgotten
    answer = _ended(work)
    assert answer.state is State.done, answer.reason
    (place,) = saved_run.parse(answer.report).places
    assert place.checks == {"CFG001", "CFG004"}
    facts = loaded(answer.facts)
    assert facts.values["session.secret"].identity not in ("", SECRET)
    assert "Mercurial" in facts.values["versions"].shown
    assert SECRET not in answer.report + answer.facts
    # With the last one collected, there is room for the next.
    assert work.begin(Request("f" * 32, ("CFG001",), 20.0).arguments()).state is State.running
    _ended(work, "f" * 32)


def test_two_workers_of_one_machine_run_it_once(instance: Path) -> None:
    first, second = _work(instance), _work(instance)
    request = Request(TOKEN, ("CFG001",), 20.0).arguments()
    assert first.begin(request).state is State.running
    assert second.begin(request).state is State.elsewhere
    assert _ended(first).state is State.done


def test_a_check_that_this_machine_does_not_have_is_said_to_be_missing(instance: Path) -> None:
    work = _work(instance)
    work.begin(Request(TOKEN, ("CFG001", "XYZ001"), 20.0).arguments())
    (place,) = saved_run.parse(_ended(work).report).places
    (missing,) = [item for item in place.findings if item.check == "CEL004"]
    assert missing.severity is Severity.unknown and "no such check: XYZ001" in missing.diagnosis


@pytest.mark.parametrize(
    "words, reason",
    [
        (("XYZ001",), "none of the requested checks"),
        # It writes probes.
        (("STO001",), "none of the requested checks"),
    ],
)
def test_nothing_that_writes_or_is_unknown_runs(
    instance: Path, words: "tuple[str, ...]", reason: str
) -> None:
    work = _work(instance)
    work.begin(Request(TOKEN, words, 20.0).arguments())
    answer = _ended(work)
    assert answer.state is State.failed and reason in answer.reason


def test_an_ini_file_that_does_not_load_is_a_reason_without_its_text(
    instance: Path, tmp_path: Path
) -> None:
    instance.write_text(f"[app:main\nsession.secret = {SECRET}\n")
    work = _work(instance)
    work.begin(Request(TOKEN, ("CFG001",), 20.0).arguments())
    answer = _ended(work)
    assert answer.state is State.failed and "ini file" in answer.reason
    assert SECRET not in str(answer)


@pytest.mark.parametrize("arguments", [{}, {"token": TOKEN, "more": 1}, {"token": [TOKEN]}])
def test_nothing_is_collected_with_anything_but_a_token(
    instance: Path, arguments: "dict[str, Any]"
) -> None:
    assert _work(instance).collect(arguments).state is State.forgotten
