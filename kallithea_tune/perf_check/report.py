"""A run's findings as text for people and as rows for machines."""

from __future__ import annotations

import enum
import re
from dataclasses import replace
from typing import Sequence, TextIO

from kallithea_tune.perf_check.colours import coloured
from kallithea_tune.perf_check.formats import curves
from kallithea_tune.perf_check.model import AREAS, Finding, Severity
from kallithea_tune.perf_check.remedy import Command, Remedy, Statements, actions, introduction
from kallithea_tune.perf_check.results import Matrix, Results, Silent
from kallithea_tune.perf_check.runner import Run
from kallithea_tune.text import counted, evidence_text, figure, first_of, plain, printable, wrapped

COLUMNS = (
    "check",
    "severity",
    "confidence",
    "area",
    "subject",
    "diagnosis",
    "impact_ms",
    "impact_per",
    "evidence",
    "threshold",
    "source",
    "remedy",
    "actions",
    "ignored",
    "harm",
)
# What a table on a terminal has room for.
ESSENTIAL = ("check", "severity", "diagnosis", "remedy")

NOT_MEASURED = "not measured: "
# How many reasons for what was left out fit into a sentence.
REASONS = 2
# What may follow one subject as well as several.
_SAID_OF = re.compile(": | (?:cannot|may not) ")


def rows(findings: Sequence[Finding]) -> list[list[object]]:
    """Return one row of `COLUMNS` for each finding."""
    return [[plain(_value(finding, name)) for name in COLUMNS] for finding in findings]


def table(results: Results) -> tuple[Sequence[str], list[list[object]], Sequence[str]]:
    """Return columns, rows and the columns that a terminal has room for; of several places, each
    row begins with its own.
    """
    if len(results.runs) == 1 and not results.silent:
        return COLUMNS, rows(results.findings), ESSENTIAL
    placed = [
        [plain(item.place.instance), plain(item.place.machine), *row]
        for item in results.runs
        for row in rows(item.run.findings)
    ]
    placed += [
        ["", plain(item.machine), *row]
        for item in results.silent
        for row in rows([Finding(Severity.unknown, f"no report: {item.reason}")])
    ]
    return ("instance", "machine", *COLUMNS), placed, ("instance", *ESSENTIAL)


def _value(finding: Finding, column: str) -> object:
    if column == "actions":
        return actions(finding.remedy)
    value: object = getattr(finding, column)
    return value.name if isinstance(value, enum.Enum) else value


def write_results(results: Results, stream: TextIO, everything: bool = False) -> None:
    """Write the report of each place under its name; that of one alone has no heading."""
    several = len(results.runs) > 1 or bool(results.silent)
    for item in results.runs:
        if several:
            name = printable(str(item.place))
            print(name, "=" * len(name), sep="\n", file=stream)
        write_text(item.run, stream, everything)
        if several:
            print(file=stream)
    if results.silent:
        print(*silent_lines(results.silent), sep="\n", file=stream)
    if results.matrix:
        print(*matrix_lines(results.matrix), sep="\n", file=stream)
    for curve in results.curves:
        curves.write(curve, stream)


def silent_lines(silent: Sequence[Silent]) -> list[str]:
    """Say which machines sent no report, and why."""
    lines = ["No report", "=========", ""]
    for item in silent:
        lines += wrapped(f"{printable(item.machine)}: ", printable(item.reason))
    return [*lines, ""]


def matrix_lines(matrix: Matrix) -> list[str]:
    """Lay out the settings that differ or break a rule, each with the value of every instance.

    Those that are as required are counted.
    """
    lines = ["Settings by instance", "====================", ""]
    for row in matrix.notable:
        grade = f" ({row.severity.name}, {row.check})" if row.severity > Severity.ok else ""
        lines += wrapped("", f"{row.setting}: {row.rule.value}{grade}")
        same: dict[str, list[str]] = {}
        for name, value in zip(matrix.instances, row.values):
            same.setdefault(value, []).append(name)
        for value, names in same.items():
            lines += wrapped("  ", f"{value or 'not set'}: {', '.join(names)}", 2)
    rest = len(matrix.rows) - len(matrix.notable)
    return [*lines, f"{counted(rest, 'more setting')} {'is' if rest == 1 else 'are'} as required"]


def write_text(run: Run, stream: TextIO, everything: bool = False) -> None:
    """Write the report for people: what was left out, a line per area, then each finding in at
    most four lines.
    """
    if left_out(run):
        print(*wrapped("", left_out(run), 3), sep="\n", file=stream)
    for severity, line in summary(run.findings):
        print(coloured(line, severity, stream), file=stream)
    for finding in merged(run.findings):
        if finding.severity > Severity.ok or everything:
            head, *rest = finding_lines(finding)
            head = coloured(head, finding.severity.name, stream)
            print("\n" + head, *rest, sep="\n", file=stream)
    print(file=stream)
    for note in run.notes:
        print("\n".join(wrapped("Note: ", note, 3)), file=stream)
    print(f"{_counts(run.findings)}; {checks_of(run)}", file=stream)
    if run.busyness:
        print(str(run.busyness), file=stream)


def checks_of(run: Run) -> str:
    """Return how many checks ran, how many of them found nothing here that they are about, such as
    Celery or a second instance, and how long it took.
    """
    silent = set(run.checks).difference(finding.check for finding in run.findings)
    apply = f" ({len(silent)} n/a)" if silent else ""
    # Another machine's report does not say how long it took.
    time = f" in {run.seconds:.1f} s" if run.seconds else ""
    return f"{counted(len(run.checks), 'check')}{apply}{time}"


def left_out(run: Run) -> str:
    """Return in one sentence which checks did not see everything, and why; "" where all did."""
    reasons: dict[str, dict[str, None]] = {}
    for finding in run.findings:
        if finding.severity is Severity.unknown and not finding.ignored:
            reason = ": " + finding.diagnosis.partition(NOT_MEASURED)[2]
            if finding.check in run.cut:
                reason = f" for lack of time (--budget {run.enough} would be enough)"
            reasons.setdefault(reason, {})[finding.check] = None
    most = sorted(reasons.items(), key=lambda item: -len(item[1]))
    parts = [first_of(list(checks), 3) + reason for reason, checks in most[:REASONS]]
    more = {check for _, checks in most[REASONS:] for check in checks}
    if more:
        parts.append(f"{', '.join(sorted(more))} for other reasons")
    return f"Left out: {'; '.join(parts)}." if parts else ""


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """Merge what has one cause: the findings that were not measured for the same reason, of which
    the first lists the others, and those of a check that say the same of several subjects.
    """
    same: dict[object, list[Finding]] = {}
    for finding in findings:
        unmeasured = finding.severity is Severity.unknown and not finding.subject
        check = "" if unmeasured else finding.check
        key = (check, finding.severity, _cause(finding), finding.ignored)
        same.setdefault(key, []).append(finding)
    return [_joined(*alike) for alike in same.values()]


def _cause(finding: Finding) -> str:
    """Return what is said of the subject, or all of it where a plural would not fit."""
    match = _SAID_OF.match(finding.diagnosis[len(finding.subject) :])
    of_it = finding.subject and finding.diagnosis.startswith(finding.subject) and match
    return finding.diagnosis[len(finding.subject) :] if of_it else finding.diagnosis


def _joined(first: Finding, *others: Finding) -> Finding:
    if not others:
        return first
    if not first.subject:
        also = [other.check for other in others if other.check != first.check]
        return replace(first, evidence={**first.evidence, "also": also}) if also else first
    subjects = first_of(list(dict.fromkeys(one.subject for one in (first, *others))), 3)
    cause = _cause(first)
    diagnosis = first.diagnosis if cause == first.diagnosis else subjects + cause
    return replace(first, subject=subjects, diagnosis=diagnosis)


def _counts(findings: Sequence[Finding]) -> str:
    levels = [finding.severity for finding in findings if not finding.ignored]
    counts = [count_of(level, levels.count(level)) for level in sorted(Severity, reverse=True)]
    ignored = len(findings) - len(levels)
    return ", ".join(counts + ([f"{ignored} ignored"] if ignored else []))


def count_of(level: Severity, number: int) -> str:
    """Return how many findings of a severity there are: ``2 errors``, ``2 advice``, ``2 ok``."""
    plain_number = level in (Severity.ok, Severity.unknown, Severity.advice)
    return f"{number} {level.name}" if plain_number else counted(number, level.name)


def summary(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Return (severity, line) per area, worst first, with the worst diagnosis of each."""
    lines = []
    for area, own, worst in by_area(findings):
        diagnosis = worst.diagnosis
        if worst.severity is Severity.ok:
            diagnosis = f"{len(own)} checked, nothing to change"
        label = f"{area:<12} {worst.severity.name:<8} "
        lines.append((worst.severity.name, wrapped(label, diagnosis)[0]))
    return lines


def by_area(findings: Sequence[Finding]) -> list[tuple[str, list[Finding], Finding]]:
    """Return the areas with findings that are not ignored, these, and the worst of them; the worst
    area first.
    """
    found = []
    for area in dict.fromkeys([*AREAS, *(finding.area for finding in findings)]):
        own = [item for item in findings if item.area == area and not item.ignored]
        if own:
            worst = max(own, key=lambda item: (item.severity, item.impact_ms or 0.0))
            found.append((area, own, worst))
    return sorted(found, key=lambda item: -item[2].severity)


LINES = 4
# Where a sentence or several steps turn from words to a command, which is never broken: it is there
# to be pasted.
_PROGRAMS = "cd|find|gearbox|git|hg|kallithea-cli|ls|mkdir|psql|rm|sqlite3|sudo"
_COMMAND = re.compile(rf"(?:^|(?<=[:;] ))(?:(?:[\d*]+ ){{5}}|(?:\S*/)?(?:{_PROGRAMS}) )")
# A longer line, as the SQL for many tables, is no longer read in a report: our judgement.
LONGEST_LINE = 2000


def finding_lines(finding: Finding) -> list[str]:
    """Return at most four lines: diagnosis, cost and evidence, remedy, and where to read on.

    A long remedy takes the place of the last line, since the id in the first says as much. Each has
    80 columns, but a command is never cut or broken.
    """
    label = "ignored" if finding.ignored else finding.severity.name
    named = finding.subject in finding.diagnosis
    subject = f" ({finding.subject})" if finding.subject and not named else ""
    more = []
    if finding.severity > Severity.ok:
        more = [f"  more: gearbox perf-check --explain {finding.check}"]
    remedy = _remedy_lines(finding.remedy, finding.check)
    if finding.ignored:
        remedy = wrapped("  kept: ", finding.ignored, 2)
    heading = f"{finding.check} {label}: "
    head = wrapped(heading, finding.diagnosis + subject, LINES - 1 - len(remedy))
    room = LINES - len(head) - len(remedy)
    evidence = _evidence_lines(finding, max(1, room - len(more)))
    return [*head, *evidence, *remedy, *more][:LINES]


def _remedy_lines(remedy: Remedy, check: str) -> list[str]:
    """Lay a remedy out in two lines; a command that does not fit beside the words has its own."""
    label, text = "  do:   ", str(remedy)
    if len(text) > LONGEST_LINE:
        return [f"{label}gearbox perf-check --fix {check} -n shows it: {len(text):,} characters"]
    lines = wrapped(label, text, 99) if text else []
    if len(lines) < 2:
        return lines
    words, command = _parted(remedy)
    if not command:
        return lines if len(lines) < 3 else wrapped(label, text, 2)
    if not words:
        return [label + printable(command)]
    return [*wrapped(label, words), " " * len(label) + printable(command)]


def _parted(remedy: Remedy) -> tuple[str, str]:
    """Return the words of a remedy, and the commands after them, which may be empty."""
    if isinstance(remedy, (Command, Statements)):
        words = introduction(remedy)
        return words and words + ":", remedy.line
    text = str(remedy)
    command = _COMMAND.search(text)
    return (text[: command.start()].strip(), text[command.start() :]) if command else (text, "")


def _evidence_lines(finding: Finding, lines: int) -> list[str]:
    """Lay out cost, evidence and threshold, with as much of the evidence as fits into `lines`."""
    label = "  seen: "
    threshold = "threshold " + finding.threshold if finding.threshold else ""
    cost = finding.impact
    if (
        finding.impact_ms is not None
        and figure(abs(finding.impact_ms)) + " ms" in finding.diagnosis
    ):
        # The diagnosis has it already.
        cost = ""
    entries = list(finding.evidence.items())
    for end in (threshold, ""):
        for count in range(len(entries), 0, -1):
            shown = evidence_text(dict(entries[:count])) + (", ..." if count < len(entries) else "")
            laid = wrapped(label, "; ".join(filter(None, (cost, shown, end))), 99)
            if len(laid) <= lines and (count > 1 or not end or len(entries) == 1):
                return laid
    text = "; ".join(filter(None, (cost, evidence_text(finding.evidence), threshold)))
    return wrapped(label, text, lines) if text else []
