"""Whether the application loads in the child that loads it, and why not where it does not."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence, TextIO

from kallithea_tune.errors import NotMeasured
from kallithea_tune.text import shortened

# Files in the scratch directory: where the application hung, and a mark that it has loaded.
_LOADING, _LOADED = "loading", "loaded"
# How long an application may load, and how much longer a process may live in which nothing notices.
LOAD_SECONDS, UNNOTICED_S = 15.0, 2.0
# In this last part of the time, an application that wants less of a processor than the second waits
# for something; one that gets more than the third is not merely slow because the machine is busy.
# Our judgement.
LATELY, WAITING, ALONE = 0.2, 0.05, 0.5


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
        return ": ".join(filter(None, (kind, self.message or "no reason given")))


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
    """End this process where the load inside takes more than `seconds`.

    What `ended` needs to know is written to `directory`.
    """
    loaded = threading.Event()
    with open(os.path.join(directory, _LOADING), "w") as file:
        # This ends even a process that hangs in C code, in which no thread of Python runs.
        faulthandler.dump_traceback_later(seconds + UNNOTICED_S, exit=True, file=file)
        threading.Thread(target=_watch, args=(loaded, seconds, file), daemon=True).start()
        try:
            yield
        finally:
            loaded.set()
            faulthandler.cancel_dump_traceback_later()
    with open(os.path.join(directory, _LOADED), "w"):
        pass


def _watch(loaded: threading.Event, seconds: float, file: TextIO) -> None:
    """End the process after `seconds`; write what it did lately, and where it is."""
    if loaded.wait(seconds * (1 - LATELY)):
        return
    before = _processor_seconds()
    if loaded.wait(seconds * LATELY):
        return
    used, wanted = (
        (after - earlier) / (seconds * LATELY)
        for earlier, after in zip(before, _processor_seconds())
    )
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    place = f"{frame.f_code.co_name} ({frame.f_code.co_filename}, line {frame.f_lineno})"
    file.write(f"{used:.3f} {wanted:.3f} {place}")
    file.flush()
    os._exit(1)


def _processor_seconds() -> tuple[float, float]:
    """Return how long the main thread has had a processor, and has had one or waited for one."""
    with open("/proc/self/schedstat", encoding="ascii") as file:
        had, waited = (int(field) / 1e9 for field in file.read().split()[:2])
    return had, had + waited


def ended(directory: str, seconds: float, reason: str) -> Optional[LoadFailure]:
    """Return the failure of a load after which the process `reason`, as in ``ended with status 7``.

    None where the application had loaded, or its load had not begun; see `limited`. Raises
    NotMeasured where it was not waiting for anything, and may only have had too little time.
    """
    try:
        with open(os.path.join(directory, _LOADING), encoding="utf-8", errors="replace") as file:
            written = file.read(1 << 16)
    except OSError:
        return None
    if os.path.exists(os.path.join(directory, _LOADED)):
        return None
    if not written:
        return LoadFailure("", f"its process {reason}")
    if written.startswith("Timeout"):
        # By faulthandler.
        return LoadFailure("", f"it was still loading after {seconds:.3g} s, in C code")
    used, wanted, place = written.split(" ", 2)
    still = f"it was still loading after {seconds:.3g} s, in {place}"
    endless = seconds >= LOAD_SECONDS and float(used) > ALONE
    if float(wanted) > WAITING and not endless:
        raise NotMeasured(
            f"{still}; it was not merely waiting: the machine is busy or the time was too short"
        )
    return LoadFailure("", still)
