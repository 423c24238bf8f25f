"""Text for reports: numbers, evidence, lines of 80 columns, words for the shell, and no control
characters; values that JSON and YAML can hold.
"""

from __future__ import annotations

import enum
import math
import os
import re
import shlex
import textwrap
from typing import Any, Mapping, Sequence

WIDTH = 80
# What a terminal obeys instead of showing, and what hides or reorders the text around it: Unicode's
# categories Cc, Zl and Zp, the invisible and bidirectional ones of Cf, and the surrogates by which
# Python stands for the bytes of a file's name that are not UTF-8.
_SURROGATES = r"\ud800-\udfff"
_CONTROLS = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\U000e0000-\U000e007f" + _SURROGATES
)
_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_IN_LINES = re.compile(rf"(?!\r?\n|\t)[{_CONTROLS}]")
_SURROGATE = re.compile(f"[{_SURROGATES}]")


def wrapped(label: str, text: str, lines: int = 1) -> list[str]:
    """Lay out `text` after `label` in 80 columns and at most `lines` lines, as `printable`."""
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        max_lines=lines,
        placeholder=" ...",
        break_on_hyphens=False,
    ) or [label.rstrip()]


def printable(text: str, lines: bool = False) -> str:
    """Return `text` in one line, each control character escaped as in ``\\n`` and ``\\x1b``.

    A byte that is not UTF-8, in the name of a file, is ``\\xff``. With `lines`, newlines and tabs
    stay: for text of which we know that it has several lines.
    """
    return (_CONTROL_IN_LINES if lines else _CONTROL).sub(_escape, text)


def has_control(text: str) -> bool:
    """Whether `printable` would change `text`."""
    return bool(_CONTROL.search(text))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode("ascii")


def shell_word(text: str) -> str:
    """Quote `text` as one word for any POSIX shell, in one line that `printable` leaves alone.

    The shell drops newlines at the end of what ``printf`` prints, so a name that ends with one gets
    a slash: it is a directory's.
    """
    if not has_control(text):
        return shlex.quote(text)
    octets = os.fsencode(text + "/" * text.endswith("\n"))
    written = (
        chr(octet) if re.match(rb"[\w/.,:=@+ -]", bytes([octet])) else f"\\0{octet:03o}"
        for octet in octets
    )
    return "\"$(printf %b '{}')\"".format("".join(written))


def shortened(text: str, limit: int = 2000) -> str:
    """Return at most `limit` characters of `text`, and how many more there are.

    It is cut at a blank where there is one, so that no half of a secret is left, which nothing
    would recognize.
    """
    if len(text) <= limit:
        return text
    kept = text[:limit].rpartition(" ")[0] or text[:limit]
    return f"{kept} ... ({len(text) - len(kept):,} more characters)"


_UNITS: tuple[tuple[str, str], ...] = (
    ("_mb_per_s", " MB/s"),
    ("_per_s", "/s"),
    ("_ms", " ms"),
    ("_us", " us"),
    ("_mb", " MB"),
    ("_gb", " GB"),
    ("_percent", " %"),
    ("_days", " days"),
    ("_bytes", " bytes"),
    ("_s", " s"),
)


def evidence_text(evidence: Mapping[str, object]) -> str:
    """Write ``{"p99_ms": 0.7}`` as ``p99 0.7 ms``, the entries in their order."""
    return ", ".join(_entry(str(key), value) for key, value in evidence.items())


def figure(value: float) -> str:
    """Write `value` with three significant digits, from 1,000 on without decimals or exponent."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def percentage(part: float, sign: str = "") -> str:
    """Write a part of 1 as ``12 %``; with a `sign` of ``+`` as ``+12 %``."""
    return f"{part:{sign}.0%}".replace("%", " %")


def megabytes(count: float) -> str:
    """Write bytes as an admin reads them: ``12.3 MB``, ``4.56 GB``."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def plural(noun: str) -> str:
    """Return the plural of a noun with what follows it, as in ``directories of archives``.

    One that already is a plural stays.
    """
    head, *rest = re.split(" (?=(?:of|in|with) )", noun, maxsplit=1)
    if re.search("(ss|x|ch|sh)$", head):
        head += "es"
    elif re.search("[^aeiou]y$", head):
        head = head[:-1] + "ies"
    elif not head.endswith("s"):
        head += "s"
    return " ".join([head, *rest])


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 repository``, ``1,200 repositories``."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def first_of(names: Sequence[str], limit: int = 2) -> str:
    """Return the first of many names: ``a, b and 3 more``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def label_and_unit(key: str) -> tuple[str, str]:
    """Return what a key of evidence names, and its unit as it follows a number."""
    for suffix, unit in _UNITS:
        if key.endswith(suffix):
            return key[: -len(suffix)].replace("_", " "), unit
    return key.replace("_", " "), ""


def _entry(key: str, value: object) -> str:
    label, unit = label_and_unit(key)
    return f"{label} {_evidence_value(value)}{unit}"


def _evidence_value(value: object) -> str:
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, str) for item in value):
            return "({})".format(", ".join(map(str, value)))
        return "/".join(map(str, value))
    if isinstance(value, Mapping):
        return f"({evidence_text(value)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


# What JSON can hold is a recursive type, which mypy takes but its callers' literals do not.
def plain(value: object) -> Any:
    """Return `value` in the types that JSON and YAML can hold; text for anything else."""
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no infinity and no NaN.
        return None
    if value is None or isinstance(value, (bool, int, float)):
        return value
    # UTF-8 has no surrogates.
    return _SURROGATE.sub(_escape, str(value))
