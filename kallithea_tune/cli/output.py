"""Prints rows as CSV, or with cliff's formatters, without control characters and formulas."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from typing import Mapping, Sequence, TextIO

from kallithea_tune.cli.format_options import Layout
from kallithea_tune.errors import ConfigError
from kallithea_tune.text import WIDTH, evidence_text, plain, printable

FORMATS = {
    "table": ("cliff.formatters.table", "TableFormatter"),
    "json": ("cliff.formatters.json_format", "JSONFormatter"),
    "yaml": ("cliff.formatters.yaml_format", "YAMLFormatter"),
    "value": ("cliff.formatters.value", "ValueFormatter"),
}
NESTED = ("json", "yaml")
# What a spreadsheet takes for the beginning of a formula, and what it does not:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def emit_list(
    layout: Layout,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    stream: TextIO,
    essential: Sequence[str] = (),
) -> None:
    """Print `rows` as `layout` says.

    Without a format it is a table for people, 80 columns wide. A table has the `essential` columns,
    where there are any and none is chosen, and is as wide as the terminal. Raises LookupError with
    the first column that does not exist, ConfigError for cells that need the quotes refused.
    """
    for name in (*layout.columns, *layout.sort_columns):
        if name not in columns:
            raise LookupError(name)
    fitted = bool(layout.format == "table" and essential and not layout.columns)
    names = list(layout.columns or (essential if fitted else columns))
    cell = plain if layout.format in NESTED else _csv_cell if layout.format == "csv" else _cell
    rows = _sorted(layout, columns, rows)
    data = [[cell(row[columns.index(name)]) for name in names] for row in rows]
    if layout.format == "csv":
        _write_csv(layout.quote, [names, *data], stream)
    else:
        _emit_with_cliff(layout, names, data, stream, fitted)


def _sorted(
    layout: Layout, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> Sequence[Sequence[object]]:
    """Sort numbers by size before texts, and what is unknown comes last."""

    def key(value: object) -> tuple[bool, bool, float, str]:
        if isinstance(value, (int, float)):
            return False, False, value, ""
        return value is None, True, 0.0, str(value)

    for name in reversed(layout.sort_columns):
        number = columns.index(name)
        rows = sorted(rows, key=lambda row: key(row[number]), reverse=layout.descending)  # noqa: B023
    return rows


def _write_csv(quote: str, rows: Sequence[Sequence[object]], stream: TextIO) -> None:
    # Not cliff's, which from Python 3.10 on doubles each backslash: no reader expects that.
    writer = csv.writer(
        stream,
        quoting=getattr(csv, f"QUOTE_{quote.upper()}"),
        escapechar="\\" if quote == "none" else None,
        lineterminator=os.linesep,
    )
    try:
        writer.writerows(rows)
    except csv.Error as error:
        raise ConfigError(f"--quote {quote} cannot write a cell: {error}") from None


def _emit_with_cliff(
    layout: Layout, names: list[str], data: list[list[object]], stream: TextIO, fitted: bool
) -> None:
    import importlib
    import shutil

    module, class_name = FORMATS[layout.format or "table"]
    formatter = getattr(importlib.import_module(module), class_name)()
    parser = argparse.ArgumentParser()
    formatter.add_argument_group(parser)
    words = layout.words
    sized = layout.fit_width or layout.max_width is not None
    if not sized and (fitted or not layout.format):
        width = shutil.get_terminal_size((WIDTH, 0)).columns if fitted else WIDTH
        words.append(f"--max-width={width}")
    # Options of other formats are unknown to this one.
    formatter.emit_list(names, data, stream, parser.parse_known_args(words)[0])


def _cell(value: object) -> object:
    """Return `value` as one line of text, a number as it is."""
    if isinstance(value, Mapping):
        value = evidence_text(value)
    if isinstance(value, (list, tuple)):
        value = json.dumps(plain(value)) if value else ""
    if isinstance(value, (int, float)):
        return value
    return "" if value is None else printable(str(value))


def _csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet executes: an apostrophe makes text of a formula."""
    cell = _cell(value)
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell
