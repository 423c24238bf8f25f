"""The command ``gearbox static-export``."""

from __future__ import annotations

import argparse
import re
from typing import Any

from gearbox.command import Command

from kallithea_tune.cli.base import TuneCommand


def file_mode(text: str) -> int:
    """Read an octal mode that lets the owner read and no stranger write; for argparse."""
    if not re.fullmatch(r"0?[0-7]{3}", text) or not int(text, 8) & 0o400 or int(text, 8) & 0o022:
        raise argparse.ArgumentTypeError(
            "give an octal mode such as 644 or 640, which others may not write to"
        )
    return int(text, 8)


def whole_number(text: str) -> int:
    """Read a number of releases; for argparse."""
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise argparse.ArgumentTypeError("give a whole number from 0 to 999")
    return int(text)


def port_number(text: str) -> int:
    """Read a port of TCP; for argparse."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("give a port from 1 to 65535")
    return int(text)


class StaticExportCommand(TuneCommand, Command):  # type: ignore[misc]
    """Publish what the application serves statically, for the web server to serve.

    DEST becomes a link to the newest release in DEST.releases, swapped by one rename. With
    --server, the web server's configuration is written, too, and checked by that server; --verify
    asks the running server for every file; --switch turns the application's own serving off, once
    asking it has shown that this works. What shapes a release (--overlay to --keep) is as it was
    the last time unless given.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's own options; gearbox has taken its own before."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add(
            "dest",
            metavar="DEST",
            nargs="?",
            default="",
            help="where the web server finds the files",
        )
        add("-c", "--config", metavar="INI", help="the ini file, or INI#application")
        add(
            "-n",
            "--dry-run",
            action="store_true",
            help="show what would change, and change nothing",
        )
        add(
            "--check",
            action="store_true",
            help="exit with 1 when what is published is not what is installed now",
        )
        add(
            "--overlay",
            metavar="DIR",
            action="append",
            dest="overlays",
            help="lay these files over the application's; later ones win (repeatable; '' for none)",
        )
        add(
            "--prune",
            action="store_true",
            default=None,
            help="leave out source maps and files nothing refers to",
        )
        add(
            "--no-prune", action="store_false", dest="prune", default=None, help="leave nothing out"
        )
        add(
            "--how",
            choices=("copy", "hardlink", "symlink"),
            help="how files get there (default: copy)",
        )
        add(
            "--compress",
            metavar="CODINGS",
            dest="codings",
            help="variants to make: gzip,br,zstd or '' for none (default: gzip)",
        )
        add("--mode", type=file_mode, help="mode of the files (default: 644)")
        add("--group", help="group of the files, such as that of the web server")
        add(
            "--web-user",
            metavar="USER",
            default="",
            help="refuse to publish what this user could not read",
        )
        add(
            "--keep",
            metavar="N",
            type=whole_number,
            help="earlier releases whose files stay reachable (default: 1)",
        )
        self._add_server_options(parser)
        add(
            "--switch",
            action="store_true",
            help="turn the application's own serving off in the ini file",
        )
        add(
            "--verify",
            metavar="URL",
            default="",
            help="ask the running web server for every file, and open pages",
        )
        add(
            "--verify-login",
            metavar="FROM",
            default="",
            help="user:password for pages behind the login, from env:NAME or file:PATH",
        )
        add(
            "-f",
            "--format",
            choices=("table", "json", "yaml", "csv", "value"),
            help="for machines, instead of text",
        )
        add(
            "--column",
            action="append",
            default=[],
            metavar="NAME",
            help="only this column (repeatable, with -f)",
        )
        return parser

    def _add_server_options(self, parser: argparse.ArgumentParser) -> None:
        from kallithea_tune.static_export.webservers import SERVERS

        add = parser.add_argument
        add("--server", choices=sorted(SERVERS), help="write its configuration")
        add(
            "-o",
            "--output",
            metavar="FILE",
            default="",
            help="where to write the configuration; else to stdout",
        )
        add(
            "--snippet-only",
            action="store_true",
            help="only what belongs inside a site that you have",
        )
        add("--prefix", help="path in front of all URLs; that of the ini file if not given")
        add(
            "--server-name",
            metavar="HOST",
            default="kallithea.example.com",
            help="host name of the site",
        )
        add(
            "--port",
            type=port_number,
            default=80,
            help="port that the web server listens on (default: 80)",
        )
        add(
            "--backend",
            metavar="URL",
            action="append",
            default=[],
            help="where Kallithea listens; repeatable",
        )
        add(
            "--vcs-backend",
            metavar="URL",
            action="append",
            default=[],
            help="a pool of its own for hg and git",
        )
        add(
            "--balance",
            choices=("round-robin", "sticky"),
            default="round-robin",
            help="how pages are shared out",
        )

    def act(self, args: Any) -> int:
        """Carry the command out and return its exit status."""
        import dataclasses

        from kallithea_tune.cli.progress import progress_line
        from kallithea_tune.config import instance
        from kallithea_tune.errors import ConfigError
        from kallithea_tune.static_export import export, manifest, report

        if not args.config or not args.dest:
            raise ConfigError(
                "name the ini file and the destination: gearbox static-export -c my.ini DEST"
            )
        self.check_columns(args, report.COLUMNS)
        given = vars(args)
        recipe = {
            one.name: given[one.name]
            for one in dataclasses.fields(manifest.Recipe)
            if given[one.name] is not None
        }
        chosen = {
            one.name: given[one.name]
            for one in dataclasses.fields(export.Options)
            if one.name in given
        }
        self.instance = instance.load(args.config)
        told = report.Report(self._redacted, self.quiet, bool(args.format))
        options = export.Options(recipe=recipe, **chosen)
        with progress_line(enabled=not self.quiet) as progress:
            status = export.run(self.instance, options, told, progress)
        if args.format:
            self.emit(args, report.COLUMNS, told.rows)
        return status
