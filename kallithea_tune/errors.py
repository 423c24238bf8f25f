"""What can go wrong, each kind with the exit status that the shell sees."""

from __future__ import annotations

from typing import Optional


class TuneError(Exception):
    """A failure that the admin reads as one sentence: what, where, what to do."""

    exit_status = 4


class ConfigError(TuneError):
    """Wrong usage, or an ini file that cannot be used as it is."""

    exit_status = 2


class Refused(TuneError):
    """Something that would have been unsafe was not done."""

    exit_status = 3


class NotMeasured(Exception):
    """Raised by a probe that could not run; its text is the reason shown."""


def interrupted(error: Optional[BaseException]) -> bool:
    """Whether `error` is a KeyboardInterrupt or came up while one was handled, which it must not
    hide.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_FAILED = 4
EXIT_NOT_MEASURED = 5
EXIT_INTERRUPTED = 130
