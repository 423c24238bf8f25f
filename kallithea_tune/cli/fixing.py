"""``gearbox perf-check --fix``: shows the plan, asks, has it carried out, and reports."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Sequence

from kallithea_tune.cli.base import reader_may_leave
from kallithea_tune.text import plain, printable

if TYPE_CHECKING:
    from kallithea_tune.cli.perf_check import PerfCheckCommand
    from kallithea_tune.cli.progress import Progress
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.perf_check.fix.carry_out import Outcome
    from kallithea_tune.perf_check.fix.plan import Plan, Task
    from kallithea_tune.perf_check.model import Check
    from kallithea_tune.perf_check.results import PlacedRun, Results
    from kallithea_tune.perf_check.runner import Run

_ALL_SAFE = "all-safe"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--fix``, and what belongs to it."""
    add = parser.add_argument
    add(
        "--fix",
        action="append",
        default=[],
        metavar="ID",
        help="apply the remedies of these checks (repeatable or comma-separated), or of "
        f"{_ALL_SAFE}, which is every remedy that can be undone",
    )
    add("-n", "--dry-run", action="store_true", help="with --fix: show what would be done")
    add("-y", "--yes", action="store_true", help="with --fix: do not ask for confirmation")


def choose(args: argparse.Namespace) -> None:
    """Split what ``--fix`` was given, and let only these checks run.

    Raises ConfigError for options that contradict it, or do not work without it.
    """
    from kallithea_tune.errors import ConfigError

    args.fix = [item.strip() for text in args.fix for item in text.split(",") if item.strip()]
    if not args.fix:
        if args.dry_run or args.yes:
            raise ConfigError("-n and -y belong to --fix; perf-check alone changes nothing")
        return
    for option, given in (
        ("--only", args.only),
        ("--try", args.wanted),
        ("--save", args.save),
        ("--compare", args.compare),
        ("--prometheus", args.prometheus),
        ("--html", args.html),
        ("--history", args.history is not None),
        ("--list", args.list),
    ):
        if given and not (option == "--only" and args.fix == [_ALL_SAFE]):
            raise ConfigError(f"--fix and {option} cannot be combined")
    if _ALL_SAFE in args.fix and len(args.fix) > 1:
        raise ConfigError(f"--fix takes {_ALL_SAFE} or ids, not both")
    if args.fix != [_ALL_SAFE]:
        args.only = args.fix


class Fixing:
    """One ``--fix``, with the command that it was given to."""

    def __init__(self, command: PerfCheckCommand, args: argparse.Namespace) -> None:
        self._command, self._args = command, args
        self._safe_only = args.fix == [_ALL_SAFE]
        self._rows: list[list[object]] = []

    def act(self, checks: Sequence[Check]) -> int:
        """Measure, and for each instance plan, ask and carry out; return the worst status."""
        from kallithea_tune import errors

        given = self._command.instances
        with self._command.progress() as progress:
            results = self._run(checks, progress)
        statuses = []
        for number, (instance, item) in enumerate(zip(given, results.runs)):
            if len(given) > 1:
                name = str(item.place)
                self._show([*([""] if number else []), name, "=" * len(name)])
            self._command.instance = instance
            statuses.append(self._fix(item, checks))
        self._emit()
        # From the best to the worst.
        order = (
            errors.EXIT_OK,
            errors.EXIT_NOT_MEASURED,
            errors.EXIT_FINDINGS,
            errors.EXIT_FAILED,
        )
        return max(statuses, key=order.index)

    def _fix(self, found: PlacedRun, checks: Sequence[Check]) -> int:
        """Fix the findings of one instance, compared with the others; return the status."""
        from kallithea_tune.config import inifile
        from kallithea_tune.errors import EXIT_OK
        from kallithea_tune.perf_check.fix import carry_out, plan, report

        run, instance = found.run, self._command.instance
        unchanged = inifile.unchanged(instance.path)
        wanted = plan.tasks(run.findings, self._safe_only)
        self._mask(wanted)
        made = plan.make(wanted, unchanged)
        if not made.tasks:
            return self._nothing(run)
        self._show([*report.plan_lines(made), *report.note_lines(run.notes)])
        if self._args.dry_run or not made.carried_out:
            self._add(found, made, None)
            return EXIT_OK if self._args.dry_run else self._status(made, None)
        carry_out.require_possible(made, instance)
        made = plan.make(self._confirmed(made), unchanged)
        again = [check for check in checks if check.id in made.checks]
        with self._command.progress() as progress:
            outcome = carry_out.carry_out(
                made, instance, lambda new: self._measured(new, again, progress), progress
            )
        self._show(report.outcome_lines(made, outcome))
        self._add(found, made, outcome)
        return self._status(made, outcome)

    def _measured(self, new: Instance, checks: Sequence[Check], progress: Progress) -> Run:
        """Measure an instance again, beside the others; later ones are compared with it."""
        from kallithea_tune.perf_check import several

        given = self._command.instances
        number = [one.uri for one in given].index(new.uri)
        after = (*given[:number], new, *given[number + 1 :])
        self._command.instances = several.with_one_redactor(after)
        return self._run(checks, progress).runs[number].run

    def _run(self, checks: Sequence[Check], progress: Progress) -> Results:
        from kallithea_tune.perf_check import several
        from kallithea_tune.perf_check.measurement import OnRequest

        return several.run(
            self._command.instances,
            checks,
            self._args.budget,
            progress=progress,
            on_request=OnRequest(fleet=self._args.fleet),
        )

    def _mask(self, wanted: Sequence[Task]) -> None:
        """Have the values of edits masked that are secrets in the new ini file."""
        from kallithea_tune.perf_check.remedy import secrets

        instance = self._command.instance
        new = frozenset().union(*(secrets(task.finding.exact) for task in wanted))
        redactor = instance.redactor.also(new)
        self._command.instance = dataclasses.replace(instance, redactor=redactor)

    def _confirmed(self, plan: Plan) -> list[Task]:
        """Ask for the plan, and for each task that deletes data, even with ``-y``.

        Returns the tasks without those that were declined. Raises Refused where nothing is left,
        or there is no terminal.
        """
        from kallithea_tune.errors import Refused

        deleting = [task.finding.check for task in plan.tasks if task.deletes]
        if deleting and not (sys.stdin and sys.stdin.isatty()):
            raise Refused(
                f"{', '.join(deleting)} would delete data, which must be confirmed on a terminal, "
                "even with -y; nothing was done"
            )
        unattended = "--fix asks before it changes anything, and there is no terminal; see -y"
        if not self._args.yes and not self._command.confirm("Carry this out?", unattended):
            raise Refused("nothing was changed")
        kept = []
        for task in plan.tasks:
            question = f"{task.finding.check} deletes data for good: {task.finding.remedy}. Do it?"
            if task.deletes and not self._command.confirm(question, ""):
                task = dataclasses.replace(task, by_hand="you declined it")
            kept.append(task)
        if all(task.by_hand for task in kept):
            raise Refused("nothing was changed")
        return kept

    def _nothing(self, run: Run) -> int:
        from kallithea_tune.errors import EXIT_NOT_MEASURED, EXIT_OK
        from kallithea_tune.perf_check.fix import report
        from kallithea_tune.perf_check.model import Severity

        unknown = any(item.severity is Severity.unknown for item in run.findings)
        lines = report.nothing_lines(run.findings, self._safe_only)
        self._show([*lines, *report.note_lines(run.notes)])
        return EXIT_NOT_MEASURED if unknown else EXIT_OK

    def _show(self, lines: Sequence[str]) -> None:
        """Print for people; beside a document for machines, on stderr."""
        stream = sys.stderr if self._args.format else sys.stdout
        with reader_may_leave():
            for line in lines:
                print(printable(self._command.redactor.text(line)), file=stream)
            stream.flush()

    def _add(self, found: PlacedRun, plan: Plan, outcome: Outcome | None) -> None:
        """Keep the rows of one instance for the document; of several, each begins with its own."""
        from kallithea_tune.perf_check.fix import report

        place = [plain(found.place.instance)] if len(self._command.instances) > 1 else []
        self._rows += [[*place, *row] for row in report.rows(plan, outcome)]

    def _emit(self) -> None:
        from kallithea_tune.perf_check.fix import report

        if self._args.format:
            first = ["instance"] if len(self._command.instances) > 1 else []
            with reader_may_leave():
                self._command.emit(self._args, [*first, *report.COLUMNS], self._rows)

    def _status(self, plan: Plan, outcome: Outcome | None) -> int:
        from kallithea_tune.errors import EXIT_FAILED, EXIT_FINDINGS, EXIT_OK

        if outcome and outcome.failure:
            return EXIT_FAILED
        left = any(task.by_hand for task in plan.tasks)
        gone = outcome is not None and outcome.all_gone
        return EXIT_OK if gone and not left else EXIT_FINDINGS
