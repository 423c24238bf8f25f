"""A migration as the admin reads it and as machines do: the plan, and what was done."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Optional, Sequence

from kallithea_tune.db_migrate.inventory.items import not_carried
from kallithea_tune.db_migrate.preflight import report as preflight_report
from kallithea_tune.db_migrate.result import DryRun, MigrationResult, Step
from kallithea_tune.text import WIDTH, counted, printable

if TYPE_CHECKING:
    from kallithea_tune.db_migrate.catch_up import Change
    from kallithea_tune.db_migrate.estimate import Estimate
    from kallithea_tune.db_migrate.plan import ColumnPlan, Plan
    from kallithea_tune.db_migrate.verify.difference import TableComparison

LISTED = 3  # columns of one kind that are listed in a plan


@dataclass(frozen=True)
class PlanDocument:
    """The JSON of a dry run; the names of the fields are its keys."""

    plan: Plan
    findings: Sequence[Mapping[str, object]]
    unseen: Sequence[str]
    estimate: Optional[Estimate]
    dropped: Sequence[str]


@dataclass(frozen=True)
class PageDocument:
    """The JSON of a page that was compared."""

    path: str
    statuses: tuple[int, int]
    bytes: tuple[int, int]
    unlike: str
    not_compared: str


@dataclass(frozen=True)
class ResultDocument:
    """The JSON of a migration; the names of the fields are its keys."""

    plan: Plan
    seconds: Mapping[str, float]
    rows: Mapping[str, int]
    findings: Sequence[Mapping[str, object]]
    unseen: Sequence[str]
    preflight: str
    mended: Mapping[str, Mapping[str, int]]
    quarantine: str
    kept: Sequence[str]
    last_keys: Mapping[str, int]
    inserts_tried: int
    verified: Sequence[TableComparison]
    schema: Mapping[str, int]
    changes: Optional[Sequence[Change]]
    pages: Sequence[PageDocument]
    differences: Sequence[str]


def plan_document(dry_run: DryRun) -> PlanDocument:
    """Return the JSON of a dry run."""
    return PlanDocument(
        plan=dry_run.plan,
        findings=preflight_report.as_json(dry_run.preflight.violations),
        unseen=dry_run.preflight.unchecked,
        estimate=dry_run.estimate,
        dropped=list(dry_run.dropped),
    )


def result_document(result: MigrationResult) -> ResultDocument:
    """Return the JSON of a migration, as far as it came."""
    return ResultDocument(
        plan=result.plan,
        seconds={step.value: seconds for step, seconds in result.seconds.items()},
        rows=result.rows,
        findings=preflight_report.as_json(result.violations),
        unseen=result.unchecked,
        preflight=result.preflight,
        mended=result.fixed,
        quarantine=result.quarantine,
        kept=result.kept,
        last_keys=result.last_keys,
        inserts_tried=result.inserts_tried,
        verified=result.verified,
        schema=result.schema.counts if result.schema else {},
        changes=result.changes,
        pages=[
            PageDocument(page.path, page.statuses, page.bytes, page.difference, page.not_compared)
            for page in result.pages
        ],
        differences=result.differences,
    )


def plan_lines(dry_run: DryRun) -> Iterator[str]:
    """Yield the lines that show what would be done."""
    plan = dry_run.plan
    yield from _not_carried_lines(plan)
    revision = f", revision {', '.join(plan.revision)}" if plan.revision else ""
    yield f"Source:  {plan.source}{revision}"
    yield f"Target:  {plan.target}"
    yield ""
    for table in plan.tables:
        yield _table_line(table.name, table.rows, table.bytes)
    yield _table_line(f"{len(plan.tables)} tables", plan.rows, plan.bytes)
    yield ""
    estimate = dry_run.estimate
    unknown = "Time: measured once preflight finds no more problems."
    yield from estimate.sentence.splitlines() if estimate else [unknown]
    yield ""
    yield from preflight_report.lines(dry_run.preflight.violations, dry_run.preflight.unchecked)
    yield from _type_lines(plan)
    for title, tables in (
        ("In no model, copied as they are", plan.extra),
        ("Dropped from the target first", dry_run.dropped),
    ):
        if tables:
            yield ""
            yield f"{title}: {', '.join(tables)}"


def _table_line(name: str, rows: int, size_in_bytes: int) -> str:
    return f"{name:<34} {rows:>12,} rows {size(size_in_bytes):>10}"


def _not_carried_lines(plan: Plan) -> Iterator[str]:
    """Yield what the target will lack, and why."""
    lost = not_carried(plan.items)
    for title, accepted in (("Not carried", False), ("Not carried, accepted by --leave", True)):
        items = [item for item in lost if item.accepted is accepted]
        if items:
            yield f"{title}:"
            for item in items:
                yield from _wrapped(f"  {item.label}: {item.reason}")
            yield ""


def _type_lines(plan: Plan) -> Iterator[str]:
    columns = [column for table in plan.tables for column in table.columns]
    changed = sum(column.source_type != column.target_type for column in columns)
    yield ""
    yield f"{changed} of {len(columns)} columns get another type."
    title = "What the target would refuse or change (preflight finds such rows)"
    yield from _column_lines(plan, title, lambda column: column.loses)


def _column_lines(plan: Plan, title: str, text_of: Callable[[ColumnPlan], str]) -> Iterator[str]:
    """Yield a title and a paragraph for each text, with the columns that have it."""
    groups: dict[str, list[str]] = {}
    for table in plan.tables:
        for column in table.columns:
            if text_of(column):
                groups.setdefault(text_of(column), []).append(f"{table.name}.{column.name}")
    if groups:
        yield ""
        yield f"{title}:"
    for text, names in groups.items():
        more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
        yield from _wrapped(f"  {text}: {', '.join(names[:LISTED])}{more}")


def _wrapped(text: str) -> list[str]:
    # A path is too long rather than in two pieces.
    return textwrap.wrap(
        printable(text),
        WIDTH,
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def result_lines(result: MigrationResult) -> Iterator[str]:
    """Yield the lines that show what was done, as far as it came."""
    if result.violations:
        yield from preflight_report.lines(result.violations, result.unchecked)
    if result.preflight:
        yield from _wrapped(result.preflight)
    if Step.SCHEMA_CHECK in result.seconds:
        yield from _copied_lines(result)
    if result.fixed:
        yield from _fixed_lines(result)
    if result.kept:
        yield f"{len(result.kept)} tables were already complete after the previous run."
    if result.changes is not None:
        yield from _change_lines(result.changes, result.seconds[Step.CATCH_UP])
    if result.verified:
        yield from verification_lines(result)
    if result.pages:
        yield from _page_lines(result)


def _copied_lines(result: MigrationResult) -> Iterator[str]:
    rows, seconds = sum(result.rows.values()), result.seconds.get(Step.COPY, 0)
    rate = rows / seconds if seconds else 0
    tables = len(result.rows)
    yield f"Copied {rows:,} rows in {tables} tables in {seconds:.1f} s ({rate:,.0f} rows/s)"
    yield from _wrapped(f"  from {result.plan.source}")
    yield from _wrapped(f"  to {result.plan.target}.")
    keys, check = result.seconds[Step.KEYS], result.seconds[Step.SCHEMA_CHECK]
    yield (
        f"Keys and indexes took {keys:.1f} s, checking the schema {check:.1f} s with "
        f"{result.inserts_tried} inserts."
    )


def _fixed_lines(result: MigrationResult) -> Iterator[str]:
    for table, counts in result.fixed.items():
        effects = [
            f"{count} {'row' if count == 1 else 'rows'} {effect}"
            for effect, count in counts.items()
            if count
        ]
        yield f"{table}: {', '.join(effects)} by fixes"
    yield from _wrapped(f"The original rows are kept in {result.quarantine}.")


def _change_lines(changes: Sequence[Change], seconds: float) -> Iterator[str]:
    for change in changes:
        counts = f"{change.new} new, {change.changed} changed, {change.deleted} deleted"
        yield f"{change.table}: {counts}"
    tables = f"{len(changes)} {'table' if len(changes) == 1 else 'tables'}"
    yield f"Caught up {tables} in {seconds:.1f} s."


def _page_lines(result: MigrationResult) -> Iterator[str]:
    reason = "rows were fixed" if result.quarantine else "the source was written to meanwhile"
    left_out: dict[str, list[str]] = {}
    for page in result.pages:
        if page.not_compared or page.difference:
            left_out.setdefault(page.not_compared or reason, []).append(page.path)
    same = len(result.pages) - sum(map(len, left_out.values()))
    seconds = result.seconds[Step.PAGES]
    pages = counted(same, "page")
    yield f"The application returns the same {pages} as on the source ({seconds:.1f} s)."
    for why, paths in left_out.items():
        yield from _wrapped(f"Not compared, because {why}: {', '.join(paths)}")


def verification_lines(result: MigrationResult) -> Iterator[str]:
    """Yield the lines that show what verification found."""
    for sentence in result.differences:
        yield from _wrapped(sentence)
    source, target = (sum(checked.rows[side] for checked in result.verified) for side in (0, 1))
    columns = sum(len(checked.checksums) for checked in result.verified)
    seconds = result.seconds.get(Step.VERIFY)
    time = f" in {seconds:.1f} s" if seconds is not None else ""
    rows = f"{source:,} rows in the source and {target:,} in the target"
    if source == target:
        rows = f"{source:,} rows on both sides"
    yield from _wrapped(
        f"Verified{time}, {_outcome(result, source == target)}: {rows}, {columns} columns in "
        f"{len(result.verified)} tables."
    )
    if result.schema:
        counts = [f"{count} {aspect}" for aspect, count in result.schema.counts.items()]
        yield from _wrapped(f"Schema compared: {', '.join(counts)}.")
    yield from _left_lines(result)


def _left_lines(result: MigrationResult) -> Iterator[str]:
    """Yield what the target lacks of the source; nothing where that is nothing."""
    left = [item.label for item in not_carried(result.plan.items)]
    if left:
        yield from _wrapped(f"Not carried: {', '.join(left)}.")


def _outcome(result: MigrationResult, same_count: bool) -> str:
    count = len(result.differences)
    if count:
        return f"{count} {'difference' if count == 1 else 'differences'}"
    if same_count and not result.fixed:
        return "no differences"
    return "no differences except for what the fixes changed"


def size(number: int) -> str:
    """Write a number of bytes with a fitting unit; empty for none."""
    for unit in ("bytes", "KB", "MB"):
        if number < 10000:
            return f"{number} {unit}" if number else ""
        number //= 1024
    return f"{number} GB"
