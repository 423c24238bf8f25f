"""Text for reports: numbers, evidence, lines of 80 columns, values that JSON and YAML can hold."""

from __future__ import annotations

import math
import textwrap
from typing import Any, Mapping, Sequence

WIDTH = 80


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


def printable(text: str) -> str:
    """Return `text` in one line, with a question mark for each control character."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


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


def megabytes(count: float) -> str:
    """Write bytes as an admin reads them: ``12.3 MB``, ``4.56 GB``."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def first_of(names: Sequence[str], limit: int = 2) -> str:
    """Return the first of many names: ``a, b and 3 more``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def _entry(key: str, value: object) -> str:
    unit = ""
    for suffix, name in _UNITS:
        if key.endswith(suffix):
            key, unit = key[: -len(suffix)], name
            break
    label = key.replace("_", " ")
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
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no infinity and no NaN.
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
