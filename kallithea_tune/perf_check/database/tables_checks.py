"""What the tables need: upkeep by the engine, transactions, and an end to their growth."""

from __future__ import annotations

import datetime
import functools
from typing import Iterator, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.database.facts import (
    LOG,
    DatabaseFacts,
    Setting,
    SqliteFacts,
    TableFacts,
    TableMaintenance,
)
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Effect, Remedy
from kallithea_tune.text import figure, first_of

LOG_ROWS = 500_000
FREE_PERCENT, FREE_MB = 20, 10
# PostgreSQL's own: autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor, and both
# thresholds.
DEAD_SHARE, CHANGED_SHARE, AUTOVACUUM_ROWS = 0.2, 0.1, 50
SMALL_TABLE = 1000
# Within two rounds of autovacuum (autovacuum_naptime, a minute by default), it need not have come.
ROUNDS_MIN = 2
_AUTOVACUUM_SOURCE = (
    f"PostgreSQL manual, autovacuum_vacuum_scale_factor {DEAD_SHARE}, "
    f"autovacuum_analyze_scale_factor {CHANGED_SHARE}, thresholds of {AUTOVACUUM_ROWS}; "
    f"floor of {SMALL_TABLE} rows: our judgement"
)


@check(
    "DB006",
    "database-growth",
    "Table sizes and growth of user_logs",
    measures=(sql_client, database_facts),
    threshold=f"{LOG_ROWS} rows",
    source="our judgement",
    harm=Harm.housekeeping,
)
def growth(client: SqlClient, facts: DatabaseFacts) -> Iterator[Finding]:
    """Report a large user_logs: Kallithea never deletes a row, and each journal view counts all."""
    if facts.log:
        yield judge_growth(client, facts.tables, facts.log.rows_a_day, datetime.date.today())


def judge_growth(
    client: SqlClient, tables: Mapping[str, TableFacts], rows_a_day: float, today: datetime.date
) -> Finding:
    """Judge the rows of user_logs; the remedy keeps those of the year before `today`."""
    rows = tables[LOG].rows
    largest = sorted(tables, key=lambda name: -tables[name].rows)[:2]
    finding = functools.partial(
        Finding,
        evidence={
            "largest": {name: tables[name].rows for name in largest},
            "log_rows_a_day": rows_a_day,
        },
    )
    message = f"user_logs has {rows} rows and grows by {figure(rows_a_day)} a day"
    if rows < LOG_ROWS:
        return finding(Severity.ok, message)
    year_ago = today - datetime.timedelta(days=365)
    delete = client.statements(
        f"DELETE FROM user_logs WHERE action_date < '{year_ago}'",
        "if nobody needs the old ones",
        Effect.deletes,
    )
    return finding(Severity.advice, message, remedy=delete)


@check(
    "DB007",
    "database-vacuum",
    "Dead rows, free pages, statistics",
    measures=(sql_client, database_facts),
)
def vacuum(client: SqlClient, facts: DatabaseFacts) -> Iterator[Finding]:
    """Report free pages of a SQLite file, or what PostgreSQL's autovacuum has not done."""
    if facts.sqlite:
        yield _free_pages(facts.sqlite, client)
    elif facts.autovacuum is not None:
        yield from _autovacuum(facts, facts.autovacuum, client)


def _free_pages(sqlite: SqliteFacts, client: SqlClient) -> Finding:
    """A SQLite file keeps the pages of deleted rows until VACUUM."""
    free_mb = sqlite.free_pages * sqlite.page_size / 1e6
    free_percent = 100 * sqlite.free_pages / max(sqlite.pages, 1)
    finding = functools.partial(
        Finding,
        evidence={
            "free_percent": free_percent,
            "free_mb": free_mb,
            "size_mb": sqlite.pages * sqlite.page_size / 1e6,
        },
        threshold=f"{FREE_PERCENT} % and {FREE_MB} MB",
        source="our judgement",
    )
    if free_percent <= FREE_PERCENT or free_mb < FREE_MB:
        return finding(Severity.ok, f"{free_percent:.3g} % of the SQLite file is free pages")
    return finding(
        Severity.advice,
        f"{free_percent:.3g} % of the SQLite file ({free_mb:.3g} MB) is free pages",
        remedy=client.statements("VACUUM", "back the file up", stopped=True),
    )


class _Table(NamedTuple):
    name: str
    rows: int
    maintenance: TableMaintenance

    @property
    def has_dead_rows(self) -> bool:
        limit = max(SMALL_TABLE, AUTOVACUUM_ROWS + DEAD_SHARE * self.rows)
        return self.maintenance.dead_rows > limit

    @property
    def is_stale(self) -> bool:
        limit = max(SMALL_TABLE, AUTOVACUUM_ROWS + CHANGED_SHARE * self.rows)
        changed = not self.maintenance.analyzed or self.maintenance.changed_rows > limit
        return self.rows >= SMALL_TABLE and changed


def _autovacuum(facts: DatabaseFacts, enabled: bool, client: SqlClient) -> Iterator[Finding]:
    """What exceeds autovacuum's own limits shows that it does not run, or does not keep up."""
    tables = [
        _Table(name, table.rows, table.maintenance)
        for name, table in facts.tables.items()
        if table.maintenance
    ]

    def due(days: Optional[float]) -> bool:
        return not enabled or days is None or days > ROUNDS_MIN / (24 * 60)

    dead = [one for one in tables if one.has_dead_rows and due(one.maintenance.vacuum_days)]
    stale = [one for one in tables if one.is_stale and due(one.maintenance.analyze_days)]
    if dead:
        yield _dead_rows(dead, enabled, client)
    if stale:
        yield _stale_statistics(stale, enabled, client)
    if not enabled:
        yield Finding(
            Severity.warning,
            "autovacuum is off: dead rows pile up and statistics go stale",
            evidence={"autovacuum": enabled},
            source="PostgreSQL manual, routine vacuuming",
            remedy=client.set_on_server(facts.setting("autovacuum"), "on", facts),
        )
    if dead or stale or not enabled:
        return
    ages = [table.maintenance.vacuum_days for table in tables]
    yield Finding(
        Severity.ok,
        "autovacuum keeps up with dead rows and statistics",
        evidence={
            "dead_rows": sum(table.maintenance.dead_rows for table in tables),
            **_last("vacuum", min((days for days in ages if days is not None), default=None)),
        },
        source=_AUTOVACUUM_SOURCE,
    )


def _dead_rows(tables: list[_Table], autovacuum: bool, client: SqlClient) -> Finding:
    worst = max(tables, key=lambda table: table.maintenance.dead_rows)
    dead_rows = worst.maintenance.dead_rows
    return Finding(
        Severity.warning,
        f"{worst.name} has {dead_rows} dead rows that were not vacuumed",
        subject=worst.name,
        evidence={
            "rows": worst.rows,
            **_last("vacuum", worst.maintenance.vacuum_days),
            "autovacuum": autovacuum,
            "tables": len(tables),
            "dead": dead_rows,
        },
        threshold=f"{AUTOVACUUM_ROWS} + {100 * DEAD_SHARE:g} %, and {SMALL_TABLE}",
        source=_AUTOVACUUM_SOURCE,
        remedy=_for_each("VACUUM ANALYZE", tables, autovacuum, client),
    )


def _stale_statistics(tables: list[_Table], autovacuum: bool, client: SqlClient) -> Finding:
    worst = max(tables, key=lambda table: table.maintenance.changed_rows)
    changed_rows = worst.maintenance.changed_rows
    return Finding(
        Severity.advice,
        f"PostgreSQL's statistics miss {changed_rows} changed rows of {worst.name}",
        subject=worst.name,
        evidence={
            "rows": worst.rows,
            **_last("analyze", worst.maintenance.analyze_days),
            "autovacuum": autovacuum,
            "tables": len(tables),
            "changed": changed_rows,
        },
        threshold=f"{AUTOVACUUM_ROWS} + {100 * CHANGED_SHARE:g} %, and {SMALL_TABLE}",
        source=_AUTOVACUUM_SOURCE,
        remedy=_for_each("ANALYZE", tables, autovacuum, client),
    )


def _last(action: str, days: Optional[float]) -> dict[str, object]:
    return {f"last_{action}": "never"} if days is None else {f"last_{action}_days": days}


def _for_each(verb: str, tables: Sequence[_Table], autovacuum: bool, client: SqlClient) -> Remedy:
    """Return the statement for all `tables`; its user has to own them."""
    names = ", ".join(client.quoted(table.name) for table in tables)
    note = "find out why autovacuum did not, and for now" if autovacuum else ""
    return client.statements(f"{verb} {names}", note)


@check(
    "DB016",
    "database-table-engine",
    "Tables without transactions",
    measures=(sql_client, database_facts),
    threshold="none",
    source="MariaDB manual, choosing the right storage engine",
    tags=("durability",),
    harm=Harm.loss,
)
def table_engines(client: SqlClient, facts: DatabaseFacts) -> Iterator[Finding]:
    """Report tables of MyISAM, Aria and the like, which have neither transactions nor keys.

    An error in the middle of a request leaves one half of it there, a crash damages the table, and
    each write locks all of it.
    """
    if not facts.innodb:
        return
    found = sorted(name for name, table in facts.tables.items() if not table.transactional)
    if not found:
        yield Finding(Severity.ok, f"all {len(facts.tables)} tables support transactions")
        return
    engines = ", ".join(sorted({facts.tables[name].engine for name in found}))
    convert = "; ".join(f"ALTER TABLE {client.quoted(name)} ENGINE = InnoDB" for name in found)
    yield Finding(
        Severity.error,
        f"{_tables(len(found))} of {engines} without transactions or foreign keys: "
        f"{first_of(found)}",
        evidence={
            "tables": len(found),
            "of": len(facts.tables),
            "rows": sum(facts.tables[name].rows for name in found),
        },
        remedy=client.statements(
            convert, "back the database up; see DB017 for the foreign keys", stopped=True
        ),
    )


def _tables(count: int) -> str:
    return f"{count} table{'' if count == 1 else 's'}"


@check(
    "DB018",
    "database-upkeep",
    "Upkeep switched off",
    measures=(sql_client, database_facts),
    threshold="none",
    source=(
        "PostgreSQL manual, storage parameters autovacuum_enabled; MariaDB manual, InnoDB "
        "persistent statistics"
    ),
    harm=Harm.some_pages,
)
def upkeep(client: SqlClient, facts: DatabaseFacts) -> Iterator[Finding]:
    """Report tables that autovacuum or the renewal of statistics leaves out, and why."""
    if facts.sqlite:
        return
    found = sorted(name for name, table in facts.tables.items() if not table.maintained)
    option, default = (
        ("STATS_AUTO_RECALC", "STATS_AUTO_RECALC = DEFAULT")
        if facts.innodb
        else ("autovacuum_enabled", "RESET (autovacuum_enabled)")
    )
    if found:
        rows = max(facts.tables[name].rows for name in found)
        yield Finding(
            Severity.warning if rows >= SMALL_TABLE else Severity.advice,
            f"{option} is off for {_tables(len(found))}: {first_of(found)}",
            subject=option,
            evidence={"tables": len(found), "most_rows": rows},
            remedy=client.statements(
                "; ".join(f"ALTER TABLE {client.quoted(name)} {default}" for name in found)
            ),
        )
    off = _switched_off(facts)
    if off:
        yield Finding(
            Severity.warning,
            f"{off.name} is off: {facts.engine} does not see which tables need upkeep",
            subject=off.name,
            evidence={off.name: off.value},
            remedy=client.set_on_server(off, "ON", facts),
        )
    if not found and not off:
        yield Finding(Severity.ok, f"{facts.engine} maintains all {len(facts.tables)} tables")


def _switched_off(facts: DatabaseFacts) -> Optional[Setting]:
    if facts.innodb and not facts.innodb.renews_statistics:
        return Setting("innodb_stats_auto_recalc", "OFF")
    counts = facts.setting("track_counts")
    return counts if counts.value == "off" else None
