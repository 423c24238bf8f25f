"""A run's findings as text for people, as rows for machines, and against an earlier run."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from typing import Any, Iterable, Mapping, Optional, Sequence, TextIO

from kallithea_tune.errors import ConfigError, NotMeasured, TuneError
from kallithea_tune.perf_check.colours import coloured
from kallithea_tune.perf_check.model import AREAS, Finding, Severity
from kallithea_tune.perf_check.runner import Report
from kallithea_tune.system.scratch import scratch
from kallithea_tune.text import evidence_text, figure, plain, printable, wrapped

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
    "ignored",
)


def rows(findings: Sequence[Finding]) -> list[list[Any]]:
    """Return one row of `COLUMNS` for each finding."""
    return [
        [
            found.severity.name if name == "severity" else plain(getattr(found, name))
            for name in COLUMNS
        ]
        for found in findings
    ]


def write_text(report: Report, stream: TextIO, everything: bool = False) -> None:
    """Write the report for people: a line per area, then each finding in at most four lines of 80
    columns.
    """
    for severity, line in summary(report.findings):
        print(coloured(line, severity, stream), file=stream)
    for found in merged(report.findings):
        if found.severity > Severity.ok or everything:
            head, *rest = finding_lines(found)
            print("\n" + coloured(head, found.severity.name, stream), *rest, sep="\n", file=stream)
    print(file=stream)
    for note in report.notes:
        print("\n".join(wrapped("Note: ", note, 3)), file=stream)
    number = "1 check" if len(report.checks) == 1 else "%d checks" % len(report.checks)
    print(f"{_counts(report.findings)}; {number} in {report.seconds:.1f} s", file=stream)


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """Make one finding of all that could not be measured for the same reason; it names the other
    checks.
    """
    same: dict[object, list[Finding]] = {}
    for number, found in enumerate(findings):
        alike = found.severity is Severity.unknown and not found.subject
        same.setdefault((found.diagnosis, found.ignored) if alike else number, []).append(found)
    return [
        replace(first, evidence={**first.evidence, "also": [found.check for found in others]})
        if others
        else first
        for first, *others in same.values()
    ]


def _counts(findings: Sequence[Finding]) -> str:
    levels = [found.severity for found in findings if not found.ignored]
    counts = [
        "%d %s" % (levels.count(level), level.name) for level in sorted(Severity, reverse=True)
    ]
    ignored = len(findings) - len(levels)
    return ", ".join(counts + (["%d ignored" % ignored] if ignored else []))


def summary(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Return (severity, line) per area, worst first, with the worst diagnosis of each."""
    lines = []
    for area in dict.fromkeys([*AREAS, *(found.area for found in findings)]):
        mine = [found for found in findings if found.area == area and not found.ignored]
        if mine:
            worst = max(mine, key=lambda found: (found.severity, found.impact_ms or 0.0))
            said = (
                worst.diagnosis
                if worst.severity > Severity.ok
                else "%d checked, nothing to change" % len(mine)
            )
            lines.append(
                (worst.severity, wrapped("%-12s %-8s " % (area, worst.severity.name), said)[0])
            )
    lines.sort(key=lambda line: -line[0])
    return [(severity.name, line) for severity, line in lines]


LINES = 4
# Where a remedy goes over from words to a command, which is never broken: it is there to be pasted.
_COMMAND = re.compile(
    r"(?:^|(?<=[:;] ))(?:(?:[\d*]+ ){5}|(?:\S*/)?(?:cd|find|gearbox|git|hg|kallithea-cli|ls|mkdir|psql|rm|sqlite3) )"
)


def finding_lines(found: Finding) -> list[str]:
    """Return the at most four lines of a finding: diagnosis, cost and evidence, remedy, where to
    read on.

    A long remedy takes the place of the last, since the id in the first says as much. Each has 80
    columns, but a command is never cut or broken.
    """
    label = "ignored" if found.ignored else found.severity.name
    subject = (
        f" ({found.subject})" if found.subject and found.subject not in found.diagnosis else ""
    )
    more = (
        [f"  more: gearbox perf-check --explain {found.check}"]
        if found.severity > Severity.ok
        else []
    )
    remedy = wrapped("  kept: ", found.ignored, 2) if found.ignored else _remedy_lines(found.remedy)
    head = wrapped(f"{found.check} {label}: ", found.diagnosis + subject, LINES - 1 - len(remedy))
    room = LINES - len(head) - len(remedy)
    evidence = _seen(found, max(1, room - len(more)))
    return [*head, *evidence, *remedy, *more][:LINES]


def _remedy_lines(text: str) -> list[str]:
    """Lay a remedy out in two lines: words are wrapped, a command has a line of its own where they
    share none.
    """
    label = "  do:   "
    lines = wrapped(label, text, 99) if text else []
    command = _COMMAND.search(text)
    if len(lines) < 2 or not command:
        return lines if len(lines) < 3 else wrapped(label, text, 2)
    words, command_text = text[: command.start()].strip(), printable(text[command.start() :])
    if not words:
        return [label + command_text]
    return [*wrapped(label, words), " " * len(label) + command_text]


def _seen(found: Finding, lines: int) -> list[str]:
    """Lay out cost, evidence and threshold, with as many of the first entries of the evidence as
    fit into `lines`.
    """
    limit = "threshold " + found.threshold if found.threshold else ""
    # What the diagnosis says already need not be said again.
    cost = (
        ""
        if found.impact_ms is None or figure(abs(found.impact_ms)) + " ms" in found.diagnosis
        else found.impact
    )
    entries = list(found.evidence.items())
    for end in (limit, ""):
        for count in range(len(entries), 0, -1):
            shown = evidence_text(dict(entries[:count])) + (", ..." if count < len(entries) else "")
            laid = wrapped("  seen: ", "; ".join(filter(None, (cost, shown, end))), 99)
            if len(laid) <= lines and (count > 1 or not end or len(entries) == 1):
                return laid
    seen = "; ".join(filter(None, (cost, evidence_text(found.evidence), limit)))
    return wrapped("  seen: ", seen, lines) if seen else []


def refuse_unwritable(path: str) -> None:
    """Raise ConfigError when `save` could not write to `path`, before anything is measured for
    it.
    """
    directory = os.path.dirname(os.path.realpath(path))
    if (
        os.path.exists(path)
        and not os.path.isfile(path)
        and os.access(path, os.W_OK)
        and not os.path.isdir(path)
    ):
        return
    if os.path.isdir(path):
        raise ConfigError(f"--save {path} is a directory; name a file in it")
    if not os.path.isdir(directory):
        raise ConfigError(f"--save {path}: the directory {directory} does not exist")
    if not os.access(directory, os.W_OK):
        raise ConfigError(f"--save {path}: the directory {directory} is not writable")


def save(report: Report, path: str) -> None:
    """Write the run to `path` as JSON, for a later `compare`: the whole of it or, when that fails,
    nothing.

    Raises TuneError where it cannot be written.
    """
    document = {
        "format": 1,
        "checks": list(report.checks),
        "findings": [dict(zip(COLUMNS, row)) for row in rows(report.findings)],
    }
    try:
        _write_whole(os.path.realpath(path), json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise TuneError(f"--save {path} cannot be written: {error.strerror}") from None
    except NotMeasured as error:
        raise TuneError(f"--save {path} cannot be written: {error}") from None


def _write_whole(path: str, text: str) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        # A pipe or a device is written to; replacing it would be worse than a part of a document.
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    with scratch(os.path.dirname(path)) as directory:
        temporary = os.path.join(directory, "saved")
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


@dataclass(frozen=True)
class Saved:
    """A run as `save` keeps it: the ids of its checks, and its findings by check and subject."""

    checks: frozenset[str]
    findings: Mapping[tuple[str, str], Finding]

    def get(self, key: tuple[str, str]) -> Optional[Finding]:
        """Return the finding of a check about a subject, or why the check could say nothing, or
        None.
        """
        blind = self.findings.get((key[0], ""))
        return self.findings.get(
            key, blind if blind and blind.severity is Severity.unknown else None
        )


def read_saved(path: str) -> Saved:
    """Read what `save` wrote. Raises ConfigError for any other file."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        found = [
            Finding(**{**kept, "severity": Severity[kept["severity"]]})
            for kept in document["findings"]
        ]
        return saved(document["checks"], found)
    except OSError as error:
        raise ConfigError(f"--compare {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"--compare {path} was not written by --save") from None


def saved(checks: Iterable[str], findings: Iterable[Finding]) -> Saved:
    """Return a run as `read_saved` gives it; of two findings about one subject, the worse."""
    ordered = sorted(findings, key=lambda found: found.severity)
    return Saved(frozenset(checks), {(found.check, found.subject): found for found in ordered})


def compare(before: Saved, report: Report) -> list[str]:
    """Say in one line each what got better or worse since the saved run; what only one of them ran
    is left out.
    """
    lines = (
        change_of(then, now) for then, now in pairs(before, saved(report.checks, report.findings))
    )
    return list(filter(None, dict.fromkeys(lines)))


def pairs(before: Saved, after: Saved) -> list[tuple[Optional[Finding], Optional[Finding]]]:
    """Put together what two runs found by the checks that both ran; None is a finding that was not
    made.
    """
    both = before.checks & after.checks
    # That a new subject is in order is no news.
    news = {key for key, found in after.findings.items() if found.severity > Severity.ok}
    keys = sorted(key for key in {*before.findings, *news} if key[0] in both)
    return [(before.get(key), after.get(key)) for key in keys]


def write_changes(name: str, changes: Sequence[str], stream: TextIO) -> None:
    """Write what `compare` gave, the earlier run being the file `name`."""
    lines = [line for change in changes or ["nothing changed"] for line in wrapped("  ", change, 2)]
    print("", *wrapped("", f"Since {name}:"), *lines, sep="\n", file=stream)


def change_of(then: Optional[Finding], now: Optional[Finding]) -> str:
    """Return a line that says how a finding changed, empty where it did not."""
    said = now or then
    if said is None:
        return ""
    old, new = (found.severity if found else Severity.ok for found in (then, now))
    change = f"{old.name} -> {new.name}"
    if old is not new:
        measured = {old: "now measured", new: "not measured any more"}.get(Severity.unknown)
        word = measured or ("worse" if new > old else "better")
    else:
        before, after = ((found.impact_ms if found else None) or 0.0 for found in (then, now))
        if not _differ(before, after):
            return ""
        word = "worse" if after > before else "better"
        change = f"{figure(before)} -> {figure(after)} ms per {said.impact_per}"
    subject = f" ({said.subject})" if said.subject and said.subject not in said.diagnosis else ""
    text = "" if said.severity is Severity.unknown and said is then else ": " + said.diagnosis
    return f"{word}: {said.check} {change}{subject}{text}"


def _differ(before: float, after: float) -> bool:
    """A cost has changed when it is half as much again, or two thirds: our judgement of the noise
    between two runs.
    """
    return abs(after - before) >= max(1.0, 0.5 * min(abs(before), abs(after)))
