"""Prints rows as CSV, or with cliff's formatters, without control characters and formulas."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from typing import Mapping, Optional, Sequence, TextIO

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
    format: Optional[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    chosen: Sequence[str],
    stream: TextIO,
    essential: Sequence[str] = (),
) -> None:
    """Print `rows` in `format`, with only the `chosen` columns if there are any.

    Without a format it is a table for people, 80 columns wide. A table has the `essential` columns,
    where there are any and none is chosen, and is as wide as the terminal. Raises LookupError with
    the first column that does not exist.
    """
    import importlib
    import shutil

    for name in chosen:
        if name not in columns:
            raise LookupError(name)
    fitted = format == "table" and essential and not chosen
    names = list(chosen or (essential if fitted else columns))
    cell = plain if format in NESTED else _csv_cell if format == "csv" else _cell
    data = [[cell(row[columns.index(name)]) for name in names] for row in rows]
    if format == "csv":
        # Not cliff's, which from Python 3.10 on doubles each backslash: no reader expects that.
        writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator=os.linesep)
        writer.writerows([names, *data])
        return
    module, class_name = FORMATS[format or "table"]
    formatter = getattr(importlib.import_module(module), class_name)()
    parser = argparse.ArgumentParser()
    formatter.add_argument_group(parser)
    width = shutil.get_terminal_size((WIDTH, 0)).columns if fitted else WIDTH
    unlimited = format and not fitted
    options = parser.parse_args([] if unlimited else ["--max-width", str(width)])
    formatter.emit_list(names, data, stream, options)


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
