"""Runs a function in a process of its own, which may hang, exit or die without harming others.

The application is only ever loaded in such a child: it may call ``sys.exit``, change global state
or print.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from typing import Any, Callable, TypeVar

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import typed_json

T = TypeVar("T")

# How long a busy machine may take to start an interpreter and import a module, which is no part of
# any measurement.
START_SECONDS = 30.0


def call(function: Callable[..., T], seconds: float, **arguments: object) -> T:
    """Call a module's `function` with `arguments` in a child; return its result.

    Arguments and result are converted to JSON and back by the annotations of `function`; see
    `typed_json`. The arguments are sent by standard input, so that no secret is in the list of
    processes. Raises NotMeasured when the child does not answer within `seconds` of the function's
    start, or with its last line of output when it fails; its process group is killed then.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "kallithea_tune.system.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        request = json.dumps(
            typed_json.dump({"function": function, "arguments": arguments})
        ).encode()
        try:
            _send(process, request)
            answer, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"it did not answer within {seconds:.3g} s") from None
        finally:
            _kill(process)
        if process.returncode == 0 and answer:
            result = json.loads(answer.decode("utf-8"))
            if "not_measured" in result:
                raise NotMeasured(result["not_measured"])
            value: T = typed_json.load(typed_json.hints(function)["return"], result["value"])
            return value
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").strip().splitlines()
        last = ": " + lines[-1].strip() if lines else ""
        raise NotMeasured(f"it ended with status {process.returncode}{last}")


def _send(process: subprocess.Popen[bytes], request: bytes) -> None:
    """Send the request and wait for the first byte, with which the child reports its start."""
    assert process.stdin and process.stdout
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(request)
    process.stdin = None
    if not select.select([process.stdout], [], [], START_SECONDS)[0]:
        raise NotMeasured(f"the machine is too busy to start a process within {START_SECONDS:g} s")
    os.read(process.stdout.fileno(), 1)


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Even when the child itself is gone, it may have left children of its own in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A process that hangs in the kernel, on a dead network file system, cannot even be killed.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)


def main() -> None:
    """Answer the one request on standard input; whatever is printed goes to standard error."""
    _die_with_parent()
    answers = os.dup(1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    function = typed_json.resolve(request["function"])
    kinds = typed_json.hints(function)
    arguments = {
        name: typed_json.load(kinds.get(name, Any), value)
        for name, value in request["arguments"].items()
    }
    os.write(answers, b"\n")
    try:
        result = {"value": typed_json.dump(function(**arguments))}
    except NotMeasured as error:
        result = {"not_measured": str(error)}
    with open(answers, "w", encoding="utf-8") as file:
        json.dump(result, file)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that the application left running must not delay the end.
    os._exit(0)


def _die_with_parent() -> None:
    """Have Linux kill this process when the command that started it is killed."""
    if sys.platform.startswith("linux"):
        import ctypes

        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    main()
