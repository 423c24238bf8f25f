"""The colours of severities on a terminal."""

from __future__ import annotations

import os
from typing import TextIO

COLOURS = {"error": "31;1", "warning": "33", "advice": "36", "unknown": "35", "ok": "32"}


def use_colour(stream: TextIO) -> bool:
    """Whether `stream` is a terminal with colours, and NO_COLOR is not set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, severity: str, stream: TextIO) -> str:
    """Return `text` in the colour of `severity` where `stream` is a terminal with colours."""
    return f"\033[{COLOURS[severity]}m{text}\033[0m" if use_colour(stream) else text
