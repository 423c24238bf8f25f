"""Messages of servers, in which they may put the value of a row: a password hash, an API key."""

from __future__ import annotations

import re

from kallithea_tune.config.redact import MASK

# A value may contain quotes and line ends.
_VALUES = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"(?P<head>Duplicate entry )'.*'(?= for key)",
        r"(?P<head>[Ii]ncorrect [\w ()-]+ value: )'.*'(?= for |$)",
        r"(?P<head>(?:invalid input syntax|out of range)[^:\n]*: )(['\"]).*\2",
        r"(?P<head>\bvalue )\".*\"(?= is out of range)",
    )
)


def without_values(message: str) -> str:
    """Return the message with the values of rows masked."""
    for pattern in _VALUES:
        message = pattern.sub(lambda match: match["head"] + MASK, message)
    return message
