"""Whether foreign keys and the journal have the indexes that Kallithea's queries need."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.database.facts import LOG, DatabaseFacts
from kallithea_tune.perf_check.database.indexes import (
    IndexTimes,
    JournalTimes,
    Lookup,
    index_times,
)
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Statements
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import figure

# What a page may take to respond, half of what is felt as immediate; and all of that.
FELT_MS, JOURNAL_WARNING_MS = 50, 100
_SOURCE = "https://web.dev/articles/rail, 50 ms of the 100 ms that feel immediate"


@check(
    "DB005",
    "database-indexes",
    "Indexes for foreign keys and the journal",
    measures=(sql_client, database_facts, index_times),
    threshold=f"{FELT_MS} ms",
    source=_SOURCE,
    tags=("indexes",),
    harm=Harm.some_pages,
    disturbed_by=(Part.cpu, Part.disk),
)
def indexes(client: SqlClient, facts: DatabaseFacts, times: IndexTimes) -> Iterator[Finding]:
    """Report foreign keys and the journal's order where an index would save what is felt."""
    yield from _foreign_keys(facts, times.lookups, client)
    if times.journal:
        yield _journal(facts.tables[LOG].rows, times.journal, client)
    elif times.journal_failure:
        raise NotMeasured(times.journal_failure)


def _create_index(table: str, column: str, client: SqlClient) -> Statements:
    # PostgreSQL can build an index without keeping writers waiting.
    how = " CONCURRENTLY" if client.dialect == "postgresql" else ""
    name, on, by = (client.quoted(item) for item in (f"{table}_{column}_idx", table, column))
    return client.statements(f"CREATE INDEX{how} {name} ON {on} ({by})")


def _foreign_keys(
    facts: DatabaseFacts, lookups: tuple[Lookup, ...], client: SqlClient
) -> Iterator[Finding]:
    """Each lookup by such a key, and each delete of what it refers to, reads the entire table."""
    finding = functools.partial(
        Finding,
        source=f"PostgreSQL manual, foreign keys: they are not indexed automatically; {_SOURCE}",
    )
    slow = [lookup for lookup in lookups if lookup.ms > FELT_MS]
    for lookup in slow:
        table, column, rows = lookup.table, lookup.column, facts.tables[lookup.table].rows
        yield finding(
            Severity.advice,
            f"no index: a lookup by {lookup.name} reads all {rows} rows",
            subject=lookup.name,
            evidence={"look_up_ms": lookup.ms, "rows": rows},
            remedy=_create_index(table, column, client),
            impact_ms=lookup.ms,
            excess=lookup.ms / FELT_MS,
            impact_per="lookup",
        )
    if not slow:
        yield finding(
            Severity.ok,
            "an index for another foreign key would make no noticeable difference",
            subject="foreign keys",
            evidence={"keys_timed": len(lookups)},
        )


def _journal(rows: int, times: JournalTimes, client: SqlClient) -> Finding:
    """Compare the newest 20 log rows by date with the same by the indexed primary key."""
    # The least that each takes: what comes on top is due to others.
    by_date_ms, by_key_ms = min(times.by_date_ms), min(times.by_key_ms)
    cost_ms = by_date_ms - by_key_ms
    finding = functools.partial(
        Finding,
        subject="journal",
        threshold=f"{FELT_MS} ms more",
        evidence={
            "by_date_ms": by_date_ms,
            "by_indexed_key_ms": by_key_ms,
            "count_ms": min(times.count_ms),
            "rows": rows,
        },
    )
    if not times.sorts or cost_ms <= FELT_MS:
        return finding(Severity.ok, f"the newest 20 journal rows take {by_date_ms:.3g} ms")
    duration = f"{'more than ' if times.cut else ''}{figure(by_date_ms)} ms"
    return finding(
        Severity.warning if cost_ms > JOURNAL_WARNING_MS else Severity.advice,
        f"the journal sorts all its {rows} rows to show 20: {duration}",
        remedy=_create_index(LOG, "action_date", client),
        impact_ms=cost_ms,
        excess=cost_ms / FELT_MS,
        impact_per="journal view",
    )
