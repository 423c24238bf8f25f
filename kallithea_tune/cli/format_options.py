"""The options for output as rows: those of cliff, whose ``-c`` for a column is our ini file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Optional, Sequence

FORMATS = ("table", "json", "yaml", "csv", "value")
QUOTES = ("all", "minimal", "none", "nonnumeric")


@dataclass(frozen=True)
class Layout:
    """How rows are printed; without a `format`, as a table for people."""

    format: Optional[str] = None
    columns: tuple[str, ...] = ()
    sort_columns: tuple[str, ...] = ()
    descending: bool = False
    quote: str = "nonnumeric"
    max_width: Optional[int] = None  # columns of the terminal; below 1 there is no limit
    fit_width: bool = False
    print_empty: bool = False
    noindent: bool = False

    @property
    def words(self) -> list[str]:
        """What was given of the options that cliff's formatters read themselves."""
        words = [] if self.max_width is None else [f"--max-width={self.max_width}"]
        for option in ("fit_width", "print_empty", "noindent"):
            if getattr(self, option):
                words.append("--" + option.replace("_", "-"))
        return words


def layout(args: argparse.Namespace) -> Layout:
    """Return what was chosen with the options of `add_format_options`."""
    return Layout(
        args.format,
        tuple(args.column),
        tuple(args.sort_column),
        args.descending,
        args.quote,
        args.max_width,
        args.fit_width,
        args.print_empty,
        args.noindent,
    )


def add_format_options(parser: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """Add ``--format`` and what goes with it.

    They repeat cliff's, which takes too long to import for a help text; a test compares them.
    """
    group = parser.add_argument_group("output as rows")
    group.add_argument(
        "-f",
        "--format",
        choices=formats,
        metavar="FORMAT",
        help=f"print rows for machines instead of text: {', '.join(formats)}",
    )
    group.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME",
        help="print this column only (repeatable, with -f)",
    )
    _add_sorting(group)
    _add_shape(group)


def _add_sorting(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--sort-column",
        action="append",
        default=[],
        metavar="NAME",
        help="sort by this column, printed or not (repeatable, the first takes precedence)",
    )
    direction = group.add_mutually_exclusive_group()
    direction.add_argument(
        "--sort-ascending",
        action="store_false",
        dest="descending",
        default=False,
        help="sort the smallest first (the default)",
    )
    direction.add_argument(
        "--sort-descending", action="store_true", dest="descending", help="sort the largest first"
    )


def _add_shape(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-width",
        type=int,
        metavar="COLUMNS",
        help="table: maximum width, 0 for unlimited (default: CLIFF_MAX_TERM_WIDTH)",
    )
    group.add_argument(
        "--fit-width",
        action="store_true",
        help="table: fit into the terminal (default: CLIFF_FIT_WIDTH)",
    )
    group.add_argument(
        "--print-empty",
        action="store_true",
        help="table: print the header even if there are no rows",
    )
    group.add_argument("--noindent", action="store_true", help="json: print everything on one line")
    group.add_argument(
        "--quote",
        choices=QUOTES,
        default=Layout.quote,
        help=f"csv: which cells to quote (default: {Layout.quote})",
    )
