"""How wide a report is."""

from __future__ import annotations

import re


def too_long(text: str) -> list[str]:
    """Return the lines beyond 80 columns, but for commands: these are to be pasted, and as long as
    their paths.
    """
    long = [line for line in text.splitlines() if len(line) > 80]
    return [
        line for line in long if not re.match(r"  do:   \S|        \S", line) or " /" not in line
    ]
