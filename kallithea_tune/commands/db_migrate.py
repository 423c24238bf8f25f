"""``gearbox db-migrate``: moves the database to another engine and proves that nothing was lost."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gearbox.command import Command

from kallithea_tune.commands.base import TuneCommand


class DbMigrateCommand(TuneCommand, Command):  # type: ignore[misc]
    """Move Kallithea's database to PostgreSQL, MariaDB or SQLite, losing nothing. The source is never changed."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the command's options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add("-c", "--config", metavar="INI", help="the ini file, or INI#application")
        add("--to", metavar="URL", help="the target: env:NAME or file:PATH, which keep its password out of the list "
            "of processes, or the URL itself")
        add("-n", "--dry-run", action="store_true", help="show the plan and change nothing")
        add("--verify", action="store_true", help="compare source and target as they stand, and copy nothing")
        add("--replace", action="store_true", help="drop the target's tables, after asking")
        add("-y", "--yes", action="store_true", help="answer yes to every question")
        add("--extra-tables", action="store_true", help="copy the tables that no model describes, too")
        add("--metadata", default="", metavar="MODULE:ATTRIBUTE",
            help="the application's SQLAlchemy metadata, where it is not found by itself")
        add("-f", "--format", choices=("json",), help="report for machines, instead of text")
        return parser

    def act(self, args: Any) -> int:
        """Carry the command out and return its exit status."""
        from kallithea_tune import instance
        from kallithea_tune.engine import given_url
        from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK, ConfigError
        from kallithea_tune.migration import report, run

        if not args.config or not args.to:
            raise ConfigError("name the ini file and the target: gearbox db-migrate -c my.ini --to file:URLFILE")
        url = given_url(args.to, "--to")
        self.instance = instance.load(args.config, compare_db=url)
        options = run.Options(extra_tables=args.extra_tables, replace=args.replace, metadata=args.metadata)
        progress = report.Lines(sys.stderr) if not self.quiet else run.Silence()
        with run.Migration(self.instance, url, options, progress) as migration:
            if args.dry_run:
                report.write_plan(migration.plan, sys.stdout, args.format)
                return EXIT_OK
            if args.verify:
                result = migration.verify()
                report.write_verified(result, sys.stdout, args.format)
                return EXIT_FINDINGS if result.differences else EXIT_OK
            migration.check()
            result = migration.run()
        report.write(result, sys.stdout, args.format)
        return EXIT_OK
