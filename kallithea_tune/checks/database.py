"""Whether the database answers, how fast, and whether its tables and indexes fit what Kallithea asks."""

from __future__ import annotations

import datetime
import statistics
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.checks.model import Context, Finding, Severity, check
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.probes import child
from kallithea_tune.probes import database as probe
from kallithea_tune.probes.database import LOG, Facts

JUDGEMENT = "our judgement"
BIG_TABLE = 10_000
LOG_ROWS = 500_000
SLOW_MS = 10
SECONDS = 1.5


def survey(context: Context) -> Facts:
    """Return what the database says of itself, asked once for all checks.

    Raises NotMeasured with a word only: why it cannot be used is the finding of DB000.
    """
    try:
        return _survey(context)
    except (NotMeasured, TuneError):
        raise NotMeasured("the database cannot be used, see DB000") from None


def _survey(context: Context) -> Facts:
    facts: Facts = context.once(
        "database", lambda: probe.facts(context.instance, max(context.deadline.left, 0.5) + 8))
    return facts


def judge_reachable(facts: Facts) -> Finding:
    """Say which engine answers, and how large the database is."""
    tables = facts["tables"]
    if not tables:
        return Finding(Severity.error, "the database is empty", evidence={"tables": 0},
                       remedy="kallithea-cli db-create -c my.ini")
    evidence: dict[str, Any] = {
        "tables": len(tables), "rows": sum(table["rows"] for table in tables.values()), "size_mb": size(facts) / 1e6}
    return Finding(Severity.ok, "%s %s answers" % (facts["engine"], facts["version"]), evidence=evidence)


def size(facts: Facts) -> int:
    """Return the bytes that tables and indexes take."""
    if "pages" in facts:
        return int(facts["pages"] * facts["page_size"])
    return sum(table["bytes"] for table in facts["tables"].values())


@check("DB000", "database-reachable", "Database reachable", "database", seconds=SECONDS, needs=("database",),
       shares="database")
def reachable(context: Context) -> Iterator[Finding]:
    """Connect to the database of ``sqlalchemy.url``, read-only, and ask it for its version and its tables.

    An empty URL, an unknown dialect, a missing driver, a server that is down, a wrong password, a SQLite file that is
    missing, damaged or locked for more than 2 s: each is an error with its own sentence, and all other checks of the
    area are then not measured. A SQLite file that does not exist is never created.
    """
    try:
        yield judge_reachable(_survey(context))
    except (NotMeasured, TuneError) as error:
        yield Finding(
            Severity.error, "the database cannot be used: %s" % error,
            remedy="check sqlalchemy.url, its driver, and that the server runs")


def judge_foreign_keys(look_ups: Mapping[str, float], tables: Mapping[str, Any]) -> Finding:
    """A foreign key without index makes each look-up by it, and each delete of what it points to, read the table."""
    slow = {name: taken for name, taken in look_ups.items() if taken > SLOW_MS}
    common: dict[str, Any] = {
        "subject": "foreign keys", "threshold": "%d ms" % SLOW_MS,
        "evidence": {"timed": len(look_ups), "slow": len(slow)},
        "source": "PostgreSQL manual, foreign keys: they get no index by themselves; 10 ms is our judgement"}
    if not slow:
        return Finding(Severity.ok, "no foreign key needs an index it has not", **common)
    worst = max(slow, key=lambda name: slow[name])
    table, column = worst.split(".")
    return Finding(
        Severity.advice, "a look-up by %s reads all %d rows: %.3g ms" % (worst, tables[table]["rows"], slow[worst]),
        remedy="CREATE INDEX %s_%s_idx ON %s (%s);" % (table, column, table, column),
        impact_ms=slow[worst], impact_per="look-up by " + worst, **common)


def judge_journal(rows: int, times: Mapping[str, Any], concurrently: bool = False) -> Finding:
    """Set the newest 20 log rows by date, which no index serves, against the same by the indexed key."""
    by_date, by_key = statistics.median(times["by_date_ms"]), statistics.median(times["by_key_ms"])
    evidence = {"rows": rows, "by_date_ms": by_date, "by_indexed_key_ms": by_key,
                "count_ms": statistics.median(times["count_ms"]), "sorts": times["sorts"]}
    cost = by_date - by_key
    common: dict[str, Any] = {
        "subject": "journal", "evidence": evidence, "source": JUDGEMENT,
        "threshold": "%d ms more than by the key" % SLOW_MS}
    if not times["sorts"] or cost <= SLOW_MS:
        return Finding(Severity.ok, "the newest 20 journal rows take %.3g ms" % by_date, **common)
    return Finding(
        Severity.warning if cost > 10 * SLOW_MS else Severity.advice,
        "the journal sorts %d rows to show 20: %.3g ms" % (rows, by_date),
        remedy="CREATE INDEX %sul_action_date_idx ON user_logs (action_date);" % ("CONCURRENTLY " * concurrently),
        impact_ms=cost, impact_per="journal view", **common)


@check("DB005", "database-indexes", "Indexes for foreign keys and the journal", "database", seconds=1.5,
       needs=("database",), tags=("indexes",))
def indexes(context: Context) -> Iterator[Finding]:
    """Time look-ups by foreign keys that have no index, and what Kallithea's journal and admin pages ask for.

    Foreign keys that no index begins with are looked at in tables of 10,000 rows and more: a look-up of a value that
    is not there is timed; more than 10 ms is advice. The journal's query (newest 20
    rows of user_logs by action_date, joined with users and repositories) is shown to EXPLAIN and timed up to seven
    times, and so is the same query by the primary key, which has an index: the difference is what an index on
    action_date saves per view. From 10 ms it is advice, from 100 ms a warning. The count of all rows, which the pages
    also ask for, is shown; no index helps it. Nothing is written.
    """
    facts = survey(context)
    tables, url = facts["tables"], context.instance.database_url
    big = [key for key in facts["foreign_keys"] if tables.get(key[0], {}).get("rows", 0) >= BIG_TABLE]
    look_ups = child.call("kallithea_tune.probes.database:look_ups", 10, url=url, keys=big) if big else {}
    yield judge_foreign_keys(look_ups, tables)
    if facts.get("log"):
        times = child.call("kallithea_tune.probes.database:journal", context.deadline.left + 8, url=url)
        yield judge_journal(tables[LOG]["rows"], times, facts["engine"] == "PostgreSQL")


def judge_growth(tables: Mapping[str, Any], rows_a_day: float, today: datetime.date) -> Finding:
    """Kallithea never deletes a row of user_logs, so it grows for ever; every journal view counts its rows."""
    rows = tables[LOG]["rows"]
    largest = sorted(tables, key=lambda name: -int(tables[name]["rows"]))[:3]
    evidence = {"rows": {name: tables[name]["rows"] for name in largest}, "log_rows_a_day": rows_a_day}
    common: dict[str, Any] = {"evidence": evidence, "threshold": "%d rows" % LOG_ROWS, "source": JUDGEMENT}
    if rows < LOG_ROWS:
        return Finding(Severity.ok, "user_logs has %d rows and gets %.3g a day" % (rows, rows_a_day), **common)
    try:
        year_ago = today.replace(year=today.year - 1)
    except ValueError:  # 29 February
        year_ago = today.replace(year=today.year - 1, day=28)
    return Finding(
        Severity.advice, "user_logs has %d rows and gets %.3g more a day" % (rows, rows_a_day),
        remedy="if nobody needs them: DELETE FROM user_logs WHERE action_date < '%s';" % year_ago, **common)


@check("DB006", "database-growth", "Table sizes and growth of user_logs", "database", seconds=SECONDS,
       needs=("database",), shares="database")
def growth(context: Context) -> Iterator[Finding]:
    """Count the rows of each table (SQLite: exactly; others: the engine's estimate) and how fast user_logs grows.

    The growth is that of the newest 1,000 rows. Kallithea adds a row for each clone, pull, push and administrative
    act, and never deletes one. From 500,000 rows it is advice; what that costs in milliseconds is measured by DB005.
    """
    facts = survey(context)
    if facts.get("log"):
        yield judge_growth(facts["tables"], facts["log"]["rows_a_day"], datetime.date.today())


def judge_free_pages(facts: Facts) -> Finding:
    """A SQLite file keeps the pages of deleted rows until VACUUM."""
    free = facts["free_pages"] * facts["page_size"] / 1e6
    share = 100.0 * facts["free_pages"] / max(facts["pages"], 1)
    common: dict[str, Any] = {
        "evidence": {"size_mb": size(facts) / 1e6, "free_mb": free, "free_percent": share},
        "threshold": "20 % and 10 MB", "source": JUDGEMENT}
    if share <= 20 or free < 10:
        return Finding(Severity.ok, "%.3g %% of the SQLite file is free pages" % share, **common)
    return Finding(Severity.advice, "%.3g %% of the SQLite file (%.3g MB) is free pages" % (share, free),
                   remedy="stop Kallithea, back the file up, and run: sqlite3 FILE VACUUM", **common)


def judge_dead_rows(tables: Mapping[str, Any]) -> Iterator[Finding]:
    """Dead rows beyond autovacuum's own limit, or big tables without statistics, say that autovacuum does not run."""
    def wasteful(table: Mapping[str, Any]) -> bool:
        return bool(table["dead"] > 50 + 0.2 * table["rows"] and table["dead"] > 1000)

    dead = {name: table["dead"] for name, table in tables.items() if wasteful(table)}
    blind = [name for name, table in tables.items() if not table["analyzed"] and table["rows"] >= 1000]
    source = "PostgreSQL manual, autovacuum_vacuum_scale_factor 0.2; floor of 1000 rows: our judgement"
    if dead:
        worst = max(dead, key=lambda name: dead[name])
        yield Finding(
            Severity.warning, "%d tables are full of dead rows, %s above all" % (len(dead), worst),
            evidence={"dead_rows": dead, "rows": {name: tables[name]["rows"] for name in dead}},
            threshold="50 + 20 % of the rows", source=source,
            remedy="VACUUM ANALYZE %s; and see that autovacuum is on" % worst)
    if blind:
        yield Finding(
            Severity.advice, "PostgreSQL has no statistics on %s" % ", ".join(blind),
            evidence={"rows": {name: tables[name]["rows"] for name in blind}}, threshold="1000 rows",
            source=source, remedy="ANALYZE; and see that autovacuum is on")
    if not dead and not blind:
        yield Finding(Severity.ok, "dead rows and statistics are as autovacuum keeps them", source=source,
                      evidence={"dead_rows": sum(table["dead"] for table in tables.values())})


@check("DB007", "database-vacuum", "Dead rows, free pages, statistics", "database", seconds=SECONDS,
       needs=("database",), shares="database")
def vacuum(context: Context) -> Iterator[Finding]:
    """Compare free pages (SQLite's freelist_count) or dead rows (PostgreSQL's pg_stat_user_tables) with what is used.

    SQLite: advice when more than 20 % and 10 MB of the file are free. PostgreSQL: a warning when a table has more dead
    rows than autovacuum leaves by default (50 + 20 % of the rows, and 1,000), advice when a table of 1,000 rows was
    never analyzed. MySQL and MariaDB purge by themselves.
    """
    facts = survey(context)
    if facts["engine"] == "SQLite":
        yield judge_free_pages(facts)
    elif facts["engine"] == "PostgreSQL":
        yield from judge_dead_rows(facts["tables"])


def judge_round_trip(times: Sequence[float]) -> Finding:
    """Each statement of a page waits for one round trip."""
    middle = statistics.median(times)
    common: dict[str, Any] = {
        "evidence": {"p50_ms": middle, "max_ms": max(times), "statements": len(times)},
        "threshold": "1 ms", "source": JUDGEMENT}
    if middle <= 1:
        return Finding(Severity.ok, "a statement reaches the database and comes back in %.3g ms" % middle, **common)
    return Finding(
        Severity.advice, "each statement waits %.3g ms for the way to the database" % middle,
        remedy="bring the database nearer: the same machine or the same switch",
        impact_ms=middle, impact_per="statement", **common)


@check("DB009", "database-round-trip", "Round trip to the database", "database", seconds=SECONDS,
       needs=("database",), shares="database")
def round_trip(context: Context) -> Iterator[Finding]:
    """Send ``SELECT 1`` up to 50 times over one open connection, and take the median. Not for SQLite.

    A page of Kallithea sends dozens of statements one after the other, so 1 ms each is felt (our judgement).
    """
    facts = survey(context)
    if facts["engine"] != "SQLite":
        yield judge_round_trip(facts["round_trips_ms"])
