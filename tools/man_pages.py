"""Writes the manual pages of the commands, docs/man/gearbox-*.1, from the options of each.

usage: man_pages.py

A test compares the pages with this; they are kept in the tree because builders of packages have no
gearbox.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import Iterator, NamedTuple

from kallithea_tune import __version__
from kallithea_tune.cli.base import INI_VARIABLE
from kallithea_tune.cli.db_migrate import DbMigrateCommand
from kallithea_tune.cli.perf_check import PerfCheckCommand
from kallithea_tune.cli.static_export import StaticExportCommand

DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "man"
# Moves with the version.
DATE = "2026-11-27"
COMMANDS = {
    "perf-check": PerfCheckCommand,
    "static-export": StaticExportCommand,
    "db-migrate": DbMigrateCommand,
}
STATUSES = {
    0: "done, and everything is fine",
    1: "findings, or what is published is stale",
    2: "wrong usage or settings",
    3: "refused for safety",
    4: "failed half-way; the message says what was done, and running it again resumes",
    5: "nothing bad was found, but something could not be measured",
    130: "interrupted",
}
NAGIOS = "With -f nagios it is that of a plug-in: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."


class Example(NamedTuple):
    """A command and what it is for."""

    purpose: str
    words: str


EXAMPLES = {
    "perf-check": (
        Example("Measure an installation", "-c my.ini"),
        Example("Measure a setting before it is changed", "-c my.ini --try serve_static=false"),
        Example("Show what a remedy would change", "-c my.ini --fix WEB002 --dry-run"),
    ),
    "static-export": (
        Example(
            "Publish the files, and write the configuration of nginx",
            "-c my.ini /srv/kallithea/static --server nginx -o nginx.conf",
        ),
        Example("Say whether an upgrade made it stale", "-c my.ini /srv/kallithea/static --check"),
    ),
    "db-migrate": (
        Example(
            "Say what would be done and how long it takes",
            "-c my.ini --to file:url-of-the-target --dry-run",
        ),
        Example(
            "Transfer what was written since, and change the ini file",
            "-c my.ini --to file:url-of-the-target --catch-up --switch",
        ),
    ),
}


def pages() -> Iterator[tuple[str, str]]:
    """Yield the file name and the text of each page."""
    for name, command in COMMANDS.items():
        parser = command(None, None, name).get_parser(f"gearbox {name}")
        yield f"gearbox-{name}.1", "".join(f"{line}\n" for line in _page(name, parser))


def _page(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    title = f"gearbox-{name}".upper()
    first, *rest = (parser.description or "").split("\n\n")
    sentence = " ".join(first.split())
    yield f'.TH {_escaped(title)} 1 {DATE} "kallithea\\-tune {__version__}"'
    yield ".SH NAME"
    purpose = sentence.partition(". ")[0].rstrip(".")
    yield f"gearbox\\-{_escaped(name)} \\-"
    yield _prose(purpose[0].lower() + purpose[1:])
    yield ".SH SYNOPSIS"
    operands = [action.metavar for action in parser._positionals._group_actions]
    yield f".B gearbox {_escaped(name)}"
    yield " ".join(["[\\fIOPTION\\fP]...", *(f"[\\fI{one}\\fP]" for one in operands)])
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate([sentence, *rest]):
        yield from [".PP"] * bool(number)
        yield _prose(paragraph)
    yield from _options(parser)
    yield from _exit_status(name)
    yield from _environment_and_examples(name)
    yield ".SH SEE ALSO"
    first_other, last_other = (_escaped(other) for other in sorted(COMMANDS) if other != name)
    yield f".BR gearbox\\-{first_other} (1),"
    yield f".BR gearbox\\-{last_other} (1)"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    headings = {parser._positionals: ".SH ARGUMENTS", parser._optionals: ".SH OPTIONS"}
    for group in parser._action_groups:
        if group._group_actions:
            yield headings.get(group, f".SS {_escaped(str(group.title))}")
        for action in group._group_actions:
            yield ".TP"
            yield _option(parser, action)
            yield _prose(parser._get_formatter()._expand_help(action))


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return how an option is written: ``-c INI, --config INI`` is said once."""
    formatter = parser._get_formatter()
    names = ", ".join(f"\\fB{_escaped(name)}\\fP" for name in action.option_strings)
    if not names:
        return f"\\fI{_escaped(str(action.metavar))}\\fP"
    if action.nargs == 0:
        return names
    value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    return f"{names} \\fI{_escaped(value)}\\fP"


def _exit_status(name: str) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for status, meaning in STATUSES.items():
        yield from (".TP", str(status), _prose(meaning))
    if name == "perf-check":
        yield from (".PP", _prose(NAGIOS))


def _environment_and_examples(name: str) -> Iterator[str]:
    yield from (".SH ENVIRONMENT", ".TP", f".B {INI_VARIABLE}")
    yield "the ini file where \\fB\\-c\\fP gives none"
    yield ".SH EXAMPLES"
    for example in EXAMPLES[name]:
        yield from (".TP", f"{_escaped(example.purpose)}:")
        yield f".B gearbox {_escaped(f'{name} {example.words}')}"


def _prose(text: str) -> str:
    """Return `text` as lines that a formatter fills; none begins a request."""
    lines = textwrap.wrap(_escaped(text), 79, break_on_hyphens=False, break_long_words=False)
    return "\n".join(re.sub(r"^\.", r"\\&.", line) for line in lines)


def _escaped(text: str) -> str:
    """Return `text` with hyphens and quotes that can be pasted into a shell."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


if __name__ == "__main__":
    for file_name, text in pages():
        (DIRECTORY / file_name).write_text(text, encoding="utf-8")
