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
    """Quote for Caddy, where a backslash escapes nothing but a quote, and backquotes quote all."""
    if "{" in text:
        # An escaped one would be replaced all the same in a file that another one imports.
        raise ConfigError(f"Caddy cannot contain '{text}': it replaces what is in braces")
    if '\\"' not in text and not text.endswith("\\"):
        return '"' + text.replace('"', '\\"') + '"'
    if "`" not in text:
        return f"`{text}`"
    raise ConfigError(f"Caddy cannot contain '{text}': a backquote, and a backslash before a quote")


def lighttpd(text: str) -> str:
    """Quote for lighttpd, where a backslash is special only before a quote."""
    if text.endswith("\\"):
        raise ConfigError(
            f"lighttpd's configuration cannot contain '{text}', which ends with a backslash; "
            "choose another name"
        )
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def lua(text: str) -> str:
    """Quote for Lua, the language of lighttpd's script."""
    escaped = "".join(
        f"\\{ord(char):03}" if char in '"\\' or ord(char) < 32 else char for char in text
    )
    return f'"{escaped}"'


def haproxy(text: str) -> str:
    """Quote for HAProxy, as a shell does."""
    return "'" + text.replace("'", r"'\''") + "'"
