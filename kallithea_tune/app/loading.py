"""Whether the application loads in the child that loads it, and why not where it does not."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import re
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.text import shortened

# Files in the scratch directory: where the application hung, and a mark that it has loaded.
_LOADING, _LOADED = "loading", "loaded"
# The innermost call of a traceback as faulthandler writes it.
_CALL = re.compile(r'File "(?P<file>[^"\n]*)", line (?P<line>\d+) in (?P<function>.+)')


class DoesNotLoad(NotMeasured):
    """The application could not be loaded: `kind` of exception and first line of its `message`.

    Where it raised none, but ended its process or was too slow, `kind` is empty, and `message` says
    what it did.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__("the application does not start, see WEB008")
        self.kind, self.message = kind, message

    @property
    def reason(self) -> str:
        """Kind and message, as far as there are any."""
        kind = "it calls sys.exit" if self.kind == "SystemExit" else self.kind
        return ": ".join(filter(None, (kind, self.message or "it gives no reason")))


@dataclass(frozen=True)
class LoadFailure:
    """Why the application did not load, see `DoesNotLoad`."""

    kind: str
    message: str


class ErrorLog(logging.Handler):
    """Keeps what the application logs as errors, among it the reason for calling sys.exit."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.messages.append(shortened(" ".join(record.getMessage().split())))


def failure_of(error: BaseException, logged: Sequence[str]) -> LoadFailure:
    """Return the failure of a load that raised `error`, after the messages of an `ErrorLog`."""
    message = str(error).strip().split("\n")[0]
    if isinstance(error, SystemExit) and (logged or message.isdigit()):
        message = " ".join(logged)
    return LoadFailure(type(error).__name__, shortened(message))


@contextlib.contextmanager
def limited(directory: str, seconds: float) -> Iterator[None]:
    """End this process, which may hang in C code, where the load inside takes more than `seconds`.

    What `ended` needs to know is written to `directory`.
    """
    with open(os.path.join(directory, _LOADING), "w") as file:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    with open(os.path.join(directory, _LOADED), "w"):
        pass


def ended(directory: str, seconds: float, reason: str) -> Optional[LoadFailure]:
    """Return the failure of a load after which the process `reason`, as in ``ended with status 7``.

    None where the application had loaded, or its load had not begun; see `limited`.
    """
    try:
        with open(os.path.join(directory, _LOADING), encoding="utf-8", errors="replace") as file:
            call = _CALL.search(file.read(1 << 16))
    except OSError:
        return None
    if os.path.exists(os.path.join(directory, _LOADED)):
        return None
    if not call:
        return LoadFailure("", f"its process {reason}")
    place = f"{call['function']} ({call['file']}, line {call['line']})"
    return LoadFailure("", f"it was still loading after {seconds:.3g} s, in {place}")
