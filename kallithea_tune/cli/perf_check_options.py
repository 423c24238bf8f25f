"""The options of ``gearbox perf-check``."""

from __future__ import annotations

import argparse

from kallithea_tune.cli.base import Once, add_ini_option, positive_seconds
from kallithea_tune.cli.format_options import FORMATS, add_format_options

# One line with statuses of its own, as a plug-in of Nagios prints it.
NAGIOS = "nagios"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all but those of ``--fix``."""
    add = parser.add_argument
    add_ini_option(parser, several=True)
    add("--list", action="store_true", help="list the checks and what each costs")
    add("--explain", metavar="ID", help="print the page of a check: what it measures and why")
    _add_selection(parser)
    add(
        "--try",
        action="append",
        default=[],
        dest="wanted",
        metavar="NAME=VALUE",
        help="measure with and without this setting, without writing it anywhere (repeatable)",
    )
    add(
        "--fleet",
        action="store_true",
        help="run the read-only checks on the machines of all Celery workers",
    )
    _add_reports(parser)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="run only the checks with these ids, areas or tags (globs)",
    )
    add(
        "--skip",
        action="append",
        default=[],
        metavar="PATTERN",
        help="skip the checks with these ids, areas or tags (globs)",
    )
    add(
        "--budget",
        type=positive_seconds,
        default=60.0,
        metavar="SECONDS",
        help="time for all measurements (default: 60)",
    )
    add("--no-probes", action="store_true", help="read the configuration only, measure nothing")
    add(
        "--compare-db",
        action=Once,
        default="",
        metavar="URL",
        help="with --load: also put the same load on this database (URL, env:NAME or file:PATH)",
    )
    add(
        "--access-log",
        action=Once,
        default="",
        metavar="FILE",
        help="analyze this access log (combined format): which clients send which requests",
    )


def _add_reports(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--fail-on",
        choices=("advice", "warning", "error"),
        default="error",
        help="exit with 1 for findings of this level or worse (default: error)",
    )
    add_format_options(parser, (*FORMATS, NAGIOS))
    add(
        "--prometheus",
        metavar="FILE",
        help="write metrics for the textfile collector of node_exporter, as FILE.prom",
    )
    add("--html", metavar="FILE", help="write the report as an HTML page")
    add(
        "--history",
        action=Once,
        metavar="DIR",
        help="keep this run in DIR; --html then shows the trends",
    )
    add("-a", "--all", action="store_true", help="also show findings that are ok")
    add("--save", metavar="FILE", help="save the findings for a later --compare")
    add("--compare", metavar="FILE", help="show what got better or worse since --save")


def require_measuring(args: argparse.Namespace) -> None:
    """Raise ConfigError where a plug-in's line is requested of anything but a measurement."""
    from kallithea_tune.errors import ConfigError

    for option, given in (
        ("--list", args.list),
        ("--explain", args.explain),
        ("--try", args.wanted),
        ("--fix", args.fix),
    ):
        if given:
            raise ConfigError(f"-f {NAGIOS} is for measuring, so {option} has no such format")
