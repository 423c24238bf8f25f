"""Whether the database has the revision and the keys that the application expects."""

from __future__ import annotations

import functools
from collections import Counter
from typing import AbstractSet, Iterator, Sequence

from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.database.facts import DatabaseFacts
from kallithea_tune.perf_check.database.schema import (
    REBUILT,
    Aspect,
    Lack,
    Lacks,
    Migrations,
    migrations,
    schema_lacks,
)
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Remedy
from kallithea_tune.system.programs import beside


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
    current = facts.revisions
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
            remedy=_alembic(known.ini, "stamp", "if its tables are those of this Kallithea"),
        )
    elif sorted(current) == known.heads:
        yield finding(Severity.ok, "database and application are at the same revision")
    elif set(current) <= set(known.revisions):
        yield finding(
            severity,
            f"the database is older than the application: Kallithea {starts}",
            remedy=_alembic(known.ini, "upgrade", "back the database up"),
        )
    else:
        yield finding(
            severity,
            f"the application does not know the database's revision: Kallithea {starts}",
            remedy="install the Kallithea that wrote it, or restore the backup from before that",
        )


_REFUSED = {Aspect.table, Aspect.column, Aspect.nullable, Aspect.generated_key, Aspect.next_key}
_DOUBLED = {Aspect.primary_key, Aspect.unique_key}


@check(
    "DB017",
    "database-schema",
    "Tables compared with the models",
    measures=(sql_client, database_facts, schema_lacks),
    threshold="nothing missing",
    source="Kallithea's own models",
    tags=("schema",),
    harm=Harm.loss,
)
def schema(client: SqlClient, facts: DatabaseFacts, found: Lacks) -> Iterator[Finding]:
    """Report keys, constraints, columns and indexes of Kallithea's models that are not there.

    Tools that copy rows only, and dumps without their last part, leave such tables.
    """
    if not found.tables:
        return
    keys = [lack for lack in found.lacks if lack.aspect is not Aspect.index]
    indexes = [lack for lack in found.lacks if lack.aspect is Aspect.index]
    if keys:
        aspects = {lack.aspect for lack in keys}
        severity = Severity.error if aspects & (_REFUSED | _DOUBLED) else Severity.warning
        yield _lacking(keys, severity, found.tables, _repair(keys, client, facts))
    if indexes:
        remedy = _repair(indexes, client, facts)
        yield _lacking(indexes, Severity.advice, found.tables, remedy)
    if not found.lacks:
        message = f"all {found.tables} tables have the keys and indexes of Kallithea's models"
        yield Finding(Severity.ok, message)


def _lacking(lacks: Sequence[Lack], severity: Severity, tables: int, remedy: Remedy) -> Finding:
    counts = Counter(lack.aspect for lack in lacks)
    parts = [_counted(aspect, counts[aspect]) for aspect in Aspect if counts[aspect]]
    first = lacks[0]
    example = first.table if first.what == first.table else f"{first.table} ({first.what})"
    return Finding(
        severity,
        f"the database lacks {', '.join(parts)}, the first of {example}",
        subject="indexes" if first.aspect is Aspect.index else "keys",
        evidence={
            "tables": len({lack.table for lack in lacks}),
            "of": tables,
            "effect": _effect({lack.aspect for lack in lacks}),
        },
        remedy=remedy,
    )


def _counted(aspect: Aspect, count: int) -> str:
    plural = {Aspect.index: "indexes", Aspect.not_null: "NOT NULL", Aspect.nullable: "NULL"}
    many = plural.get(aspect, f"{aspect.value}s")
    return f"{count} {aspect.value if count == 1 else many}"


def _effect(aspects: AbstractSet[Aspect]) -> str:
    if aspects & _REFUSED:
        return "new rows are refused"
    if aspects & _DOUBLED:
        return "rows may be duplicated"
    return "lookups read all rows" if Aspect.index in aspects else "rows may refer to missing rows"


def _repair(lacks: Sequence[Lack], client: SqlClient, facts: DatabaseFacts) -> Remedy:
    """Return one call that adds everything.

    PostgreSQL and SQLite undo all of it where a row is in the way. Only tables with transactions
    can refer to one another.
    """
    refer = any(lack.aspect is Aspect.foreign_key for lack in lacks)
    statements = [
        f"ALTER TABLE {client.quoted(name)} ENGINE = InnoDB"
        for name, table in sorted(facts.tables.items())
        if refer and not table.transactional
    ]
    # Where SQLite makes a table anew, its indexes come with it.
    anew = {lack.table for lack in lacks if REBUILT in lack.sql}
    statements += [lack.sql for lack in lacks if lack.table not in anew or REBUILT in lack.sql]
    if "" in statements:
        return "migrate into an empty database, which gets all keys: gearbox db-migrate --to URL"
    sql = "; ".join(dict.fromkeys(statements))
    return client.statements(sql, "back the database up", stopped=True)


def _alembic(ini: str, verb: str, note: str) -> Remedy:
    """Return the call of the Alembic beside our interpreter, or of the one in PATH."""
    return Command((beside("alembic"), "-c", ini, verb, "head"), note=note, stopped=True)
