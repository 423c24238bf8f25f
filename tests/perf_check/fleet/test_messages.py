"""What is accepted of what comes through the broker."""

from __future__ import annotations

from typing import Any

import pytest

from kallithea_tune import __version__
from kallithea_tune.perf_check.fleet.client import answer_in
from kallithea_tune.perf_check.fleet.messages import (
    REPORT_BYTES,
    Answer,
    Machine,
    Request,
    State,
    answered,
    requested,
)

TOKEN = "0123456789abcdef" * 2
GOOD = Request(TOKEN, ("CFG001", "STO001"), 30.0).arguments()
MACHINE = Machine("web1", "boot", "pid:[1]", "/my.ini")


def test_a_request_of_ours_is_read_as_it_was_sent() -> None:
    assert requested(GOOD) == Request(TOKEN, ("CFG001", "STO001"), 30.0)


@pytest.mark.parametrize(
    "change",
    [
        {"token": "../../etc/passwd"},
        {"token": TOKEN + "\n"},
        {"token": None},
        {"checks": []},
        {"checks": "CFG001"},
        {"checks": ["CFG001"] * 301},
        {"checks": ["CFG001; rm -rf /"]},
        {"checks": ["*"]},
        {"checks": [{"CFG001": 1}]},
        {"seconds": 0},
        {"seconds": 1e9},
        {"seconds": float("nan")},
        {"seconds": True},
        {"seconds": "30"},
        {"version": "0.0.0"},
        {"command": "reboot"},
    ],
)
def test_any_other_request_is_refused(change: "dict[str, Any]") -> None:
    with pytest.raises(ValueError):
        requested({**GOOD, **change})


@pytest.mark.parametrize("name", list(GOOD))
def test_a_request_without_one_of_its_arguments_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="another version"):
        requested({key: value for key, value in GOOD.items() if key != name})


def test_another_version_is_told_ours() -> None:
    with pytest.raises(ValueError, match=f"the version here is {__version__}"):
        requested({**GOOD, "version": "0.0.0"})


def test_an_answer_comes_back_as_it_was_sent() -> None:
    sent = Answer(State.done, "", "{}", "{}", MACHINE)
    assert answered(sent.document()) == sent


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "done",
        {},
        {"state": "done"},
        {**Answer(State.done).document(), "state": "system"},
        {**Answer(State.done).document(), "state": ["done"]},
        {**Answer(State.done).document(), "reason": 7},
        {**Answer(State.done).document(), "machine": {"host": "a"}},
        {**Answer(State.done).document(), "machine": None},
        {**Answer(State.done, machine=MACHINE).document(), "machine": {**vars(MACHINE), "ini": 7}},
    ],
)
def test_what_is_no_answer_is_none(document: Any) -> None:
    assert answered(document) is None
    assert answer_in(document).state is State.failed


def test_words_of_a_machine_are_short_and_printable() -> None:
    hostile = Answer(State.failed, "a\x1b[31m\nb" * 9999, machine=Machine("\x1b]0;x\x07" * 999))
    answer = answered(hostile.document())
    assert answer and len(answer.reason) <= 250 and len(answer.machine.host) <= 250
    assert answer.reason.isprintable() and answer.machine.host.isprintable()


@pytest.mark.parametrize("name", ["report", "facts"])
@pytest.mark.parametrize(
    "text", ["a" * (REPORT_BYTES + 1), "\u20ac" * (REPORT_BYTES // 2), 7, None]
)
def test_what_is_too_long_or_no_text_is_no_report(name: str, text: Any) -> None:
    answer = answered({**Answer(State.done).document(), name: text})
    assert answer and answer.state is State.failed and not (answer.report or answer.facts)


def test_celerys_own_error_says_that_the_module_is_not_loaded() -> None:
    answer = answer_in({"error": "KeyError('kallithea_tune_begin')"})
    assert answer.state is State.refused and "does not load kallithea_tune.fleet" in answer.reason
