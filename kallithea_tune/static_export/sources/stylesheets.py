"""Which files stylesheets refer to: ``url(...)`` and ``@import``, as CSS Syntax Level 3 reads them.

A reference to a file that does not exist costs a request with each page, and falls through to the
application.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Callable, Iterator, Mapping, NamedTuple, Optional
from urllib.parse import unquote, urlsplit

from kallithea_tune.static_export.release.manifest import Published, StaticFile

_ESCAPE = r"\\(?:[0-9a-fA-F]{1,6}(?:\r\n|[ \t\r\n\f])?|\r\n|[^0-9a-fA-F])"
_STRING = rf""""(?:[^"\\\n\r\f]|{_ESCAPE})*"|'(?:[^'\\\n\r\f]|{_ESCAPE})*'"""
_SPACE = r"[ \t\r\n\f]*"
_BARE = rf"""(?:[^"'()\\ \t\r\n\f]|{_ESCAPE})*"""
# In this order at every position: what a comment or a string contains is no reference.
_TOKENS = (
    r"/\*.*?(?:\*/|\Z)",
    rf"@import(?:[ \t\r\n\f]|/\*.*?\*/)*(?P<imported>{_STRING})",
    rf"(?<![\w-])url\({_SPACE}(?:(?P<quoted>{_STRING})|(?P<bare>{_BARE})){_SPACE}\)",
    _STRING,
)
_TOKEN = re.compile("|".join(_TOKENS), re.DOTALL | re.IGNORECASE)


class Missing(NamedTuple):
    """The first reference to a file, as it stands in the stylesheet at the URL path `path`."""

    path: str
    reference: str


def missing(
    files: Mapping[str, Published], prefix: str, read: Callable[[StaticFile], str]
) -> list[Missing]:
    """Return the references in the stylesheets of a release to files that it does not have.

    `prefix` is the path in front of all URLs, empty for none; what is at another host is not
    looked for. A file that is kept from an earlier release is not read again.
    """
    found: dict[tuple[str, str], str] = {}
    for path, item in sorted(files.items()):
        if path.endswith(".css") and not item.kept:
            for reference in references(read(item.file)):
                wanted = target(path, reference, prefix)
                if wanted and wanted not in files:
                    found.setdefault((path, wanted), reference)
    return [Missing(path, reference) for (path, _), reference in found.items()]


def text_of(file: StaticFile) -> str:
    """Return the text of a stylesheet."""
    with open(file.source, encoding="utf-8", errors="replace") as opened:
        return opened.read()


def references(text: str) -> Iterator[str]:
    """Yield the URLs in a stylesheet, without quotes and escapes. Pure."""
    for token in _TOKEN.finditer(text):
        quoted = token["imported"] or token["quoted"]
        found = quoted[1:-1] if quoted else token["bare"]
        if found is not None:
            yield re.sub(_ESCAPE, _unescaped, found)


def target(stylesheet: str, reference: str, prefix: str) -> Optional[str]:
    """Return the path in the release that a reference means, None for what cannot be there. Pure.

    A path outside of `prefix` belongs to somebody else.
    """
    try:
        parts = urlsplit(reference.strip())
    except ValueError:
        return None
    # What only has a fragment is inside the document itself.
    if parts.scheme or parts.netloc or not parts.path:
        return None
    base = posixpath.join("/", prefix.strip("/"))
    place = posixpath.join(base, posixpath.dirname(stylesheet), unquote(parts.path))
    path = os.path.relpath(posixpath.normpath("/" + place.lstrip("/")), base)
    return None if path.startswith("../") else path


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0][1:]
    digits = escape.rstrip(" \t\r\n\f")
    if re.fullmatch("[0-9a-fA-F]{1,6}", digits):
        number = int(digits, 16)
        return chr(number) if 0 < number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
    return "" if escape in ("\n", "\r", "\r\n", "\f") else escape
