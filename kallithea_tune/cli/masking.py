"""Redacts what others print in our process, and warns of passwords that others can see."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from typing import Callable, Iterable, Optional, TextIO, Union, cast

from kallithea_tune.text import printable

Redact = Callable[[str], str]


def redacted(stream: TextIO, redact: Redact) -> TextIO:
    """Return a stream that redacts what is printed to it, and passes it on to `stream`."""
    return cast(TextIO, _RedactedStream(stream, redact))


class _RedactedStream:
    """As much of a text stream as ``print`` needs."""

    def __init__(self, stream: TextIO, redact: Redact) -> None:
        self._stream, self._redact = stream, redact

    def write(self, text: str) -> int:
        """Write `text` redacted."""
        return self._stream.write(self._redact(text))

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal, which shows colours."""
        return self._stream.isatty()


def redact_python(redact: Redact) -> None:
    """Redact the warnings and the tracebacks that Python prints by itself, in threads as well."""

    def show(
        message: Union[Warning, str],
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Optional[TextIO] = None,
        line: Optional[str] = None,
    ) -> None:
        text = warnings.formatwarning(str(message), category, filename, lineno, line)
        (file or sys.stderr).write(printable(redact(text), lines=True))

    def print_exception(error: Optional[BaseException]) -> None:
        if error is not None:
            lines = traceback.format_exception(type(error), error, error.__traceback__)
            sys.stderr.write(printable(redact("".join(lines)), lines=True))

    warnings.showwarning = show
    sys.excepthook = lambda kind, error, trace: print_exception(error)
    threading.excepthook = lambda arguments: print_exception(arguments.exc_value)
    sys.unraisablehook = lambda unraisable: print_exception(unraisable.exc_value)
    if logging.lastResort:
        logging.lastResort.addFilter(lambda record: _redact_message(record, redact))


def _redact_message(record: logging.LogRecord, redact: Redact) -> bool:
    record.msg, record.args = printable(redact(record.getMessage())), ()
    return True


def exposed(option: str, values: Iterable[str], remedy: str) -> str:
    """Return a warning where one of the `values` of `option` has a password in it, else nothing.

    ``env:NAME`` and ``file:PATH`` have none: what they refer to is not in the list of processes.
    """
    from kallithea_tune.config.secret_patterns import suspects

    if not any(suspects(value) for value in values if not value.startswith(("env:", "file:"))):
        return ""
    return f"warning: everybody on this machine can read the password in {option}; {remedy}"
