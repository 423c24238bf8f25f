"""``gearbox db-migrate``: moves the database to another engine and proves that nothing was lost."""

from __future__ import annotations

import argparse
import io
import json
import sys
from typing import TYPE_CHECKING, Any, Callable, TextIO

from gearbox.command import Command

from kallithea_tune.cli.base import TuneCommand

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.migration import Migration


class DbMigrateCommand(TuneCommand, Command):  # type: ignore[misc]
    """Move Kallithea's database to PostgreSQL, MariaDB or SQLite, losing nothing. The source is
    never changed.

    Without further options everything is copied into an empty database and verified, and the
    application is asked for some pages there. --catch-up brings over later what was written since;
    --switch changes the ini file.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the command's options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add("-c", "--config", metavar="INI", help="the ini file, or INI#application")
        add(
            "--to",
            metavar="URL",
            help="the target: env:NAME or file:PATH, which keep its password out of the list "
            "of processes, or the URL itself",
        )
        add(
            "-n",
            "--dry-run",
            action="store_true",
            help="show what would be done and how long it takes",
        )
        add(
            "--catch-up",
            action="store_true",
            help="bring over what was written since the target was filled",
        )
        add(
            "--switch",
            action="store_true",
            help="have the ini file name the target, when all is proven",
        )
        add(
            "--verify",
            action="store_true",
            help="compare source and target as they stand, and copy nothing",
        )
        add("--replace", action="store_true", help="drop the target's tables, after asking")
        add("-y", "--yes", action="store_true", help="answer yes to every question")
        add(
            "--fix",
            action="append",
            default=[],
            metavar="RULE=ACTION",
            help="mend rows on their way that the target would refuse or change; may be given several times",
        )
        add(
            "--quarantine",
            default="",
            metavar="FILE",
            help="where rows are kept that a fix changes or leaves out (default: beside the ini file)",
        )
        add(
            "--extra-tables",
            action="store_true",
            help="copy the tables that no model describes, too",
        )
        add(
            "--metadata",
            default="",
            metavar="MODULE:ATTRIBUTE",
            help="the application's SQLAlchemy metadata, where it is not found by itself",
        )
        add("-f", "--format", choices=("json",), help="report for machines, instead of text")
        return parser

    def act(self, args: Any) -> int:
        """Carry the command out and return its exit status."""
        from kallithea_tune.config import instance
        from kallithea_tune.db.url import given_url
        from kallithea_tune.db_migrate import Migration, Options, progress, switch
        from kallithea_tune.errors import EXIT_OK, ConfigError

        if not args.config or not args.to:
            raise ConfigError(
                "name the ini file and the target: gearbox db-migrate -c my.ini --to file:URLFILE"
            )
        _require_compatible(args)
        url = given_url(args.to, "--to")
        self.instance = instance.load(args.config, compare_db=url)
        self._warn_of_password(args.to)
        if switch.same_database(self.instance.database_url, url):
            self._say("the ini file names this database already; nothing to do")
            return EXIT_OK
        options = Options(
            extra_tables=args.extra_tables,
            replace=args.replace,
            metadata=args.metadata,
            fixes=args.fix,
            quarantine=args.quarantine,
        )
        watched = progress.shown_on(sys.stderr, self.quiet)
        with Migration(self.instance, url, options, watched) as migration:
            if args.dry_run:
                return self._show(args, migration)
            if args.verify:
                return self._verify(args, migration)
            return self._move(args, migration)

    def _show(self, args: Any, migration: Migration) -> int:
        from kallithea_tune.db_migrate import report, switch
        from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK

        assert self.instance
        found = migration.look()
        words = migration.plan, found, migration.estimate(), migration.dropped
        self._print(
            args,
            migration,
            report.plan_document(*words),
            lambda stream: report.write_plan(*words, stream),
        )
        if args.switch:
            self._say(switch.plan(self.instance, migration.url).diff.rstrip())
        migration.check()
        return EXIT_FINDINGS if found.blocking else EXIT_OK

    def _verify(self, args: Any, migration: Migration) -> int:
        from kallithea_tune.db_migrate import report
        from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK

        result = migration.verify()
        self._print(
            args,
            migration,
            report.document(result),
            lambda stream: report.write_verified(result, stream),
        )
        return EXIT_FINDINGS if result.differences else EXIT_OK

    def _move(self, args: Any, migration: Migration) -> int:
        from kallithea_tune.db_migrate import report, switch
        from kallithea_tune.errors import EXIT_OK

        assert self.instance
        switch.application_url(migration.url)
        if args.switch:
            # What cannot be written is said before hours of copying.
            switch.plan(self.instance, migration.url)
        migration.check()
        self._confirm(args, migration)
        try:
            self._prove(args, migration)
        finally:
            done = migration.report
            self._print(
                args, migration, report.document(done), lambda stream: report.write(done, stream)
            )
        if args.switch:
            self._switch(migration)
        else:
            self._say(f"{self.instance.path} names the source still.")
            self._say("To change over, stop Kallithea and run this again with --catch-up --switch.")
        return EXIT_OK

    def _prove(self, args: Any, migration: Migration) -> None:
        if args.catch_up:
            migration.ask_ahead()
            migration.catch_up()
        else:
            migration.run()
        migration.ask_application()
        if args.switch:
            migration.require_quiet_source()

    def _confirm(self, args: Any, migration: Migration) -> None:
        """Name every table that would be dropped, and ask. Raises Refused without a yes."""
        from kallithea_tune.errors import Refused

        if not migration.dropped or args.yes:
            return
        print(
            f"These tables of {migration.plan.target} would be dropped, with all that is in them:",
            file=sys.stderr,
        )
        print("  " + "\n  ".join(migration.dropped), file=sys.stderr)
        if not sys.stdin or not sys.stdin.isatty():
            raise Refused(
                "--replace asks before it drops %d tables, and there is no terminal to ask on; -y says yes"
                % len(migration.dropped)
            )
        print("Drop them? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Refused("nothing was dropped")

    def _switch(self, migration: Migration) -> None:
        from kallithea_tune.db_migrate import switch

        edit = switch.plan(self.instance, migration.url)
        self._say(edit.diff.rstrip())
        backup = switch.carry_out(edit, self.instance, migration.url)
        migration.forget()
        self._say(f"{edit.path} names the new database now; restart Kallithea.")
        self._say(
            f"To go back: stop Kallithea, start it again after\n    cp -p {backup} {edit.path}\n"
            "What was written until then is in the new database only."
        )

    def _print(
        self,
        args: Any,
        migration: Migration,
        document: dict[str, Any],
        write: Callable[[TextIO], None],
    ) -> None:
        """Print the document as JSON, or what `write` writes; redacted, when the progress is out of
        the way.
        """
        from kallithea_tune.cli.base import reader_may_leave

        assert self.instance
        migration.progress.end()
        with reader_may_leave():
            if args.format:
                json.dump(
                    self.instance.redactor.value(document), sys.stdout, indent=2, ensure_ascii=False
                )
                print()
                return
            written = io.StringIO()
            write(written)
            sys.stdout.write(self._redacted(written.getvalue()))

    def _warn_of_password(self, given: str) -> None:
        if "@" in given and given.partition(":")[0] not in ("env", "file"):
            self._say(
                "warning: everybody on this machine can read the password in --to; use env:NAME or file:PATH"
            )

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(self._redacted(text), file=sys.stderr)


def _require_compatible(args: Any) -> None:
    """Raise ConfigError for options that contradict one another."""
    from kallithea_tune.errors import ConfigError

    for one, others in (
        ("verify", ("dry_run", "catch_up", "switch", "replace")),
        ("catch_up", ("dry_run", "replace")),
    ):
        for other in others:
            if getattr(args, one) and getattr(args, other):
                raise ConfigError(
                    "--{} and --{} do not go together{}".format(
                        one.replace("_", "-"),
                        other.replace("_", "-"),
                        "; --verify shows what --catch-up would bring over"
                        if other == "dry_run"
                        else "",
                    )
                )
