"""``gearbox perf-check``: measures the installation and says what to change."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any, ContextManager, Sequence, TextIO

from gearbox.command import Command

from kallithea_tune.cli import fixing, loading, perf_check_options
from kallithea_tune.cli.base import INI_VARIABLE, TuneCommand, reader_may_leave
from kallithea_tune.cli.masking import redacted
from kallithea_tune.text import printable

if TYPE_CHECKING:
    from kallithea_tune.cli.progress import Progress
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.perf_check.model import Check, Finding
    from kallithea_tune.perf_check.results import Results


class PerfCheckCommand(TuneCommand, Command):  # type: ignore[misc]
    """Measure a Kallithea installation and say what to change, with the evidence.

    Nothing is changed except by --fix.
    """

    instances: tuple[Instance, ...]  # once they are loaded; the first is `instance`

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the command's options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        perf_check_options.add_options(parser)
        loading.add_options(parser)
        fixing.add_options(parser)
        return parser

    def act(self, args: Any) -> int:
        """Run the command and return its exit status, for a monitoring system its own."""
        if args.format != perf_check_options.NAGIOS:
            return self._act(args)
        from kallithea_tune.errors import interrupted
        from kallithea_tune.perf_check.formats import nagios

        try:
            perf_check_options.require_measuring(args)
            return self._act(args)
        except Exception as error:
            # A plug-in's message is what it prints, and a failed run is unknown.
            if interrupted(error):
                raise
            print(nagios.failure(str(error)), file=self.stdout)
            return nagios.Status.unknown

    def _act(self, args: Any) -> int:
        from kallithea_tune.errors import ConfigError
        from kallithea_tune.perf_check import model, runner

        checks = model.all_checks()
        if args.explain:
            return self._explain(checks, args.explain)
        fixing.choose(args)
        loading.choose(self, args)
        chosen = runner.select(checks, args.only, args.skip, not args.no_probes)
        if args.list:
            return self._list(chosen, args)
        configs = args.config or list(filter(None, [os.environ.get(INI_VARIABLE)]))
        if not configs:
            raise ConfigError("give the ini file: gearbox perf-check -c my.ini")
        given = args.compare_db
        if given:
            args.compare_db = self._compare_db(given)
        if args.access_log:
            from kallithea_tune.perf_check.load import access_log

            access_log.require_readable(args.access_log)
        self._load_all(configs, args)
        self.warn_of_password("--compare-db", [given], "use env:NAME or file:PATH")
        self.warn_of_password("--try", args.wanted, "use a dummy password")
        if args.fix:
            return fixing.Fixing(self, args).act(chosen)
        return self._try(chosen, args) if args.wanted else self._measure(chosen, args)

    def _load_all(self, configs: Sequence[str], args: Any) -> None:
        from kallithea_tune.errors import ConfigError
        from kallithea_tune.perf_check import several
        from kallithea_tune.perf_check.scaling.instances import names

        given = {"--compare-db": args.compare_db}
        self.instances = several.with_one_redactor([self.load(one, given) for one in configs])
        self.instance = self.instances[0]
        names(self.instances)
        if len(configs) > 1 and args.wanted:
            raise ConfigError("--try is for one instance; give one -c")
        if args.fleet:
            from kallithea_tune.cli import fleet

            if args.wanted:
                raise ConfigError("--fleet and --try cannot be combined")
            if len(configs) > 1:
                raise ConfigError("--fleet is for one instance, whose workers report; give one -c")
            fleet.require(self.instance)

    def _measure(self, chosen: list[Check], args: Any) -> int:
        from kallithea_tune.cli import perf_check_files
        from kallithea_tune.errors import EXIT_NOT_MEASURED, EXIT_OK
        from kallithea_tune.perf_check import saved_run, several
        from kallithea_tune.perf_check.formats import nagios
        from kallithea_tune.perf_check.measurement import OnRequest
        from kallithea_tune.perf_check.model import Severity

        files = perf_check_files.examined(args, self.instance)
        before = saved_run.read(args.compare) if args.compare else None
        on_request = OnRequest(args.access_log, clones=args.load is not None, fleet=args.fleet)
        with self.progress() as progress:
            results = several.run(
                self.instances, chosen, args.budget, args.compare_db, progress, on_request
            )
            if args.fleet:
                from kallithea_tune.cli import fleet

                results = fleet.joined(results, self.instance, chosen, args.budget, progress)
            curves = loading.curves(self.instance, args, progress)
        results = dataclasses.replace(results, curves=curves)
        if before:
            changes = saved_run.compare(before, results)
            results = dataclasses.replace(results, changes=tuple(changes))
        with reader_may_leave():
            self._report(results, args)
        files.write(results, None if args.format else self.stdout)
        if args.format == perf_check_options.NAGIOS:
            return nagios.status_of(results, Severity[args.fail_on])
        return (
            self._status(results.findings, args.fail_on)
            or loading.status(results.curves)
            or (EXIT_NOT_MEASURED if results.silent else EXIT_OK)
        )

    def _report(self, results: Results, args: Any) -> None:
        from kallithea_tune.perf_check import report, saved_run
        from kallithea_tune.perf_check.formats import nagios
        from kallithea_tune.perf_check.model import Severity

        if args.format == perf_check_options.NAGIOS:
            print(nagios.line(results, Severity[args.fail_on]), file=self.stdout)
        elif args.format:
            columns, rows, essential = report.table(results)
            self.emit(args, columns, rows, essential)
        else:
            report.write_results(results, self.stdout, args.all)
        if args.compare:
            # A document for machines on stdout has no room for it.
            stream = redacted(sys.stderr, self._redacted) if args.format else self.stdout
            saved_run.write_changes(args.compare, results.changes, stream)

    def _compare_db(self, given: str) -> str:
        """Return the given URL; raise at once for one that cannot be loaded, not after 30 s."""
        from kallithea_tune.config.instance import absolute_url
        from kallithea_tune.db.engine import create_engine, require_accepted
        from kallithea_tune.db.url import given_url, sqlite_file
        from kallithea_tune.errors import ConfigError

        url = absolute_url(given_url(given, "--compare-db"))
        dialect = create_engine(url, "--compare-db").dialect.name
        if dialect == "sqlite" and not sqlite_file(url):
            raise ConfigError(
                "--compare-db: processes cannot share a SQLite database in memory; give a file"
            )
        require_accepted(url, "--compare-db")
        return url

    def _try(self, chosen: list[Check], args: Any) -> int:
        from kallithea_tune import errors
        from kallithea_tune.perf_check import tryout

        if args.save or args.compare or args.history is not None:
            raise errors.ConfigError(
                "--try itself compares before and after, without --save, --compare and --history"
            )
        before = self.instance
        after = self.instance = tryout.proposed(before, args.wanted)
        checks = chosen if args.only else tryout.concerned(chosen, after)
        with self.progress() as progress:
            comparisons, result = tryout.compare(
                before, after, checks, args.budget, args.compare_db, progress
            )
        with reader_may_leave():
            if args.format:
                self.emit(args, tryout.COLUMNS, tryout.rows(comparisons))
            else:
                tryout.write_text(before, after, comparisons, result.notes, self.stdout)
        unknown = any(item.verdict == "unknown" for item in comparisons)
        return self._status(result.findings, args.fail_on) or (
            errors.EXIT_NOT_MEASURED if unknown else errors.EXIT_OK
        )

    @property
    def stdout(self) -> TextIO:
        """Standard output, with secrets masked."""
        return redacted(sys.stdout, self._redacted)

    def progress(self) -> ContextManager[Progress]:
        """Show the step under way inside, unless ``-q`` was given."""
        from kallithea_tune.cli.progress import progress_line

        return progress_line(enabled=not self.quiet)

    def _status(self, findings: Sequence[Finding], fail_on: str) -> int:
        from kallithea_tune import errors
        from kallithea_tune.perf_check.model import Severity

        levels = [finding.severity for finding in findings if not finding.ignored]
        if any(level >= Severity[fail_on] for level in levels):
            return errors.EXIT_FINDINGS
        return errors.EXIT_NOT_MEASURED if Severity.unknown in levels else errors.EXIT_OK

    def _list(self, chosen: list[Check], args: Any) -> int:
        columns = ["check", "area", "title", "seconds", "writes", "tags"]
        rows = [
            [
                item.id,
                item.area,
                item.title,
                item.seconds,
                item.writes or "nothing",
                " ".join(sorted(item.tags)),
            ]
            for item in chosen
        ]
        shown = len(columns) if args.format else 4
        self.emit(args, columns[:shown], [row[:shown] for row in rows])
        return 0

    def _explain(self, checks: list[Check], wanted: str) -> int:
        from kallithea_tune.errors import ConfigError
        from kallithea_tune.perf_check.pages import page

        found = [item for item in checks if wanted.lower() in (item.id.lower(), item.slug)]
        if not found:
            raise ConfigError(f"there is no check '{wanted}'; --list shows them")
        for item in found:
            needs = ", ".join(sorted(item.needs))
            print(printable(page(item).rstrip(), lines=True))
            cost = (
                f"{item.id} ({item.slug}) takes up to {item.seconds:g} s, "
                f"writes {item.writes or 'nothing'}, needs {needs}."
            )
            print("\n" + printable(cost))
        return 0
