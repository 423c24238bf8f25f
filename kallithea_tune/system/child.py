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
    with programs.interpreter(_request(function, arguments)) as running:
        return _result_of(running, function, seconds)


class Conversation:
    """A child that answers one call after another, in the state in which the last one left it.

    `begin` does not wait. `call` is as the function `call`, and after it has raised Ended or
    OutOfTime there is no further one. Calls may come from any thread, one at a time.
    """

    def __init__(self, running: programs.Running) -> None:
        self._running = running
        self._begun: list[Callable[..., object]] = []

    def begin(self, function: Callable[..., object], **arguments: object) -> None:
        """Start a call whose result does not matter; the next `call` waits until it has ended."""
        self._send(_request(function, arguments))
        self._begun.append(function)

    def call(self, function: Callable[..., T], seconds: float, **arguments: object) -> T:
        """Call `function`; its `seconds` do not begin before those of what was begun earlier."""
        self._send(_request(function, arguments))
        for begun in self._begun:
            with contextlib.suppress(NotMeasured):
                _result_of(self._running, begun, START_SECONDS)
        self._begun.clear()
        return _result_of(self._running, function, seconds)

    def kill(self) -> None:
        """End the child now; a call in another thread raises Ended."""
        self._running.kill()

    def _send(self, request: bytes) -> None:
        stdin = self._running.process.stdin
        assert stdin
        # Where it has ended, reading says why.
        with contextlib.suppress(BrokenPipeError):
            stdin.write(request)
            stdin.flush()


@contextlib.contextmanager
def conversation() -> Iterator[Conversation]:
    """Start a child for several calls; it is killed with all that it started at the end."""
    with programs.interpreter() as running:
        yield Conversation(running)


def _request(function: Callable[..., object], arguments: dict[str, object]) -> bytes:
    called = typed_json.dump({"function": function, "arguments": arguments})
    return json.dumps(called).encode() + b"\n"


def _result_of(running: programs.Running, function: Callable[..., T], seconds: float) -> T:
    """Wait for the next result that the child writes, which is that of `function`."""
    _wait(running, 1, START_SECONDS, f"did not start within {START_SECONDS:g} s")
    _wait(running, 2, seconds, f"did not answer within {seconds:.3g} s")
    if not _complete(running, 2):
        running.end()
        interruption.check()
        raise Ended(_end(running))
    _, answer, rest = bytes(running.output).split(b"\n", 2)
    running.output[:] = rest
    result = json.loads(answer)
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
    """Answer the requests on standard input; whatever is printed goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        _answer(json.loads(line), answers)
    # The parent ends this process, with the threads and the processes that the application left
    # running.
    while True:
        signal.pause()


def _answer(request: dict[str, Any], answers: int) -> None:
    try:
        result = _result(request["function"], request["arguments"], answers)
    except NotMeasured as error:
        result = {"not_measured": shortened(str(error))}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        result = {"not_measured": shortened(f"{type(error).__name__}: {lines[0]}")}
    with open(answers, "w", encoding="utf-8", closefd=False) as file:
        file.write(json.dumps(result) + "\n")


def _result(name: str, arguments: dict[str, Any], answers: int) -> dict[str, Any]:
    function = typed_json.resolve(name)
    kinds = typed_json.hints(function)
    loaded = {key: typed_json.load(kinds.get(key, Any), value) for key, value in arguments.items()}
    os.write(answers, b"\n")
    return {"value": typed_json.dump(function(**loaded))}
