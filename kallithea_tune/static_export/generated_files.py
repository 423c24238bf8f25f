"""Generated files: shown as a diff, replaced atomically, with the previous one kept beside it."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import Optional

from kallithea_tune.errors import ConfigError
from kallithea_tune.system import atomic, written_path
from kallithea_tune.system.written_path import Output, Place

# The templates of all web servers begin with it, in the comments of their languages.
MARKS = (b"# Written by gearbox static-export", b"-- Written by gearbox static-export")
OUTPUT = Output(
    "--output", "a configuration written by static-export", lambda head: head.startswith(MARKS)
)


@dataclass(frozen=True)
class Generated:
    """The `text` of a file for `place`, and how it differs from the one there; None is stdout."""

    place: Optional[Place]
    text: str
    diff: str = ""


def generated(place: Optional[Place], text: str) -> Generated:
    """Compare `text` with what is at `place`, if anything.

    Raises ConfigError when that is not text.
    """
    before, path = "", place.path if place else ""
    if place and place.file:
        try:
            with open(path, encoding="utf-8") as file:
                before = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
    lines = difflib.unified_diff(before.splitlines(True), text.splitlines(True), path, path, n=0)
    return Generated(place, text, "".join(lines))


def replace(place: Place, text: str) -> str:
    """Write `text`; return the path of the copy of what was there before, empty without one.

    Raises as `examine` and `write`.
    """
    kept = ""
    try:
        if place.file and os.path.getsize(place.path):
            kept = atomic.backup(place.path)
    except OSError as error:
        raise ConfigError(f"{place.path} cannot be copied: {error.strerror}") from None
    # Web servers read some of them as their own user.
    written_path.write(place, text, 0o644)
    return kept
