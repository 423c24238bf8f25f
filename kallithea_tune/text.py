"""How results reach people and machines: the report, cliff's formatters, progress, colours."""

from __future__ import annotations

import argparse
import math
import os
import sys
import textwrap
from typing import Any, Mapping, Optional, Sequence, TextIO

FORMATS = {
    "table": ("cliff.formatters.table", "TableFormatter"),
    "json": ("cliff.formatters.json_format", "JSONFormatter"),
    "yaml": ("cliff.formatters.yaml_format", "YAMLFormatter"),
    "csv": ("cliff.formatters.commaseparated", "CSVLister"),
    "value": ("cliff.formatters.value", "ValueFormatter"),
}
COLOURS = {"error": "31;1", "warning": "33", "advice": "36", "unknown": "35", "ok": "32"}
WIDTH = 80


def use_colour(stream: TextIO) -> bool:
    """Colour only on a terminal that has it, and never against NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, name: str, stream: TextIO) -> str:
    """Return `text` in the colour of the severity `name` where `stream` is a terminal."""
    return f"\033[{COLOURS[name]}m{text}\033[0m" if use_colour(stream) else text


def wrapped(label: str, text: str, lines: int = 1) -> list[str]:
    """Lay `text` out behind `label` within 80 columns and at most `lines` lines, without control
    characters.
    """
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
    """Return `text` in one line, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def emit_list(
    format: Optional[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    chosen: Sequence[str],
    stream: TextIO,
) -> None:
    """Print `rows` by cliff's formatter for `format`, only the `chosen` columns where any are.

    Without a format it is a table for people, within 80 columns.
    Raises LookupError naming the first column that does not exist.
    """
    import importlib

    for name in chosen:
        if name not in columns:
            raise LookupError(name)
    picked = [columns.index(name) for name in chosen] if chosen else list(range(len(columns)))
    module, name = FORMATS[format or "table"]
    formatter = getattr(importlib.import_module(module), name)()
    parser = argparse.ArgumentParser()
    formatter.add_argument_group(parser)
    options = parser.parse_args([] if format else ["--max-width", str(WIDTH)])
    flat = format not in ("json", "yaml")
    data = [[_flat(row[index]) if flat else row[index] for index in picked] for row in rows]
    formatter.emit_list([columns[index] for index in picked], data, stream, options)


def _flat(value: Any) -> Any:
    if isinstance(value, Mapping):
        return evidence_text(value)
    return "" if value is None else value


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


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Write ``{"p99_ms": 0.7}`` as ``p99 0.7 ms``, every entry in its order."""
    return ", ".join(_entry(str(key), value) for key, value in evidence.items())


def figure(value: float) -> str:
    """Write `value` with three digits, and whole from 1,000 on: never as a power of ten."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def megabytes(count: float) -> str:
    """Write bytes as an admin reads them: ``12.3 MB``, ``4.56 GB``."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def first_of(names: Sequence[str], limit: int = 2) -> str:
    """Return the first of many names: ``a, b and 3 more``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def _entry(key: str, value: Any) -> str:
    unit = ""
    for suffix, name in _UNITS:
        if key.endswith(suffix):
            key, unit = key[: -len(suffix)], name
            break
    if isinstance(value, float):
        value = figure(value)
    elif isinstance(value, (list, tuple)):
        names = any(isinstance(item, str) for item in value)
        value = "({})".format(", ".join(map(str, value))) if names else "/".join(map(str, value))
    elif isinstance(value, Mapping):
        value = f"({evidence_text(value)})"
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    return "{} {}{}".format(key.replace("_", " "), value, unit)


class Progress:
    """One line that says what is being measured; silent unless stderr is a terminal."""

    def __init__(self, enabled: bool) -> None:
        self._shown = enabled and sys.stderr.isatty()

    def __call__(self, title: str, done: int, total: int) -> None:
        """Show `title` as the step under way, `done` of `total` being finished."""
        if self._shown:
            text = "[%d/%d] %s" % (done, total, title) if title else ""
            sys.stderr.write("\r\033[K" + text[: WIDTH - 1])
            sys.stderr.flush()


def plain(value: Any) -> Any:
    """Make dict, list and number of any subclass what JSON and YAML can hold."""
    if isinstance(value, Mapping):
        result: dict[str, Any] = {str(key): plain(item) for key, item in value.items()}
        return result
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no word for it.
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
