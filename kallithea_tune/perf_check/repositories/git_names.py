"""Names in git's own files: how git quotes them, and which it ignores."""

from __future__ import annotations

import os
import re

# git-config manual, core.quotePath.
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = dict(zip("abfnrtv", b"\a\b\f\n\r\t\v"))
_PLAIN = re.compile(rb"[\w/.,:=@+-]")
# git-check-ref-format manual: git ignores a file of such a name among the refs.
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|/\.|\.$|\.lock(/|$)")


def quoted(name: str) -> bytes:
    """Return `name` quoted as in C, as it fits into a line of ``objects/info/alternates``."""
    octets = (bytes([octet]) for octet in os.fsencode(name))
    return b'"%s"' % b"".join(
        octet if _PLAIN.match(octet) else b"\\%03o" % ord(octet) for octet in octets
    )


def unquoted(name: str) -> str:
    """Return the name that may be quoted as in C."""
    if len(name) > 1 and name.startswith('"') and name.endswith('"'):
        return os.fsdecode(_ESCAPE.sub(_octet, os.fsencode(name[1:-1])))
    return name


def _octet(match: re.Match[bytes]) -> bytes:
    escaped = match[1].decode("latin-1")
    if escaped.isdigit():
        return bytes([int(escaped, 8) & 255])
    return bytes([_LETTERS[escaped]]) if escaped in _LETTERS else match[1]


def is_ref(name: str) -> bool:
    """Whether git takes a file of this name, as ``refs/heads/main``, for a ref."""
    return not _NO_REF.search(name)
