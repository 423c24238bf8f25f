"""Runs a probe in a process of its own, which may hang, exit or die without harm to the others.

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
from typing import Any, Callable, TypeVar, Union

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import typed_json

T = TypeVar("T")

# What a busy machine may take to start an interpreter and import a probe, which is no part of any
# measurement.
START_SECONDS = 30.0


def call(function: Union[str, Callable[..., T]], seconds: float, **arguments: Any) -> T:
    """Return what `function`, of a module, gives for `arguments`, within `seconds` of its start.

    Arguments and result cross the border as the types that `function` is annotated with; see
    `typed_json`. The arguments travel by standard input, so that no secret shows in the list of
    processes. Raises NotMeasured with the child's last line of output when it does not answer in
    time or fails; its process group is killed then.
    """
    if isinstance(function, str):  # TRANSITION: goes with the last dotted string
        function = typed_json.resolve(function)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "kallithea_tune.system.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        request = json.dumps(
            typed_json.dump({"function": function, "arguments": arguments})
        ).encode()
        try:
            _ask(process, request)
            answer, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"it did not answer within {seconds:.3g} s") from None
        finally:
            _end(process)
        if process.returncode == 0 and answer:
            result = json.loads(answer.decode("utf-8"))
            if "not_measured" in result:
                raise NotMeasured(result["not_measured"])
            value: T = typed_json.load(typed_json.hints(function)["return"], result["value"])
            return value
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
        status = "status %d" % process.returncode
        raise NotMeasured(
            "it ended with {}{}".format(status, ": " + lines[-1].strip() if lines else "")
        )


def _ask(process: subprocess.Popen[bytes], request: bytes) -> None:
    """Send the request and wait until the probe begins, which the child tells by a first byte."""
    assert process.stdin and process.stdout
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(request)
    process.stdin = None
    if not select.select([process.stdout], [], [], START_SECONDS)[0]:
        raise NotMeasured(f"the machine is too busy to start a process within {START_SECONDS:g} s")
    os.read(process.stdout.fileno(), 1)


def _end(process: subprocess.Popen[bytes]) -> None:
    # The group is killed even when the child itself is gone: it may have left children of its own.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A process that hangs in the kernel, on a dead network file system, cannot even be killed.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)


def main() -> None:
    """Answer the one request on standard input; whatever the probe prints goes to standard
    error.
    """
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
    # Threads that the application left running must not hold the answer up.
    os._exit(0)


def _die_with_parent() -> None:
    """Have Linux kill this process when the command that started it is killed."""
    if sys.platform.startswith("linux"):
        import ctypes

        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    main()
