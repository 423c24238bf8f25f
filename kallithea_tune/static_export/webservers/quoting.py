"""Text from the admin as each server's configuration can hold it: quoted in its way, or refused.

Each function returns `text` as one word of that server's configuration, with its quotes. Raises
ConfigError for what no quoting can express there.
"""

from __future__ import annotations

import re

from kallithea_tune.errors import ConfigError


def nginx(text: str) -> str:
    """Quote for nginx, where a variable cannot be kept from being one."""
    if "$" in text:
        raise ConfigError(
            f"nginx reads '$' in '{text}' as the beginning of a variable; choose a path without it"
        )
    # Only before these and at the end, a backslash is more than itself.
    text = re.sub(r"""\\(?=["'\\trn]|$)""", r"\\\\", text)
    return '"{}"'.format(text.replace('"', r"\""))


def apache(text: str) -> str:
    """Quote for Apache."""
    return f'"{text}"'


def caddy(text: str) -> str:
    """Quote for Caddy."""
    return f'"{text}"'


def lighttpd(text: str) -> str:
    """Quote for lighttpd."""
    return f'"{text}"'


def haproxy(text: str) -> str:
    """Quote for HAProxy."""
    return f'"{text}"'
