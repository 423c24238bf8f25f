"""Text from the admin as each server's configuration can hold it: quoted in its way, or refused.

Each function returns `text` as one word of that server's configuration, with its quotes. Raises
ConfigError for what no quoting can express there.
"""

from __future__ import annotations

import re
from typing import Callable, Mapping

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
    """Quote for Apache; for some of its directives, there is a function of their own."""
    if "${" in text:
        raise ConfigError(
            f"Apache's configuration cannot contain '{text}': it replaces what begins with "
            "'${'; choose another name"
        )
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def apache_directory(text: str) -> str:
    """Quote for Apache's <Directory>, where ``*?[`` are wildcards, and one character in brackets is
    itself.
    """
    if not re.search(r"[*?[]|\$\{", text):
        return apache(text)
    return apache(re.sub(r"[*?[$]", r"[\g<0>]", text.replace("\\", r"\\")))


def apache_expression(text: str) -> str:
    """Quote for an expression of Apache, inside of other quotes: with octal numbers of bytes, after
    which a digit would belong to the number.
    """

    def octal(match: re.Match[str]) -> str:
        return "".join(f"\\{byte:03o}" for byte in match[0].encode())

    return "'" + re.sub(r"[^\w/.~+-][0-9]*", octal, text, flags=re.A) + "'"


def apache_substitution(text: str) -> str:
    """Escape for the words that RewriteRule and RewriteCond put together, which stand without
    quotes, since a backslash would not escape one inside of them.
    """
    if "?" in text:
        raise ConfigError(
            f"Apache's RewriteRule cannot contain '{text}': a query would begin at its question "
            "mark; choose another name"
        )
    return re.sub(r"[ \\$%{]", r"\\\g<0>", text)


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


# Filters of templates beside ``quoted``, by name.
FILTERS: Mapping[str, Callable[[str], str]] = {
    function.__name__: function
    for function in (apache_directory, apache_expression, apache_substitution)
}
