"""Our exceptions, each with its exit status."""

from __future__ import annotations

from typing import Optional


class TuneError(Exception):
    """A failure that is reported in one sentence: what is wrong, where, and what to do."""

    exit_status = 4


class ConfigError(TuneError):
    """Wrong usage, or an ini file that cannot be used."""

    exit_status = 2


class Refused(TuneError):
    """Something unsafe was not done."""

    exit_status = 3


class NotMeasured(Exception):
    """A measurement could not be made; its text is the reason shown."""


def interrupted(error: Optional[BaseException]) -> bool:
    """Whether `error` is a KeyboardInterrupt, or was raised while one was being handled."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_FAILED = 4
EXIT_NOT_MEASURED = 5
EXIT_INTERRUPTED = 130
