"""What the admin sees of a migration: the plan, how far it is, what was done."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Optional, TextIO

if TYPE_CHECKING:
    from kallithea_tune.migration.plan import Plan
    from kallithea_tune.migration.run import Report


class Lines:
    """Progress as plain lines, one for each step."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, step: str, total: int) -> None:
        """Print the step."""
        print("%s ..." % step, file=self._stream, flush=True)

    def advance(self, number: int, what: str = "") -> None:
        """Print nothing."""


def write_plan(plan: Plan, stream: TextIO, format: Optional[str]) -> None:
    """Print what would be done."""
    if format == "json":
        _json({"plan": dataclasses.asdict(plan)}, stream)
        return
    print("Source:  %s%s" % (plan.source, ", revision " + ", ".join(plan.revision) if plan.revision else ""),
        "Target:  %s" % plan.target, "", sep="\n", file=stream)
    for table in plan.tables:
        print("%-34s %12s rows %10s" % (table.name, "{:,}".format(table.rows), size(table.bytes)), file=stream)
    print("%-34s %12s rows %10s" % ("%d tables" % len(plan.tables), "{:,}".format(plan.rows), size(plan.bytes)),
        file=stream)
    if plan.left_out:
        print("\nIn no model, so left out unless --extra-tables: %s" % ", ".join(plan.left_out), file=stream)


def write(report: Report, stream: TextIO, format: Optional[str]) -> None:
    """Print what was done."""
    rows, seconds = sum(report.rows.values()), report.seconds.get("copy", 0)
    if format == "json":
        _json(dataclasses.asdict(report), stream)
        return
    print("Copied %s rows in %d tables from %s to %s." % (
        "{:,}".format(rows), len(report.rows), report.plan.source, report.plan.target), file=stream)
    print("Time: copy %.1f s (%s rows/s), keys and indexes %.1f s, proof %.1f s; %d inserts tried and taken back." % (
        seconds, "{:,.0f}".format(rows / seconds if seconds else 0), report.seconds["keys and indexes"],
        report.seconds["proof"], report.inserts_tried), file=stream)
    write_verified(report, stream, None)


def write_verified(report: Report, stream: TextIO, format: Optional[str]) -> None:
    """Print what verification found."""
    if format == "json":
        _json(dataclasses.asdict(report), stream)
        return
    for sentence in report.differences:
        print(sentence, file=stream)
    rows = sum(checked.rows[0] for checked in report.verified)
    columns = sum(len(checked.checksums) for checked in report.verified)
    print("Verified in %.1f s: %s rows and the checksums of %d columns in %d tables; %s." % (
        report.seconds["verify"], "{:,}".format(rows), columns, len(report.verified),
        "%d differences" % len(report.differences) if report.differences else "all the same"), file=stream)


def size(number: int) -> str:
    """Write a number of bytes as people do; empty for none."""
    for unit in ("bytes", "KB", "MB"):
        if number < 10000:
            return "%d %s" % (number, unit) if number else ""
        number //= 1024
    return "%d GB" % number


def _json(value: Any, stream: TextIO) -> None:
    json.dump(value, stream, indent=2, ensure_ascii=False)
    print(file=stream)
