"""What the command and the machines of a fleet say to one another: JSON, bounded and checked."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Mapping, Optional

from kallithea_tune import __version__
from kallithea_tune.text import printable, shortened

# The remote-control commands, as Celery calls them.
BEGIN, COLLECT = "kallithea_tune_begin", "kallithea_tune_collect"
# Of one machine's report: 90 findings have 50 KB.
REPORT_BYTES = 256 << 10
MOST_CHECKS, MOST_SECONDS = 300, 600.0
REASON = 200  # characters

_TOKEN = re.compile("[0-9a-f]{32}")
_CHECK = re.compile("[A-Z]{2,8}[0-9]{3}")


class State(enum.Enum):
    """What a machine is doing with a request, in its answer."""

    running = "running"
    done = "done"
    failed = "failed"
    """The checks could not be run; the answer has the reason."""
    refused = "refused"
    """The request is not one that this version carries out."""
    busy = "busy"
    """Another request is being carried out."""
    elsewhere = "elsewhere"
    """Another worker of the same machine and ini file carries the request out."""
    forgotten = "forgotten"
    """The worker does not know the request: it was restarted."""


@dataclass(frozen=True)
class Request:
    """A request to run checks that only read, by id, within `seconds`.

    `token` tells it from others, and salts the digests of secrets.
    """

    token: str
    checks: tuple[str, ...]
    seconds: float
    version: str = __version__

    def arguments(self) -> dict[str, object]:
        """Return the arguments of the remote-control command."""
        return {
            "token": self.token,
            "checks": list(self.checks),
            "seconds": self.seconds,
            "version": self.version,
        }


def requested(arguments: Mapping[str, object]) -> Request:
    """Return the request with these arguments. Raises ValueError for any that we do not send."""
    if set(arguments) != {"token", "checks", "seconds", "version"}:
        raise ValueError("its arguments are those of another version")
    token, checks, seconds = (arguments[name] for name in ("token", "checks", "seconds"))
    if not is_token(token):
        raise ValueError("it has no token")
    if not isinstance(checks, list) or not 0 < len(checks) <= MOST_CHECKS:
        raise ValueError("it has no list of checks")
    if not all(isinstance(item, str) and _CHECK.fullmatch(item) for item in checks):
        raise ValueError("one of its checks has no valid id")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError("it has no time")
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"its time is not between 0 and {MOST_SECONDS:g} seconds")
    if arguments["version"] != __version__:
        raise ValueError(f"the version here is {__version__}")
    return Request(str(token), tuple(checks), float(seconds))


def is_token(value: object) -> bool:
    """Return whether this may be the token of a request."""
    return isinstance(value, str) and bool(_TOKEN.fullmatch(value))


@dataclass(frozen=True)
class Machine:
    """Which machine, or container, a report is of, and which ini file is used there.

    `boot` is the id that the kernel has until it is started anew, `processes` the number of the
    namespace of process ids: together with `host` they tell two containers apart.
    """

    host: str = ""
    boot: str = ""
    processes: str = ""
    ini: str = ""


@dataclass(frozen=True)
class Answer:
    """What a worker answers: its `state`, `reason` in words, and when done, its `report` and its
    `facts`, both as JSON.
    """

    state: State
    reason: str = ""
    report: str = ""
    facts: str = ""
    machine: Machine = field(default_factory=Machine)

    def document(self) -> dict[str, object]:
        """Return it for Celery, which sends JSON."""
        machine = vars(self.machine)
        return {**vars(self), "state": self.state.name, "machine": dict(machine)}


def answered(document: object) -> Optional[Answer]:
    """Return the answer in a document that a worker sent, None for what is none."""
    if not isinstance(document, dict):
        return None
    try:
        state = State[document["state"]]
        reason, report, facts = (document[name] for name in ("reason", "report", "facts"))
        fields = document["machine"]
        machine = Machine(**{name: _text(fields[name]) for name in vars(Machine())})
        reason = _text(reason)
    except (KeyError, TypeError):
        return None
    for text in (report, facts):
        if not isinstance(text, str) or len(text.encode("utf-8", "replace")) > REPORT_BYTES:
            return Answer(State.failed, f"its report is larger than {REPORT_BYTES >> 10} KB")
    return Answer(state, reason, report, facts, machine)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return shortened(printable(value[: 10 * REASON]), REASON)
