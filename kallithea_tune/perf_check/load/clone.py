"""Clones with hg and git themselves, and verifies what they have got."""

from __future__ import annotations

import os
import shutil

from kallithea_tune.system import programs
from kallithea_tune.text import shortened

# The isolated environment lets git speak to nobody.
_OVER_HTTP = {"GIT_ALLOW_PROTOCOL": "http:https"}
# Nothing is checked out: that is the client's work. A server that refers a client to a bundle
# elsewhere, or to another server, is not followed.
_CLONE = {
    "hg": ("hg", "clone", "--quiet", "--noupdate", "--config", "ui.clonebundles=false"),
    "git": ("git", "-c", "http.followRedirects=false", "clone", "--quiet", "--bare"),
}
_VERIFY = {
    "hg": ("hg", "--quiet", "--repository", "{}", "verify"),
    "git": ("git", "--git-dir", "{}", "fsck", "--full", "--no-progress"),
}


def make(kind: str, url: str, target: str, seconds: float) -> str:
    """Clone `url` to `target`; return what went wrong, nothing where all was well."""
    return _failure([*_CLONE[kind], url, target], seconds)


def wrong(kind: str, target: str, seconds: float) -> str:
    """Return what is wrong with a clone, by ``hg verify`` or ``git fsck``."""
    return _failure([word.format(target) for word in _VERIFY[kind]], seconds)


def first(kind: str, url: str, directory: str, seconds: float) -> tuple[int, str]:
    """Clone `url` in `directory`, verify and remove that; return its size, and what was wrong."""
    target = os.path.join(directory, f"first-{kind}")
    try:
        reason = make(kind, url, target, seconds) or wrong(kind, target, seconds)
        sizes = (
            os.lstat(os.path.join(place, name)).st_size
            for place, _, names in os.walk(target)
            for name in names
        )
        return sum(sizes), reason
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _failure(command: list[str], seconds: float) -> str:
    title = f"{command[0]} {'clone' if 'clone' in command else 'verify'}"
    program = programs.beside(command[0])
    try:
        result = programs.run([program, *command[1:]], seconds, variables=_OVER_HTTP)
    except programs.TooLate as late:
        return f"{title}: {late}"
    except OSError as error:
        return f"{title}: {error.strerror}"
    if not result.status:
        return ""
    lines = result.errors.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
    return shortened(f"{title}: {lines[-1]}")
