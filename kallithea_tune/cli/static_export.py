"""The command ``gearbox static-export``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from typing import TYPE_CHECKING

from gearbox.command import Command

from kallithea_tune.cli.base import Once, TuneCommand, add_ini_option
from kallithea_tune.cli.format_options import add_format_options

if TYPE_CHECKING:
    from kallithea_tune.static_export.options import Options, ServerOptions


def file_mode(text: str) -> int:
    """Read an octal mode that lets the owner read and nobody else write; for argparse."""
    if not re.fullmatch(r"0?[0-7]{3}", text) or not int(text, 8) & 0o400 or int(text, 8) & 0o022:
        raise argparse.ArgumentTypeError(
            "give an octal mode such as 644 or 640, without write permission for others"
        )
    return int(text, 8)


def release_count(text: str) -> int:
    """Read a number of releases; for argparse."""
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise argparse.ArgumentTypeError("give a whole number from 0 to 999")
    return int(text)


def port_number(text: str) -> int:
    """Read a TCP port; for argparse."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("give a port from 1 to 65535")
    return int(text)


def seconds(text: str) -> int:
    """Read a number of seconds; for argparse."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError("give a number of seconds")
    return int(text)


class StaticExportCommand(TuneCommand, Command):  # type: ignore[misc]
    """Publish the application's static files for a web server.

    DEST becomes a link to the newest release in DEST.releases, replaced by a single rename. With
    --server, the web server's configuration is written as well, and checked by that server;
    --verify requests every file from the running server; --switch turns off the application's own
    serving, after testing that this works. The options that shape a release (--overlay to --keep)
    keep their values from the last run unless given.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the command's own options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add(
            "dest",
            metavar="DEST",
            nargs="?",
            default="",
            help="directory that the web server serves",
        )
        add_ini_option(parser)
        add("-n", "--dry-run", action="store_true", help="show what would change; change nothing")
        add("--check", action="store_true", help="exit with 1 when the published files are stale")
        _add_recipe_options(parser)
        add(
            "--web-user",
            metavar="USER",
            default="",
            help="refuse to publish files that this user cannot read",
        )
        _add_server_options(parser)
        add(
            "--switch",
            action="store_true",
            help="turn the application's own serving off in the ini file",
        )
        add(
            "--verify",
            metavar="URL",
            default="",
            help="request every file from the running web server, and open pages",
        )
        add(
            "--verify-login",
            metavar="FROM",
            default="",
            help="env:NAME or file:PATH with user:password for pages behind the login",
        )
        add_format_options(parser)
        return parser

    def act(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit status."""
        from kallithea_tune.cli.progress import progress_line
        from kallithea_tune.errors import ConfigError
        from kallithea_tune.static_export import export, report
        from kallithea_tune.static_export.options import login, validate

        if not args.config or not args.dest:
            raise ConfigError(
                "give the ini file and the destination: gearbox static-export -c my.ini DEST"
            )
        self.check_columns(args, report.COLUMNS)
        options = options_from(args)
        validate(options)
        password = login(options.verify_login).partition(":")[2]
        self.load(args.config, {"--verify-login password": password})
        self._warn_of_passwords(args)
        output = report.Report(self._redacted, self.quiet, bool(args.format))
        with progress_line(enabled=not self.quiet) as progress:
            status = export.run(self.instance, options, output, progress)
        if args.format:
            self.emit(args, report.COLUMNS, output.rows)
        return status

    def _warn_of_passwords(self, args: argparse.Namespace) -> None:
        for option, values in (
            ("--verify", [args.verify]),
            ("--backend", args.backend),
            ("--vcs-backend", args.vcs_backend),
        ):
            self.warn_of_password(option, values, "leave it out, it is not used")


def _add_recipe_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--overlay",
        metavar="DIR",
        action="append",
        dest="overlays",
        help="replace and add files from DIR; later ones win (repeatable; '' for none)",
    )
    add(
        "--prune",
        action="store_true",
        default=None,
        help="omit source maps and files that nothing refers to",
    )
    add("--no-prune", action="store_false", dest="prune", default=None, help="publish every file")
    add(
        "--how",
        choices=("copy", "hardlink", "symlink"),
        help="how to create the files (default: copy)",
    )
    add(
        "--compress",
        metavar="CODINGS",
        dest="codings",
        help="compressed variants to write: gzip,br,zstd or '' for none (default: gzip)",
    )
    add("--mode", type=file_mode, help="mode of the files (default: 644)")
    add("--group", help="group of the files, such as that of the web server")
    add(
        "--keep",
        metavar="N",
        type=release_count,
        help="number of earlier releases whose files stay available (default: 1)",
    )


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    from kallithea_tune.static_export.webservers import SERVERS

    add = parser.add_argument
    add(
        "--server",
        action=Once,
        choices=sorted(SERVERS),
        help="write the configuration of this web server",
    )
    add(
        "-o",
        "--output",
        metavar="FILE",
        default="",
        help="write the configuration to FILE instead of stdout",
    )
    add(
        "--snippet-only",
        action="store_true",
        help="write only the part that belongs inside an existing site",
    )
    add("--prefix", action=Once, help="path before all URLs (default: as in the ini file)")
    add(
        "--server-name",
        action=Once,
        metavar="HOST",
        help="host name of the site (default: kallithea.example.com)",
    )
    add(
        "--port",
        metavar="PORT",
        type=port_number,
        help="port of the web server (default: 80, with --tls 443)",
    )
    add(
        "--tls",
        nargs="*",
        metavar=("CERTIFICATE", "KEY"),
        help="serve https with these files; without any, with the certificate that caddy obtains",
    )
    add(
        "--redirect-port",
        metavar="PORT",
        type=port_number,
        help="with --tls: http port whose requests are redirected to https (default: 80)",
    )
    add(
        "--hsts",
        type=seconds,
        metavar="SECONDS",
        help="with --tls: how long browsers must use https only (Strict-Transport-Security)",
    )
    for option, purpose in (
        ("--backend", "URL at which Kallithea listens (repeatable; default: as in the ini file)"),
        ("--vcs-backend", "a separate backend for hg and git (repeatable)"),
    ):
        add(option, metavar="URL", action="append", default=[], help=purpose)
    add(
        "--balance",
        choices=("round-robin", "sticky"),
        default="round-robin",
        help="how to distribute requests for pages (default: round-robin)",
    )


def options_from(args: argparse.Namespace) -> Options:
    """Return the options of an export. Raises ConfigError for what breaks an option's grammar, and
    for codings that cannot be made.
    """
    from kallithea_tune.static_export.options import Options
    from kallithea_tune.static_export.release.compress import parse_codings
    from kallithea_tune.static_export.release.manifest import RecipeChanges

    overlays = args.overlays
    return Options(
        dest=args.dest,
        recipe=RecipeChanges(
            overlays=overlays and tuple(os.path.abspath(path) for path in overlays if path),
            prune=args.prune,
            codings=None if args.codings is None else parse_codings(args.codings),
            how=args.how,
            keep=args.keep,
            mode=args.mode,
            group=args.group,
        ),
        web_user=args.web_user,
        dry_run=args.dry_run,
        check=args.check,
        server=_server_options(args),
        switch=args.switch,
        verify=args.verify,
        verify_login=args.verify_login,
    )


def _server_options(args: argparse.Namespace) -> ServerOptions:
    from kallithea_tune.static_export.options import ServerOptions, tls_of
    from kallithea_tune.static_export.webservers import names
    from kallithea_tune.static_export.webservers.site import Backend

    given = ServerOptions(
        name=args.server or "",
        output=args.output,
        snippet_only=args.snippet_only,
        prefix=None if args.prefix is None else names.prefix(args.prefix),
        port=args.port,
        backends=tuple(Backend.from_url(url) for url in args.backend),
        vcs_backends=tuple(Backend.from_url(url, "--vcs-backend") for url in args.vcs_backend),
        balance=args.balance,
        tls=tls_of(args.tls, args.redirect_port, args.hsts),
    )
    if args.server_name is None:
        return given
    return dataclasses.replace(given, server_name=names.server_name(args.server_name))
