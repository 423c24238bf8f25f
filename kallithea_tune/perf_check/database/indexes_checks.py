"""Whether foreign keys and the journal have the indexes that Kallithea's queries need."""

from __future__ import annotations

import functools
import statistics
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.facts import LOG, DatabaseFacts
from kallithea_tune.perf_check.database.indexes import (
    IndexTimes,
    JournalTimes,
    Lookup,
    index_times,
)
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure

SLOW_MS = 10
JOURNAL_WARNING_MS = 100


@check(
    "DB005",
    "database-indexes",
    "Indexes for foreign keys and the journal",
    measures=(database_facts, index_times),
    threshold=f"{SLOW_MS} ms",
    source="our judgement",
    tags=("indexes",),
    harm=Harm.some_pages,
    disturbed_by=(Part.cpu, Part.disk),
)
def indexes(facts: DatabaseFacts, times: IndexTimes) -> Iterator[Finding]:
    """Report foreign keys and the journal's order where reading all rows is slow."""
    # PostgreSQL can build an index without keeping writers waiting.
    create = "CREATE INDEX CONCURRENTLY" if facts.engine == "PostgreSQL" else "CREATE INDEX"
    yield from _foreign_keys(facts, times.lookups, create)
    if times.journal:
        yield _journal(facts.tables[LOG].rows, times.journal, create)
    elif times.journal_failure:
        raise NotMeasured(times.journal_failure)


def _foreign_keys(
    facts: DatabaseFacts, lookups: tuple[Lookup, ...], create: str
) -> Iterator[Finding]:
    """Each lookup by such a key, and each delete of what it refers to, reads the entire table."""
    finding = functools.partial(
        Finding,
        source=(
            "PostgreSQL manual, foreign keys: they get no index by themselves; "
            f"{SLOW_MS} ms is our judgement"
        ),
    )
    slow = [lookup for lookup in lookups if lookup.ms > SLOW_MS]
    for lookup in slow:
        table, column, rows = lookup.table, lookup.column, facts.tables[lookup.table].rows
        yield finding(
            Severity.advice,
            f"no index: a lookup by {lookup.name} reads all {rows} rows",
            subject=lookup.name,
            evidence={"look_up_ms": lookup.ms, "rows": rows},
            remedy=f"{create} {table}_{column}_idx ON {table} ({column});",
            impact_ms=lookup.ms,
            impact_per="lookup",
        )
    if not slow:
        yield finding(
            Severity.ok,
            "the foreign keys of large tables need no further index",
            subject="foreign keys",
            evidence={"keys_timed": len(lookups)},
        )


def _journal(rows: int, times: JournalTimes, create: str) -> Finding:
    """Compare the newest 20 log rows by date with the same by the indexed primary key."""
    by_date_ms, by_key_ms = statistics.median(times.by_date_ms), statistics.median(times.by_key_ms)
    cost_ms = by_date_ms - by_key_ms
    finding = functools.partial(
        Finding,
        subject="journal",
        threshold=f"{SLOW_MS} ms more",
        evidence={
            "by_date_ms": by_date_ms,
            "by_indexed_key_ms": by_key_ms,
            "count_ms": statistics.median(times.count_ms),
            "rows": rows,
        },
    )
    if not times.sorts or cost_ms <= SLOW_MS:
        return finding(Severity.ok, f"the newest 20 journal rows take {by_date_ms:.3g} ms")
    duration = f"{'more than ' if times.cut else ''}{figure(by_date_ms)} ms"
    return finding(
        Severity.warning if cost_ms > JOURNAL_WARNING_MS else Severity.advice,
        f"the journal sorts all its {rows} rows to show 20: {duration}",
        remedy=f"{create} user_logs_action_date_idx ON user_logs (action_date);",
        impact_ms=cost_ms,
        impact_per="journal view",
    )
