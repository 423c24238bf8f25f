"""Writes the reference of the commands' options from their parsers.

usage: reference_pages.py COMMAND

docs/conf.py calls it whenever the documentation is built.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from typing import Iterator

COMMANDS = {
    "perf-check": "perf_check.PerfCheckCommand",
    "static-export": "static_export.StaticExportCommand",
    "db-migrate": "db_migrate.DbMigrateCommand",
}
GUIDES = {"perf-check": "/guide", "static-export": "/static-export", "db-migrate": "/db-migrate"}


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    module, class_name = COMMANDS[name].split(".")
    command = getattr(importlib.import_module(f"kallithea_tune.cli.{module}"), class_name)
    parser: argparse.ArgumentParser = command(None, None, name).get_parser(f"gearbox {name}")
    parser.description = inspect.getdoc(command)
    return parser


def argument(action: argparse.Action) -> str:
    """Return what follows an option, or the name of a positional argument."""
    if action.nargs == 0:
        return ""
    names = action.metavar or (
        "{%s}" % ",".join(map(str, action.choices)) if action.choices else action.dest.upper()
    )
    if isinstance(names, tuple):
        return "[{} [{} ...]]".format(*names)
    return f"[{names}]" if action.nargs == "?" else names


def page(name: str) -> str:
    """Return the page of a command, as reStructuredText."""
    parser = parser_of(name)
    title = f"gearbox {name}"
    lines = [title, "=" * len(title), "", f".. program:: {title}", "", escaped(parser.description)]
    lines += ["", f"More about it: :doc:`{GUIDES[name]}`. :doc:`exit-statuses`.", ""]
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        words = [f"{word} {argument(action)}".strip() for word in action.option_strings]
        text = " ".join((action.help or "").split()) % dict(vars(action), prog=parser.prog)
        heading = ", ".join(words) or argument(action).strip("[]")
        lines += [f".. option:: {heading}", "", f"   {escaped(text)}", ""]
    return "\n".join(lines)


def escaped(text: object) -> str:
    """Return text with what looks like options, files and settings as literals."""
    return re.sub(r"(?<![\w`])(--[a-z][\w-]*|\w+[\w/]*\.(?:prom|releases))", r"``\1``", f"{text}")


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and content of each page."""
    for name in COMMANDS:
        yield f"{name}.rst", page(name)


if __name__ == "__main__":
    print(page(sys.argv[1]), end="")
