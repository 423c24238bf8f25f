"""Prints rows with cliff's formatters."""

from __future__ import annotations

import argparse
from typing import Mapping, Optional, Sequence, TextIO

from kallithea_tune.text import WIDTH, evidence_text

FORMATS = {
    "table": ("cliff.formatters.table", "TableFormatter"),
    "json": ("cliff.formatters.json_format", "JSONFormatter"),
    "yaml": ("cliff.formatters.yaml_format", "YAMLFormatter"),
    "csv": ("cliff.formatters.commaseparated", "CSVLister"),
    "value": ("cliff.formatters.value", "ValueFormatter"),
}
NESTED = ("json", "yaml")


def emit_list(
    format: Optional[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    chosen: Sequence[str],
    stream: TextIO,
) -> None:
    """Print `rows` in `format`, with only the `chosen` columns if there are any.

    Without a format it is a table for people, 80 columns wide. Raises LookupError with the first
    column that does not exist.
    """
    import importlib

    for name in chosen:
        if name not in columns:
            raise LookupError(name)
    indexes = [columns.index(name) for name in chosen] if chosen else list(range(len(columns)))
    module, class_name = FORMATS[format or "table"]
    formatter = getattr(importlib.import_module(module), class_name)()
    parser = argparse.ArgumentParser()
    formatter.add_argument_group(parser)
    options = parser.parse_args([] if format else ["--max-width", str(WIDTH)])
    flatten = format not in NESTED
    data = [[_flat(row[i]) if flatten else row[i] for i in indexes] for row in rows]
    formatter.emit_list([columns[index] for index in indexes], data, stream, options)


def _flat(value: object) -> object:
    if isinstance(value, Mapping):
        return evidence_text(value)
    return "" if value is None else value
