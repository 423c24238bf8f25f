"""A run's findings as text for people, as rows for machines, and against an earlier run."""

from __future__ import annotations

import json
from typing import Any, Sequence, TextIO

from kallithea_tune.checks.model import AREAS, Finding, Severity
from kallithea_tune.checks.runner import Report
from kallithea_tune.errors import ConfigError
from kallithea_tune.output import coloured, evidence_text, plain, wrapped

COLUMNS = (
    "check", "severity", "confidence", "area", "subject", "diagnosis", "impact_ms", "impact_per",
    "evidence", "threshold", "source", "remedy", "ignored",
)


def rows(findings: Sequence[Finding]) -> list[list[Any]]:
    """Return one row of `COLUMNS` for each finding."""
    return [
        [found.severity.name if name == "severity" else plain(getattr(found, name)) for name in COLUMNS]
        for found in findings
    ]


def write_text(report: Report, stream: TextIO, everything: bool = False) -> None:
    """Write the report for people: a line per area, then each finding in at most four lines of 80 columns."""
    for severity, line in summary(report.findings):
        print(coloured(line, severity, stream), file=stream)
    for found in report.findings:
        if found.severity > Severity.ok or everything:
            print(file=stream)
            _write_finding(found, stream)
    print(file=stream)
    for note in report.notes:
        print("\n".join(wrapped("Note: ", note, 3)), file=stream)
    counts = ", ".join(
        "%d %s" % (sum(found.severity is level and not found.ignored for found in report.findings), level.name)
        for level in sorted(Severity, reverse=True)
    )
    print("%s; %d checks in %.1f s" % (counts, len(report.checks), report.seconds), file=stream)


def summary(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Return (severity, line) per area, worst first, with the worst diagnosis of each."""
    lines = []
    for area in dict.fromkeys([*AREAS, *(found.area for found in findings)]):
        mine = [found for found in findings if found.area == area and not found.ignored]
        if mine:
            worst = max(mine, key=lambda found: (found.severity, found.impact_ms or 0.0))
            said = worst.diagnosis if worst.severity > Severity.ok else "%d checked, nothing to change" % len(mine)
            lines.append((worst.severity, wrapped("%-12s %-8s " % (area, worst.severity.name), said)[0]))
    lines.sort(key=lambda line: -line[0])
    return [(severity.name, line) for severity, line in lines]


def _write_finding(found: Finding, stream: TextIO) -> None:
    label = "ignored" if found.ignored else found.severity.name
    subject = " (%s)" % found.subject if found.subject else ""
    impact = " [%s]" % found.impact if found.impact else ""
    head = wrapped("%s %s: " % (found.check, label), found.diagnosis + subject + impact, 1)[0]
    print(coloured(head, found.severity.name, stream), file=stream)
    limit = "; threshold %s" % found.threshold if found.threshold else ""
    if found.evidence or limit:
        print(wrapped("  seen: ", evidence_text(found.evidence) + limit)[0], file=stream)
    if found.ignored:
        print(wrapped("  kept: ", found.ignored)[0], file=stream)
    elif found.remedy:
        print(wrapped("  do:   ", found.remedy)[0], file=stream)
    if found.severity > Severity.ok:
        print("  more: gearbox perf-check --explain %s" % found.check, file=stream)


def save(report: Report, path: str) -> None:
    """Write the run to `path` as JSON, for a later `compare`."""
    import os
    import tempfile

    document = {"format": 1, "checks": list(report.checks), "findings": [
        dict(zip(COLUMNS, row)) for row in rows(report.findings)]}
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".perf-check-")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigError("--save %s cannot be written: %s" % (path, error.strerror)) from None


def read_saved(path: str) -> list[dict[str, Any]]:
    """Read the findings that `save` wrote. Raises ConfigError for any other file."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        return [dict(saved, check=saved["check"], severity=Severity[saved["severity"]].name)
                for saved in document["findings"]]
    except OSError as error:
        raise ConfigError("--compare %s cannot be read: %s" % (path, error.strerror)) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError("--compare %s was not written by --save" % path) from None


def compare(before: Sequence[dict[str, Any]], report: Report) -> list[str]:
    """Say in one line each what got better or worse since the saved run; checks not run now are left out."""
    old = {(saved["check"], saved["subject"]): saved for saved in before if saved["check"] in report.checks}
    new = {(found.check, found.subject): found for found in report.findings}
    lines = []
    for key in sorted(set(old) | set(new)):
        then = Severity[old[key]["severity"]] if key in old else Severity.ok
        now = new[key].severity if key in new else Severity.ok
        if then != now:
            text = new[key].diagnosis if key in new else old[key]["diagnosis"]
            word = "could not be measured" if now is Severity.unknown else "worse" if now > then else "better"
            lines.append("%s: %s %s -> %s: %s" % (word, key[0], then.name, now.name, text))
    return lines
