"""Runs a function in a process of its own, which may hang, exit or die without harming others.

The application is only ever loaded in such a child: it may call ``sys.exit``, change global state
or print.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import time
from typing import Any, Callable, Iterator, TypeVar

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import interruption, programs, typed_json
from kallithea_tune.text import shortened

T = TypeVar("T")

# How long a busy machine may take to start an interpreter and import a module, which is no part of
# any measurement.
START_SECONDS = 30.0
_wall = math.inf  # of the monotonic clock


class Ended(NotMeasured):
    """The child was killed for taking too long, or ended by itself, without an answer.

    `reason` says which, as in ``ended with status 7``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"it {reason}")
        self.reason = reason


class OutOfTime(Exception):
    """The `wall` was reached. It says nothing about what was called, so it is no NotMeasured."""


@contextlib.contextmanager
def wall(seconds: float) -> Iterator[None]:
    """Inside, no call lasts longer than until `seconds` from now, whatever it was given.

    An inner wall counts in place of an outer one.
    """
    global _wall
    before, _wall = _wall, time.monotonic() + seconds
    try:
        yield
    finally:
        _wall = before


def left() -> float:
    """Return the seconds until the wall, infinite without one."""
    return max(0.0, _wall - time.monotonic())


def call(function: Callable[..., T], seconds: float, **arguments: object) -> T:
    """Call a module's `function` with `arguments` in a child; return its result.

    Arguments and result are converted to JSON and back by the annotations of `function`; see
    `typed_json`. The arguments are sent by standard input, so that no secret is in the list of
    processes. Raises NotMeasured with the first line of the exception that the function raises,
    Ended when the child ends by itself or does not answer within `seconds` of the function's start,
    and OutOfTime at the `wall`. It is killed with all that it started.
    """
    if left() <= 0:
        raise OutOfTime("there is no time left")
    request = json.dumps(typed_json.dump({"function": function, "arguments": arguments})).encode()
    with programs.interpreter(request) as running:
        _wait(running, 1, START_SECONDS, f"did not start within {START_SECONDS:g} s")
        _wait(running, 2, seconds, f"did not answer within {seconds:.3g} s")
    if not _complete(running, 2):
        raise Ended(_end(running))
    result = json.loads(running.output)
    if "value" not in result:
        raise NotMeasured(result["not_measured"])
    value: T = typed_json.load(typed_json.hints(function)["return"], result["value"])
    return value


def clean_up(function: Callable[..., object], seconds: float, **arguments: object) -> None:
    """Call `function` as `call` does, although the time is up or the end was requested."""
    with interruption.deferred(), wall(START_SECONDS + seconds):
        call(function, seconds, **arguments)


def _complete(running: programs.Running, least: int) -> bool:
    # An empty line tells of the start of the function, and one of JSON is the answer.
    return len(running.output) >= least and running.output.endswith(b"\n")


def _wait(running: programs.Running, least: int, seconds: float, late: str) -> None:
    """Read until a line is complete. Raises Ended for `late` after `seconds`, or OutOfTime."""
    limited = min(seconds, left())
    try:
        running.read(lambda: _complete(running, least), limited)
    except programs.TooLate:
        if limited < seconds:
            raise OutOfTime("the time is up") from None
        raise Ended(late) from None


def _end(running: programs.Running) -> str:
    if running.status < 0:
        return f"was ended by {signal.Signals(-running.status).name}"
    lines = running.errors.decode("utf-8", "replace").strip().splitlines()
    last = ": " + shortened(lines[-1].strip()) if lines else ""
    return f"ended with status {running.status}{last}"


def answer() -> None:
    """Answer the one request on standard input; whatever is printed goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    try:
        result = _result(request["function"], request["arguments"], answers)
    except NotMeasured as error:
        result = {"not_measured": shortened(str(error))}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        result = {"not_measured": shortened(f"{type(error).__name__}: {lines[0]}")}
    with open(answers, "w", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
        file.flush()
        # The parent ends this process, with the threads and the processes that the application
        # left running.
        while True:
            signal.pause()


def _result(name: str, arguments: dict[str, Any], answers: int) -> dict[str, Any]:
    function = typed_json.resolve(name)
    kinds = typed_json.hints(function)
    loaded = {key: typed_json.load(kinds.get(key, Any), value) for key, value in arguments.items()}
    os.write(answers, b"\n")
    return {"value": typed_json.dump(function(**loaded))}
