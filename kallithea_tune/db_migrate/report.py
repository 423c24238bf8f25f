"""What the admin sees of a migration: the plan, what was done, what differs, how to go back."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING, Any, Optional, Sequence, TextIO

from kallithea_tune.db_migrate.preflight import summary

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.estimate import Estimate
    from kallithea_tune.db_migrate.options import Report
    from kallithea_tune.db_migrate.plan import Plan
    from kallithea_tune.db_migrate.preflight.look import Preflight

NAMED = 12  # columns of one kind that are named in a plan


def plan_document(
    plan: Plan, found: Preflight, estimate: Optional[Estimate], dropped: Sequence[str]
) -> dict[str, Any]:
    """Return what would be done, for machines."""
    return {
        "plan": dataclasses.asdict(plan),
        "findings": summary.plain(found.findings),
        "unseen": found.unseen,
        "estimate": estimate and dataclasses.asdict(estimate),
        "dropped": list(dropped),
    }


def document(report: Report) -> dict[str, Any]:
    """Return everything that was done and measured, for machines."""
    return dict(
        dataclasses.asdict(report),
        differences=report.differences,
        findings=summary.plain(report.findings),
    )


def write_plan(
    plan: Plan,
    found: Preflight,
    estimate: Optional[Estimate],
    dropped: Sequence[str],
    stream: TextIO,
) -> None:
    """Print what would be done."""
    print(
        "Source:  {}{}".format(
            plan.source, ", revision " + ", ".join(plan.revision) if plan.revision else ""
        ),
        f"Target:  {plan.target}",
        "",
        sep="\n",
        file=stream,
    )
    for table in plan.tables:
        print(
            "%-34s %12s rows %10s" % (table.name, f"{table.rows:,}", size(table.bytes)), file=stream
        )
    print(
        "%-34s %12s rows %10s"
        % ("%d tables" % len(plan.tables), f"{plan.rows:,}", size(plan.bytes)),
        file=stream,
    )
    print(
        "\n{}".format(
            estimate.sentence
            if estimate
            else "How long it takes is measured when all rows can go over."
        ),
        file=stream,
    )
    print(f"\n{summary.text(found.findings, found.unseen)}", file=stream)
    _write_types(plan, stream)
    if plan.left_out:
        print(
            "\nIn no model, so left out unless --extra-tables: {}".format(", ".join(plan.left_out)),
            file=stream,
        )
    if plan.extra:
        print("\nIn no model, copied as they are: {}".format(", ".join(plan.extra)), file=stream)
    if dropped:
        print("\nDropped in the target first: {}".format(", ".join(dropped)), file=stream)


def _write_types(plan: Plan, stream: TextIO) -> None:
    for title, word in (
        (
            "Types that change",
            lambda column: (
                f"{column.source_type} becomes {column.target_type}"
                if column.source_type != column.target_type
                else ""
            ),
        ),
        (
            "What the target would refuse or change (preflight looks for such rows)",
            lambda column: column.loses,
        ),
    ):
        groups: dict[str, list[str]] = {}
        for table in plan.tables:
            for column in table.columns:
                if word(column):
                    groups.setdefault(word(column), []).append(f"{table.name}.{column.name}")
        if groups:
            print(f"\n{title}:", file=stream)
        for said, names in groups.items():
            more = "" if len(names) <= NAMED else ", and %d more" % ((len(names) - NAMED,))
            print(*_lines(f"  {said}: ", ", ".join(names[:NAMED]) + more), sep="\n", file=stream)


def _lines(label: str, text: str) -> list[str]:
    from kallithea_tune.text import WIDTH

    # A path is longer rather than in two pieces.
    return textwrap.wrap(
        label + text,
        WIDTH,
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def write(report: Report, stream: TextIO) -> None:
    """Print what was done, to wherever it came."""
    if report.findings:
        print(summary.text(report.findings, report.unseen), file=stream)
    if "proof" in report.seconds:
        _write_copied(report, stream)
    if report.mended:
        _write_mended(report, stream)
    if report.kept:
        print(
            "%d tables were there already, whole, from the run before." % len(report.kept),
            file=stream,
        )
    if report.changes is not None:
        _write_changes(report, stream)
    if report.verified:
        write_verified(report, stream)
    if report.pages:
        unlike = [page.path for page in report.pages if page.unlike]
        print(
            "The application answers %d pages as it does on the source (%.1f s)."
            % (len(report.pages) - len(unlike), report.seconds["application"]),
            file=stream,
        )
        for path in unlike:
            print(
                "Not compared, since {}: {}".format(
                    "rows were mended"
                    if report.quarantine
                    else "the source was written to meanwhile",
                    path,
                ),
                file=stream,
            )


def _write_copied(report: Report, stream: TextIO) -> None:
    rows, seconds = sum(report.rows.values()), report.seconds.get("copy", 0)
    print(
        "Copied %s rows in %d tables in %.1f s (%s rows/s)"
        % (f"{rows:,}", len(report.rows), seconds, f"{rows / seconds if seconds else 0:,.0f}"),
        *_lines("  from ", report.plan.source),
        *_lines("  to ", report.plan.target + "."),
        sep="\n",
        file=stream,
    )
    print(
        "Keys and indexes took %.1f s, the proof of the schema %.1f s with %d inserts."
        % (report.seconds["keys and indexes"], report.seconds["proof"], report.inserts_tried),
        file=stream,
    )


def _write_mended(report: Report, stream: TextIO) -> None:
    for name, counts in report.mended.items():
        print(
            "{}: {} by fixes".format(
                name,
                ", ".join(
                    "%d %s %s" % (count, "row" if count == 1 else "rows", what)
                    for what, count in counts.items()
                    if count
                ),
            ),
            file=stream,
        )
    print(
        *_lines("As they were in the source they are in ", report.quarantine + "."),
        sep="\n",
        file=stream,
    )


def _write_changes(report: Report, stream: TextIO) -> None:
    for change in report.changes or ():
        print(
            "%s: %d new, %d changed, %d gone"
            % (change.table, change.new, change.changed, change.deleted),
            file=stream,
        )
    print(
        "Caught up with %d tables in %.1f s."
        % (len(report.changes or ()), report.seconds["catch up"]),
        file=stream,
    )


def write_verified(report: Report, stream: TextIO) -> None:
    """Print what verification found."""
    for sentence in report.differences:
        print(*_lines("", sentence), sep="\n", file=stream)
    here, there = (sum(checked.rows[side] for checked in report.verified) for side in (0, 1))
    columns = sum(len(checked.checksums) for checked in report.verified)
    seconds = report.seconds.get("verify")
    print(
        *_lines(
            "Verified{}, {}: ".format(
                f" in {seconds:.1f} s" if seconds is not None else "",
                _outcome(report, here == there),
            ),
            "%s, %d columns in %d tables." % (_counted(here, there), columns, len(report.verified)),
        ),
        sep="\n",
        file=stream,
    )


def _counted(here: int, there: int) -> str:
    if here == there:
        return f"{here:,} rows on both sides"
    return f"{here:,} rows in the source and {there:,} in the target"


def _outcome(report: Report, level: bool) -> str:
    number = len(report.differences)
    if number:
        return "%d %s" % (number, "difference" if number == 1 else "differences")
    return (
        "all the same"
        if level and not report.mended
        else "all the same but for what the fixes made of them"
    )


def size(number: int) -> str:
    """Write a number of bytes as people do; empty for none."""
    for unit in ("bytes", "KB", "MB"):
        if number < 10000:
            return "%d %s" % (number, unit) if number else ""
        number //= 1024
    return "%d GB" % number
