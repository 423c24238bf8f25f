"""``gearbox db-migrate``: moves the database to another engine and proves that nothing was lost."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Iterator, Union

from gearbox.command import Command

from kallithea_tune.cli.base import Once, TuneCommand, add_ini_option
from kallithea_tune.text import plain, printable, shell_word

if TYPE_CHECKING:
    from kallithea_tune.config.inifile import Edit
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.db_migrate import Migration
    from kallithea_tune.db_migrate.report import PlanDocument, ResultDocument


class DbMigrateCommand(TuneCommand, Command):  # type: ignore[misc]
    """Move Kallithea's database to PostgreSQL, MariaDB or SQLite without changing the source.

    Without further options, everything is copied into an empty database and verified, and the
    application must answer the same pages on both. Later, --catch-up transfers what was written
    since, and --switch changes the ini file.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_steps(parser)
        _add_settings(parser)
        return parser

    def act(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit status."""
        from kallithea_tune.db.url import given_url
        from kallithea_tune.db_migrate import Migration, Options, progress, switch
        from kallithea_tune.errors import ConfigError

        if not args.config or not args.to:
            raise ConfigError(
                "give the ini file and the target: gearbox db-migrate -c my.ini --to file:URLFILE"
            )
        _require_compatible(args)
        url = given_url(args.to, "--to")
        loaded = self.load(args.config, {"--to": url})
        self.warn_of_password("--to", [args.to], "use env:NAME or file:PATH")
        if switch.same_database(loaded.database_url, url):
            return self._finish_switch(args, loaded, url)
        options = Options(
            extra_tables=args.extra_tables,
            leave=args.leave,
            replace=args.replace,
            fixes=args.fix,
            quarantine=args.quarantine,
        )
        shown = progress.for_stream(sys.stderr, self.quiet)
        with Migration(loaded, url, options, shown) as migration:
            for note in migration.owner.notes("Run"):
                self._print_note(note)
            if args.dry_run:
                return self._show_plan(args, migration)
            if args.verify:
                return self._verify(args, migration)
            return self._migrate(args, migration, loaded)

    def _finish_switch(self, args: argparse.Namespace, instance: Instance, url: str) -> int:
        from kallithea_tune.db_migrate import switch
        from kallithea_tune.db_migrate.switch import Finish
        from kallithea_tune.errors import EXIT_OK

        change = args.switch and not args.dry_run
        finish = switch.finish(instance, url, change)
        if change:
            switch.remove_leftovers(instance)
        said = {
            Finish.NOTHING: "; nothing to do",
            Finish.JOURNAL_LEFT: ", but the journal of an interrupted switch is still in it; "
            "--switch drops it",
            Finish.JOURNAL_DROPPED: "; the journal that an interrupted switch had left in it was "
            "dropped. Restart Kallithea",
        }
        self._print_note(f"the ini file already points at this database{said[finish]}")
        return EXIT_OK

    def _show_plan(self, args: argparse.Namespace, migration: Migration) -> int:
        from kallithea_tune.db_migrate import report
        from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK

        dry_run = migration.dry_run()
        self._print_report(
            args, migration, report.plan_document(dry_run), report.plan_lines(dry_run)
        )
        if args.switch:
            edit = migration.cutover.plan_switch()
            self._print_note(edit.diff.rstrip(), lines=True)
            self._warn_of_readers(edit, migration)
        migration.check()
        return EXIT_FINDINGS if dry_run.preflight.blocking else EXIT_OK

    def _verify(self, args: argparse.Namespace, migration: Migration) -> int:
        from kallithea_tune.db_migrate import report
        from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK

        result = migration.verify()
        self._print_report(
            args, migration, report.result_document(result), report.verification_lines(result)
        )
        return EXIT_FINDINGS if result.differences else EXIT_OK

    def _migrate(self, args: argparse.Namespace, migration: Migration, instance: Instance) -> int:
        from kallithea_tune.db_migrate import report, switch
        from kallithea_tune.errors import EXIT_OK

        # What makes a switch impossible is reported before hours of copying.
        switch.application_url(migration.url)
        if args.switch:
            migration.cutover.reserve()
        migration.target.reserve()
        migration.check()
        self._confirm_drops(args, migration)
        try:
            _run_steps(args, migration)
        finally:
            result = migration.result
            self._print_report(
                args, migration, report.result_document(result), report.result_lines(result)
            )
        if args.switch:
            self._switch(migration)
        else:
            self._print_note(f"{instance.path} still points at the source database.")
            self._print_note(
                "To switch, stop Kallithea and run this again with --catch-up --switch."
            )
        return EXIT_OK

    def _confirm_drops(self, args: argparse.Namespace, migration: Migration) -> None:
        """List the tables that would be dropped; raise Refused unless the answer is yes."""
        from kallithea_tune.errors import Refused

        tables = migration.tables_to_drop
        if not tables or args.yes:
            return
        target = migration.plan.target
        title = f"These tables of {target} would be dropped, with all their rows:"
        for line in (title, *(f"  {name}" for name in tables)):
            print(printable(line), file=sys.stderr)
        unattended = (
            f"--replace asks before it drops {len(tables)} tables, and there is no terminal to "
            "ask on; -y answers yes"
        )
        if not self.confirm("Drop them?", unattended):
            raise Refused("nothing was dropped")

    def _switch(self, migration: Migration) -> None:
        edit = migration.cutover.plan_switch()
        self._print_note(edit.diff.rstrip(), lines=True)
        backup = migration.cutover.switch(edit)
        self._print_note(f"{edit.path} now points at the new database; restart Kallithea.")
        self._warn_of_readers(edit, migration)
        self._print_note("To go back, stop Kallithea and start it again after")
        self._print_note(f"    cp -p {shell_word(backup)} {shell_word(edit.path)}")
        self._print_note("Anything written until then is only in the new database.")

    def _print_report(
        self,
        args: argparse.Namespace,
        migration: Migration,
        document: Union[PlanDocument, ResultDocument],
        lines: Iterator[str],
    ) -> None:
        """Print the document as JSON, or the lines, both redacted, and no progress below them."""
        from kallithea_tune.cli.base import reader_may_leave

        assert self.instance
        migration.progress.end()
        with reader_may_leave():
            if args.format:
                values = self.instance.redactor.value(dataclasses.asdict(document))
                print(json.dumps(plain(values), indent=2))
            else:
                for line in lines:
                    print(printable(self._redacted(line)))

    def _warn_of_readers(self, edit: Edit, migration: Migration) -> None:
        from kallithea_tune.config.exposure import readable_by_others
        from kallithea_tune.config.secret_patterns import suspects

        readers = readable_by_others(edit.path) if suspects(migration.url) else ""
        if readers:
            self._print_note(f"warning: {readers}")

    def _print_note(self, text: str, lines: bool = False) -> None:
        if not self.quiet:
            print(printable(self._redacted(text), lines), file=sys.stderr)


def _add_steps(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose what is done."""
    add = parser.add_argument
    add_ini_option(parser)
    add(
        "--to",
        action=Once,
        metavar="URL",
        help="the target: env:NAME or file:PATH, which keep its password out of the list of "
        "processes, or the URL itself",
    )
    add(
        "-n",
        "--dry-run",
        action="store_true",
        help="show what would be done and how long it would take",
    )
    add(
        "--catch-up",
        action="store_true",
        help="transfer what was written since the target was filled",
    )
    add(
        "--switch",
        action="store_true",
        help="point the ini file at the target once everything is verified",
    )
    add(
        "--verify",
        action="store_true",
        help="compare source and target without copying anything",
    )
    add("--replace", action="store_true", help="drop the target's tables, after confirmation")
    add("-y", "--yes", action="store_true", help="answer yes to every question")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose how it is done."""
    add = parser.add_argument
    add(
        "--fix",
        action="append",
        default=[],
        metavar="RULE=ACTION",
        help="while copying, fix rows that the target would refuse or change (repeatable)",
    )
    add(
        "--quarantine",
        default="",
        metavar="FILE",
        help="where to keep the original rows that a fix changes or leaves out (default: beside "
        "the ini file)",
    )
    add("--extra-tables", action="store_true", help="also copy tables that have no model")
    add(
        "--leave",
        action="append",
        default=[],
        metavar="NAME",
        help="do not copy what --dry-run lists under this name, which may have wildcards "
        "(repeatable)",
    )
    add("-f", "--format", choices=("json",), help="print a report for machines instead of text")


def _run_steps(args: argparse.Namespace, migration: Migration) -> None:
    if args.catch_up:
        migration.cutover.visit_source_early()
        migration.catch_up()
    else:
        migration.run()
    migration.cutover.compare_pages()
    if args.switch:
        migration.cutover.require_unchanged_source()


def _require_compatible(args: argparse.Namespace) -> None:
    """Raise ConfigError for options that contradict each other."""
    from kallithea_tune.errors import ConfigError

    for given, conflicts in (
        ("verify", ("dry_run", "catch_up", "switch", "replace")),
        ("catch_up", ("dry_run", "replace")),
    ):
        for other in conflicts:
            if getattr(args, given) and getattr(args, other):
                options = f"--{given} and --{other}".replace("_", "-")
                hint = "; --verify shows what --catch-up would transfer"
                raise ConfigError(
                    f"{options} cannot be combined{hint if other == 'dry_run' else ''}"
                )
