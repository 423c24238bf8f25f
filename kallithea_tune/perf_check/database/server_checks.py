"""Whether the database answers, and how fast."""

from __future__ import annotations

import statistics
from typing import Iterator

from kallithea_tune.perf_check.database.facts import DatabaseFacts
from kallithea_tune.perf_check.database.server import (
    DatabaseAnswer,
    database_answer,
    database_facts,
)
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.system.busyness import Part

ROUND_TRIP_MS = 1


@check(
    "DB000",
    "database-reachable",
    "Database reachable",
    measures=(database_answer,),
    harm=Harm.access,
)
def reachable(answer: DatabaseAnswer) -> Iterator[Finding]:
    """Report a database that cannot be read or is empty, and which engine answers."""
    facts = answer.facts
    if not facts:
        yield Finding(
            Severity.error,
            f"the database cannot be read: {answer.failure}",
            remedy="check sqlalchemy.url, the server, and the privileges of this user",
        )
    elif facts.supported and not facts.tables:
        yield Finding(
            Severity.error,
            "the database is empty",
            evidence={"tables": 0},
            remedy=answer.create_command,
        )
    else:
        evidence: dict[str, object] = {
            "tables": len(facts.tables),
            "rows": sum(table.rows for table in facts.tables.values()),
            "size_mb": facts.size_bytes / 1e6,
        }
        if facts.sqlite:
            evidence.update(pages=facts.sqlite.pages, page_size_bytes=facts.sqlite.page_size)
        yield Finding(Severity.ok, f"{facts.engine} {facts.version} answers", evidence=evidence)


@check(
    "DB009",
    "database-round-trip",
    "Round trip to the database",
    measures=(database_facts,),
    threshold=f"{ROUND_TRIP_MS} ms",
    source="our judgement",
    disturbed_by=(Part.cpu,),
)
def round_trip(facts: DatabaseFacts) -> Iterator[Finding]:
    """Report slow round trips to a server: each statement of a page waits for one."""
    if facts.sqlite:
        return
    times = facts.round_trips_ms
    median_ms = statistics.median(times)
    evidence = {"p50_ms": median_ms, "max_ms": max(times), "statements": len(times)}
    if median_ms <= ROUND_TRIP_MS:
        message = f"a round trip to the database takes {median_ms:.3g} ms"
        yield Finding(Severity.ok, message, evidence=evidence)
    else:
        yield Finding(
            Severity.advice,
            f"each statement waits {median_ms:.3g} ms for its round trip to the database",
            evidence=evidence,
            remedy="move the database nearer: to the same machine or the same switch",
            impact_ms=median_ms,
            impact_per="statement",
        )
