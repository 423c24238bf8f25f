"""Whether the database answers, how fast, and whether its tables and indexes fit what Kallithea
asks.
"""

from __future__ import annotations

import datetime
import shlex
import statistics
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.database import server as probe
from kallithea_tune.perf_check.database.server import LOG, Facts
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.system import child
from kallithea_tune.text import figure

JUDGEMENT = "our judgement"
BIG_TABLE = 10_000
LOG_ROWS = 500_000
SLOW_MS = 10
SECONDS = 1.5


def survey(context: Context) -> Facts:
    """Return what the database says of itself, asked once for all checks.

    Raises NotMeasured with a word only: why it cannot be read is the finding of DB000.
    """
    try:
        facts = _survey(context)
    except (NotMeasured, TuneError):
        raise NotMeasured("the database cannot be read, see DB000") from None
    if "foreign_keys" not in facts:
        raise NotMeasured("nothing is known here about the engine {}".format(facts["engine"]))
    return facts


def _survey(context: Context) -> Facts:
    facts: Facts = context.once(
        "database", lambda: probe.facts(context.instance, max(context.deadline.left, 0.5) + 6)
    )
    return facts


def judge_reachable(facts: Facts, command: str) -> Finding:
    """Say which engine answers, and how large the database is; `command` fills an empty one."""
    tables = facts["tables"]
    if not tables and "foreign_keys" in facts:
        return Finding(
            Severity.error, "the database is empty", evidence={"tables": 0}, remedy=command
        )
    evidence: dict[str, Any] = {
        "tables": len(tables),
        "rows": sum(table["rows"] for table in tables.values()),
        "size_mb": size(facts) / 1e6,
    }
    if "pages" in facts:
        evidence.update(pages=facts["pages"], page_size_bytes=facts["page_size"])
    return Finding(
        Severity.ok, "{} {} answers".format(facts["engine"], facts["version"]), evidence=evidence
    )


def size(facts: Facts) -> int:
    """Return the bytes that tables and indexes take."""
    if "pages" in facts:
        return int(facts["pages"] * facts["page_size"])
    return sum(table["bytes"] for table in facts["tables"].values())


@check(
    "DB000",
    "database-reachable",
    "Database reachable",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def reachable(context: Context) -> Iterator[Finding]:
    """Connect to the database of ``sqlalchemy.url``, read-only, and ask it for its version and its
    tables.

    An empty URL, an unknown dialect, a missing driver, a server that is down, a wrong password, a
    database without tables, a SQLite file that is missing, damaged or locked for more than 2 s:
    each is an error with its own sentence, and the other checks of the area are then not measured.
    A SQLite file that does not exist is never created.
    """
    try:
        yield judge_reachable(_survey(context), context.instance.cli("db-create"))
    except (NotMeasured, TuneError) as error:
        yield Finding(
            Severity.error,
            f"the database cannot be read: {error}",
            remedy="check sqlalchemy.url, and that the server runs and lets this user in",
        )


def judge_foreign_keys(
    look_ups: Mapping[str, float], tables: Mapping[str, Any], create: str
) -> Iterator[Finding]:
    """A foreign key without index makes each look-up by it, and each delete of what it points to,
    read the table.

    `create` is how the engine is told to make an index without keeping writers waiting.
    """
    common: dict[str, Any] = {
        "threshold": "%d ms" % SLOW_MS,
        "source": "PostgreSQL manual, foreign keys: they get no index by themselves; %d ms is our judgement"
        % SLOW_MS,
    }
    slow = {name: taken for name, taken in look_ups.items() if taken > SLOW_MS}
    for name, taken in slow.items():
        table, column = name.split(".")
        yield Finding(
            Severity.advice,
            "no index: a look-up by %s reads all %d rows" % (name, tables[table]["rows"]),
            subject=name,
            evidence={"look_up_ms": taken, "rows": tables[table]["rows"]},
            remedy=f"{create} {table}_{column}_idx ON {table} ({column});",
            impact_ms=taken,
            impact_per="look-up",
            **common,
        )
    if not slow:
        yield Finding(
            Severity.ok,
            "the foreign keys of big tables need no further index",
            subject="foreign keys",
            evidence={"keys_timed": len(look_ups)},
            **common,
        )


def judge_journal(rows: int, times: Mapping[str, Any], create: str) -> Finding:
    """Set the newest 20 log rows by date, which no index serves, against the same by the indexed
    key.
    """
    by_date, by_key = statistics.median(times["by_date_ms"]), statistics.median(times["by_key_ms"])
    cost = by_date - by_key
    common: dict[str, Any] = {
        "subject": "journal",
        "source": JUDGEMENT,
        "threshold": "%d ms more" % SLOW_MS,
        "evidence": {
            "by_date_ms": by_date,
            "by_indexed_key_ms": by_key,
            "count_ms": statistics.median(times["count_ms"]),
            "rows": rows,
        },
    }
    if not times["sorts"] or cost <= SLOW_MS:
        return Finding(Severity.ok, f"the newest 20 journal rows take {by_date:.3g} ms", **common)
    more = "more than " if times["cut"] else ""
    return Finding(
        Severity.warning if cost > 10 * SLOW_MS else Severity.advice,
        "the journal sorts all its %d rows to show 20: %s%s ms" % (rows, more, figure(by_date)),
        remedy=f"{create} user_logs_action_date_idx ON user_logs (action_date);",
        impact_ms=cost,
        impact_per="journal view",
        **common,
    )


@check(
    "DB005",
    "database-indexes",
    "Indexes for foreign keys and the journal",
    "database",
    seconds=3.0,
    needs=("database",),
    tags=("indexes",),
)
def indexes(context: Context) -> Iterator[Finding]:
    """Time look-ups by foreign keys that have no index, and what Kallithea's journal and admin
    pages ask for.

    Foreign keys with which no index begins are looked at in tables of 10,000 rows and more: a
    look-up of a value that is not there is timed; more than 10 ms is advice. The journal's query
    (newest 20 rows of user_logs by action_date, joined with users and repositories) is shown to
    EXPLAIN and timed, for at most 3 s, and so is the same query by the primary key, which has an
    index: the difference is what an index on action_date saves per view. From 10 ms it is advice,
    from 100 ms a warning (our judgement). The count of all rows, which the pages also ask for, is
    shown; no index helps it. Nothing is written.
    """
    facts = survey(context)
    tables, url = facts["tables"], context.instance.database_url
    create = "CREATE INDEX CONCURRENTLY" if facts["engine"] == "PostgreSQL" else "CREATE INDEX"
    big = [
        key for key in facts["foreign_keys"] if tables.get(key[0], {}).get("rows", 0) >= BIG_TABLE
    ]
    seconds = max(0.3, context.deadline.left / 2)
    look_ups = (
        child.call(
            "kallithea_tune.perf_check.database.server:look_ups",
            seconds + 8,
            url=url,
            keys=big,
            limit=seconds,
        )
        if big
        else {}
    )
    yield from judge_foreign_keys(look_ups, tables, create)
    if facts.get("log"):
        seconds = max(0.5, min(3.0, context.deadline.left))
        times = child.call(
            "kallithea_tune.perf_check.database.server:journal", seconds + 8, url=url, limit=seconds
        )
        yield judge_journal(tables[LOG]["rows"], times, create)


def judge_growth(tables: Mapping[str, Any], rows_a_day: float, today: datetime.date) -> Finding:
    """Kallithea never deletes a row of user_logs, so it grows for ever; every journal view counts
    its rows.
    """
    rows = tables[LOG]["rows"]
    largest = sorted(tables, key=lambda name: -int(tables[name]["rows"]))[:2]
    evidence = {
        "largest": {name: tables[name]["rows"] for name in largest},
        "log_rows_a_day": rows_a_day,
    }
    common: dict[str, Any] = {
        "evidence": evidence,
        "threshold": "%d rows" % LOG_ROWS,
        "source": JUDGEMENT,
    }
    if rows < LOG_ROWS:
        return Finding(
            Severity.ok,
            "user_logs has %d rows and gets %s a day" % (rows, figure(rows_a_day)),
            **common,
        )
    year_ago = today - datetime.timedelta(days=365)
    return Finding(
        Severity.advice,
        "user_logs has %d rows and gets %s more a day" % (rows, figure(rows_a_day)),
        remedy=f"if nobody needs them: DELETE FROM user_logs WHERE action_date < '{year_ago}';",
        **common,
    )


@check(
    "DB006",
    "database-growth",
    "Table sizes and growth of user_logs",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def growth(context: Context) -> Iterator[Finding]:
    """Count the rows of each table and how fast user_logs grows.

    SQLite's rows are counted up to 100,000 and taken from the row ids beyond; the others give their
    own estimate. The growth is that of the last week of use or more. Kallithea adds a row for each
    clone, pull, push and administrative act, and never deletes one. From 500,000 rows it is advice;
    what that costs in milliseconds is measured by DB005.
    """
    facts = survey(context)
    if facts.get("log"):
        yield judge_growth(facts["tables"], facts["log"]["rows_a_day"], datetime.date.today())


def judge_free_pages(facts: Facts, path: str) -> Finding:
    """A SQLite file keeps the pages of deleted rows until VACUUM."""
    free = facts["free_pages"] * facts["page_size"] / 1e6
    share = 100.0 * facts["free_pages"] / max(facts["pages"], 1)
    common: dict[str, Any] = {
        "evidence": {"free_percent": share, "free_mb": free, "size_mb": size(facts) / 1e6},
        "threshold": "20 % and 10 MB",
        "source": JUDGEMENT,
    }
    if share <= 20 or free < 10:
        return Finding(Severity.ok, f"{share:.3g} % of the SQLite file is free pages", **common)
    return Finding(
        Severity.advice,
        f"{share:.3g} % of the SQLite file ({free:.3g} MB) is free pages",
        remedy=f"stop Kallithea, back the file up, and: sqlite3 {shlex.quote(path)} VACUUM",
        **common,
    )


def judge_autovacuum(tables: Mapping[str, Any], on: bool) -> Iterator[Finding]:
    """What lies beyond autovacuum's own limits says that it does not run, or does not keep up."""
    source = (
        "PostgreSQL manual, autovacuum_vacuum_scale_factor 0.2, autovacuum_analyze_scale_factor 0.1, thresholds"
        " of 50; floor of 1000 rows: our judgement"
    )
    dead = [
        name
        for name, table in tables.items()
        if table["dead"] > max(1000, 50 + 0.2 * table["rows"])
    ]
    stale = [
        name
        for name, table in tables.items()
        if table["rows"] >= 1000
        and (not table["analyzed"] or table["changed"] > max(1000, 50 + 0.1 * table["rows"]))
    ]
    for names, key, days, said, remedy, limit in (
        (
            dead,
            "dead",
            "vacuum_days",
            "%s of %s are dead rows, not vacuumed away",
            "VACUUM ANALYZE %s;",
            "20 %",
        ),
        (
            stale,
            "changed",
            "analyze_days",
            "PostgreSQL's statistics miss %s changed rows of %s",
            "ANALYZE %s;",
            "10 %",
        ),
    ):
        if not names:
            continue
        worst = max(names, key=lambda name: int(tables[name][key]))
        table = tables[worst]
        age = (
            {"last_" + days: table[days]}
            if table[days] is not None
            else {"last_" + days[:-5]: "never"}
        )
        yield Finding(
            Severity.warning if key == "dead" else Severity.advice,
            said % (table[key], worst),
            subject=worst,
            evidence={
                "rows": table["rows"],
                **age,
                "autovacuum": on,
                "tables": len(names),
                key: table[key],
            },
            threshold=f"50 + {limit}, and 1000",
            source=source,
            remedy=remedy % worst + _AGAIN[on],
        )
    if not on and not dead and not stale:
        yield Finding(
            Severity.warning,
            "autovacuum is off: dead rows pile up, and statistics age",
            evidence={"autovacuum": on},
            source="PostgreSQL manual, routine vacuuming",
            remedy="autovacuum = on in postgresql.conf, and reload",
        )
    elif not dead and not stale:
        ages = [
            table["vacuum_days"] for table in tables.values() if table["vacuum_days"] is not None
        ]
        yield Finding(
            Severity.ok,
            "dead rows and statistics are as autovacuum keeps them",
            source=source,
            evidence={
                "dead_rows": sum(table["dead"] for table in tables.values()),
                **({"last_vacuum_days": min(ages)} if ages else {"last_vacuum": "never"}),
            },
        )


_AGAIN = {False: " and set autovacuum = on", True: " and look why autovacuum did not"}


@check(
    "DB007",
    "database-vacuum",
    "Dead rows, free pages, statistics",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def vacuum(context: Context) -> Iterator[Finding]:
    """Compare free pages (SQLite's freelist_count) or dead rows (PostgreSQL's pg_stat_user_tables)
    with what is used.

    SQLite: advice when more than 20 % and 10 MB of the file are free. PostgreSQL: a warning when a
    table has more dead rows than autovacuum leaves by default (50 + 20 % of the rows, and 1,000) or
    autovacuum is off; advice when the statistics of a table of 1,000 rows miss as many changes as
    autovacuum never leaves (50 + 10 %), or there are none. The days since the last VACUUM or
    ANALYZE stand beside it. MySQL and MariaDB purge by themselves.
    """
    facts = survey(context)
    if facts["engine"] == "SQLite":
        yield judge_free_pages(facts, sqlite_file(context.instance.database_url) or "")
    elif facts["engine"] == "PostgreSQL":
        yield from judge_autovacuum(facts["tables"], facts["autovacuum"])


def judge_round_trip(times: Sequence[float]) -> Finding:
    """Each statement of a page waits for one round trip."""
    middle = statistics.median(times)
    common: dict[str, Any] = {
        "evidence": {"p50_ms": middle, "max_ms": max(times), "statements": len(times)},
        "threshold": "1 ms",
        "source": JUDGEMENT,
    }
    if middle <= 1:
        return Finding(
            Severity.ok,
            f"a statement reaches the database and comes back in {middle:.3g} ms",
            **common,
        )
    return Finding(
        Severity.advice,
        f"each statement waits {middle:.3g} ms for the way to the database",
        remedy="bring the database nearer: the same machine or the same switch",
        impact_ms=middle,
        impact_per="statement",
        **common,
    )


@check(
    "DB009",
    "database-round-trip",
    "Round trip to the database",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def round_trip(context: Context) -> Iterator[Finding]:
    """Send ``SELECT 1`` up to 50 times over one open connection, and take the median. Not for
    SQLite.

    A page of Kallithea sends about 30 statements one after the other (our measurement), so 1 ms
    each is felt.
    """
    facts = survey(context)
    if facts["engine"] != "SQLite":
        yield judge_round_trip(facts["round_trips_ms"])
