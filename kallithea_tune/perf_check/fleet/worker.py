"""The machine's side: runs requested checks in a process of their own, one request at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from typing import Mapping, Optional, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.fleet import messages
from kallithea_tune.perf_check.fleet.messages import Answer, Machine, Request, State

# For loading the checks, beyond what they may take.
LOADING_SECONDS = 15.0


class Work:
    """The requests that one worker is sent, whose ini file `words` name: those of its command line.

    The answers are made at once, in the worker's own loop, and whatever goes wrong is in them
    without a word of what the exception says: it may have secrets.
    """

    def __init__(self, words: Sequence[str], directory: str) -> None:
        self._ini = ini_in(words, directory)
        self._lock = threading.Lock()
        self._token = ""
        self._answer = Answer(State.forgotten)

    def begin(self, arguments: Mapping[str, object]) -> Answer:
        """Start a request, unless one is being carried out."""
        try:
            request = messages.requested(arguments)
        except ValueError as error:
            return Answer(State.refused, str(error))
        if not self._ini:
            return Answer(State.refused, "its command line has no -c with an ini file")
        with self._lock:
            if self._answer.state is State.running:
                return Answer(State.busy, "another request is being carried out")
            machine = here(self._ini)
            held = _claimed(request.token, machine)
            if held is None:
                return Answer(State.elsewhere, machine=machine)
            self._token, self._answer = request.token, Answer(State.running, machine=machine)
            thread = threading.Thread(target=self._run, args=(request, held), daemon=True)
            thread.start()
            return self._answer

    def collect(self, arguments: Mapping[str, object]) -> Answer:
        """Return what has become of the request with this token."""
        with self._lock:
            known = messages.is_token(arguments.get("token")) and len(arguments) == 1
            if not known or arguments["token"] != self._token:
                return Answer(State.forgotten, "the worker does not know the request")
            return self._answer

    def _run(self, request: Request, held: socket.socket) -> None:
        with held:
            answer = _carried_out(request, self._ini)
        with self._lock:
            self._answer = answer


def _carried_out(request: Request, ini: str) -> Answer:
    from kallithea_tune.perf_check.fleet import report
    from kallithea_tune.system import child

    machine = here(ini)
    try:
        made = child.call(
            report.made,
            request.seconds + LOADING_SECONDS,
            ini=ini,
            checks=request.checks,
            budget=request.seconds,
            host=machine.host,
            token=request.token,
        )
    except child.Ended:
        return Answer(State.failed, "the checks did not finish in their time", machine=machine)
    except NotMeasured as error:
        # In words of ours: `made` lets no other message out.
        return Answer(State.failed, str(error), machine=machine)
    except BaseException as error:
        return Answer(State.failed, type(error).__name__, machine=machine)
    return Answer(State.done, report=made.findings, facts=made.facts, machine=machine)


def _claimed(token: str, machine: Machine) -> Optional[socket.socket]:
    """Return what one worker of this machine and ini file can hold for a request, else None.

    It is an abstract UNIX socket, which is gone with its process. Containers may share them.
    """
    name = hashlib.sha256("\0".join([token, *vars(machine).values()]).encode()).hexdigest()
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0kallithea_tune-{name}")
    except OSError:
        claim.close()
        return None
    return claim


def here(ini: str) -> Machine:
    """Return what tells this machine, or container, from others."""
    from kallithea_tune.perf_check.scaling import hosts

    path = os.path.realpath(ini)
    with contextlib.suppress(OSError):
        host = hosts.own()
        return Machine(host.name, host.boot, str(host.pid_namespace), path)
    return Machine(socket.gethostname(), ini=path)


def ini_in(words: Sequence[str], directory: str) -> str:
    """Return the ini file of the command line ``kallithea-cli celery-run -c my.ini``, "" for none.

    What follows ``--`` is Celery's, where ``-c`` is something else.
    """
    own = list(words[1:])
    own = own[: own.index("--")] if "--" in own else own
    for number, word in enumerate(own):
        name, _, value = word.partition("=")
        if name in ("-c", "--config_file") and (value or own[number + 1 :]):
            return os.path.join(directory, value or own[number + 1])
        if word.startswith("-c") and not word.startswith("--") and len(word) > 2:
            return os.path.join(directory, word[2:])
    return ""
