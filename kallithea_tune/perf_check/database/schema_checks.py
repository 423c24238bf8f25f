"""Whether database and application are of the same version: otherwise it refuses to start."""

from __future__ import annotations

import functools
from typing import Iterator

from kallithea_tune.perf_check.database.facts import DatabaseFacts
from kallithea_tune.perf_check.database.schema import Migrations, migrations
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.text import shell_word


@check(
    "DB014",
    "database-revision",
    "Revision of the schema",
    measures=(migrations, database_facts),
    threshold="the same",
    source="Kallithea 0.7.0, config/app_cfg.py; its manual on upgrading",
    harm=Harm.access,
)
def revision(known: Migrations, facts: DatabaseFacts) -> Iterator[Finding]:
    """Compare the database's alembic_version with the newest of the application's migrations."""
    if not known.revisions or not facts.tables:
        return
    current, alembic = facts.revisions, f"alembic -c {shell_word(known.ini)}"
    severity = Severity.warning if known.starts_anyway else Severity.error
    starts = "starts anyway (ignore_alembic_revision)" if known.starts_anyway else "will not start"
    finding = functools.partial(
        Finding,
        evidence={
            "database": ", ".join(current) if current else "none",
            "application": ", ".join(known.heads),
        },
    )
    if not current:
        yield finding(
            severity,
            f"the database has no revision: Kallithea {starts}",
            remedy=f"if its tables are those of this Kallithea: {alembic} stamp head",
        )
    elif sorted(current) == known.heads:
        yield finding(Severity.ok, "database and application are of the same revision")
    elif set(current) <= set(known.revisions):
        yield finding(
            severity,
            f"the database is older than the application: Kallithea {starts}",
            remedy=f"stop Kallithea, back the database up, then: {alembic} upgrade head",
        )
    else:
        yield finding(
            severity,
            f"the application does not know the database's revision: Kallithea {starts}",
            remedy="install the Kallithea that wrote it, or restore the backup from before that",
        )
