"""What grows in the tables: log rows, free pages of SQLite, dead rows of PostgreSQL."""

from __future__ import annotations

import datetime
import functools
from typing import Iterator, Mapping, NamedTuple, Optional

from kallithea_tune.perf_check.database.facts import (
    LOG,
    DatabaseFacts,
    SqliteFacts,
    TableFacts,
    TableMaintenance,
)
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.database.sqlite import SqliteSettings, sqlite_settings
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.text import figure, shell_word

LOG_ROWS = 500_000
FREE_PERCENT, FREE_MB = 20, 10
# PostgreSQL's own: autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor, and both
# thresholds.
DEAD_SHARE, CHANGED_SHARE, AUTOVACUUM_ROWS = 0.2, 0.1, 50
SMALL_TABLE = 1000
_AUTOVACUUM_SOURCE = (
    f"PostgreSQL manual, autovacuum_vacuum_scale_factor {DEAD_SHARE}, "
    f"autovacuum_analyze_scale_factor {CHANGED_SHARE}, thresholds of {AUTOVACUUM_ROWS}; "
    f"floor of {SMALL_TABLE} rows: our judgement"
)


@check(
    "DB006",
    "database-growth",
    "Table sizes and growth of user_logs",
    measures=(database_facts,),
    threshold=f"{LOG_ROWS} rows",
    source="our judgement",
    harm=Harm.housekeeping,
)
def growth(facts: DatabaseFacts) -> Iterator[Finding]:
    """Report a large user_logs: Kallithea never deletes a row, and each journal view counts all."""
    if facts.log:
        yield judge_growth(facts.tables, facts.log.rows_a_day, datetime.date.today())


def judge_growth(
    tables: Mapping[str, TableFacts], rows_a_day: float, today: datetime.date
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
    delete = f"DELETE FROM user_logs WHERE action_date < '{year_ago}';"
    return finding(Severity.advice, message, remedy=f"if nobody needs the old ones: {delete}")


@check(
    "DB007",
    "database-vacuum",
    "Dead rows, free pages, statistics",
    measures=(database_facts, sqlite_settings),
)
def vacuum(facts: DatabaseFacts, settings: SqliteSettings) -> Iterator[Finding]:
    """Report free pages of a SQLite file, or what PostgreSQL's autovacuum has not done."""
    if facts.sqlite:
        yield _free_pages(facts.sqlite, settings.path)
    elif facts.autovacuum is not None:
        yield from _autovacuum(facts, facts.autovacuum)


def _free_pages(sqlite: SqliteFacts, path: str) -> Finding:
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
        remedy=f"stop Kallithea, back the file up, and: sqlite3 {shell_word(path)} VACUUM",
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


def _autovacuum(facts: DatabaseFacts, enabled: bool) -> Iterator[Finding]:
    """What exceeds autovacuum's own limits shows that it does not run, or does not keep up."""
    tables = [
        _Table(name, table.rows, table.maintenance)
        for name, table in facts.tables.items()
        if table.maintenance
    ]
    dead = [table for table in tables if table.has_dead_rows]
    stale = [table for table in tables if table.is_stale]
    if dead:
        yield _dead_rows(dead, enabled)
    if stale:
        yield _stale_statistics(stale, enabled)
    if dead or stale:
        return
    if not enabled:
        yield Finding(
            Severity.warning,
            "autovacuum is off: dead rows pile up and statistics grow old",
            evidence={"autovacuum": enabled},
            source="PostgreSQL manual, routine vacuuming",
            remedy="autovacuum = on in postgresql.conf, and reload",
        )
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


def _dead_rows(tables: list[_Table], autovacuum: bool) -> Finding:
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
        remedy=f"VACUUM ANALYZE {worst.name}; {_prevention(autovacuum)}",
    )


def _stale_statistics(tables: list[_Table], autovacuum: bool) -> Finding:
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
        remedy=f"ANALYZE {worst.name}; {_prevention(autovacuum)}",
    )


def _last(action: str, days: Optional[float]) -> dict[str, object]:
    return {f"last_{action}": "never"} if days is None else {f"last_{action}_days": days}


def _prevention(autovacuum: bool) -> str:
    return "and find out why autovacuum did not" if autovacuum else "and set autovacuum = on"
