"""What only SQLite has: one file, one writer at a time, and a journal."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.checks.cache_regions import processes_of
from kallithea_tune.checks.database import JUDGEMENT, survey
from kallithea_tune.checks.model import Context, Finding, Severity, check
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.probes import child, contention
from kallithea_tune.probes.sqlite import NETWORK, file_system

CLIENTS = 8
LOAD_SECONDS = 1.0
GAIN_MS = 20
Load = Mapping[str, Any]


def judge_file(type: str, processes: Optional[int]) -> Finding:
    """SQLite relies on file locks, which network file systems get wrong, and lets one process write at a time."""
    common: dict[str, Any] = {
        "evidence": {"file_system": type, "processes": processes or "not said in the ini file"},
        "threshold": "a local file system, 1 process",
        "source": "https://www.sqlite.org/whentouse.html, situations where a client/server database may work better"}
    if type in NETWORK:
        return Finding(Severity.error, "the SQLite file is on a network file system (%s)" % type,
                       remedy="move the file to a local disk, or use PostgreSQL or MariaDB", **common)
    if processes is not None and processes > 1:
        return Finding(Severity.advice, "%d processes share one SQLite file, and one at a time writes" % processes,
                       remedy="see DB004; measure another with --compare-db postgresql://...", **common)
    return Finding(Severity.ok, "the SQLite file is local and one server process uses it", **common)


@check("DB001", "sqlite-sharing", "SQLite on a network or with several processes", "database", tags=("config",))
def sharing(context: Context) -> Iterator[Finding]:
    """Read which file system holds the SQLite file, and how many server processes the ini file asks for.

    On a network file system it is an error: its locks are often broken, and the file gets damaged. Several processes
    are advice to look at DB004, which measures how long they wait for one another.
    """
    path = context.instance.sqlite_path
    if path:
        yield judge_file(file_system(path), processes_of(context.instance))


def judge_timeout(timeout: Optional[float]) -> Finding:
    """Without a timeout in the URL Python's driver waits 5 s for a lock, and then the request fails."""
    common: dict[str, Any] = {
        "evidence": {"timeout_s": 5.0 if timeout is None else timeout, "set": timeout is not None},
        "threshold": "more than the driver's 5 s",
        "source": "Python sqlite3.connect: 5.0; Kallithea's ini template: 60"}
    if timeout is not None and timeout > 5:
        return Finding(Severity.ok, "a request waits up to %g s for another's lock" % timeout, **common)
    return Finding(
        Severity.advice, "a request that waits %g s for a lock fails" % (5 if timeout is None else timeout),
        remedy="end sqlalchemy.url with ?timeout=60", **common)


@check("DB003", "sqlite-timeout", "Busy timeout of SQLite", "database", tags=("config",))
def timeout(context: Context) -> Iterator[Finding]:
    """Read ``?timeout=`` of ``sqlalchemy.url``: how long a request waits for the lock of another, then fails.

    Unset, Python's driver takes 5 s; Kallithea's ini template says 60.
    """
    if context.instance.sqlite_path:
        yield judge_timeout(_timeout(context))


def _timeout(context: Context) -> Optional[float]:
    from sqlalchemy.engine.url import make_url

    value = make_url(context.instance.database_url).query.get("timeout")
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None


def _load(context: Context, url: str, journal_mode: str = "delete") -> Load:
    """Return the write load on `url`, measured once in a run for each URL and journal mode."""
    facts = survey(context)
    seconds = max(0.3, min(LOAD_SECONDS, context.deadline.left - 0.7))
    timeout = _timeout(context) if context.instance.sqlite_path else None
    result: Load = context.once("load %s %s" % (url, journal_mode), lambda: contention.measure(
        url, CLIENTS, seconds, facts.get("log", {}).get("lengths", (8, 20, 40)), 5.0 if timeout is None else timeout,
        journal_mode, facts.get("page_size", 4096)))
    return result


def shown(load: Load) -> dict[str, Any]:
    """Return what the report shows of a load."""
    write = load["write_ms"]
    return {
        "clients": load["clients"], "writes": write["n"], "writes_per_s": load["writes_per_s"],
        "alone_ms": load["alone_ms"], "write_p50_ms": write["p50"], "write_p99_ms": write["p99"],
        "write_max_ms": write["max"], "read_p99_ms": load["read_ms"]["p99"], "lock_errors": load["errors"],
    }


def worst_wait(load: Load) -> float:
    """Return the 99th percentile of reads or writes, whichever is worse, in milliseconds."""
    return max(float(load["write_ms"]["p99"]), float(load["read_ms"]["p99"]))


def judge_journal_mode(mode: str, type: str, now: Optional[Load], wal: Optional[Load]) -> Finding:
    """WAL lets readers and a writer go on at the same time; whether that gains anything here is measured."""
    common: dict[str, Any] = {
        "threshold": "p99 halved and %d ms gained" % GAIN_MS,
        "source": "https://www.sqlite.org/wal.html; gain: our judgement"}
    if mode == "wal" and type in NETWORK:
        return Finding(Severity.error, "WAL does not work on a network file system (%s)" % type,
                       evidence={"journal_mode": mode}, remedy="PRAGMA journal_mode = DELETE;", **common)
    if mode == "wal" or not now or not wal:
        return Finding(Severity.ok, "the journal mode is %s" % mode, evidence={"journal_mode": mode}, **common)
    before, after = worst_wait(now), worst_wait(wal)
    evidence = {"journal_mode": mode, "p99_ms": before, "wal_p99_ms": after, "clients": now["clients"]}
    if after * 2 > before or before - after < GAIN_MS:
        return Finding(Severity.ok, "journal mode %s: WAL would not be measurably better" % mode,
                       evidence=evidence, **common)
    return Finding(
        Severity.advice, "journal mode %s: waits of %.3g ms (p99), with WAL %.3g ms" % (mode, before, after),
        evidence=evidence, remedy="stop Kallithea; sqlite3 FILE 'PRAGMA journal_mode = WAL;'",
        impact_ms=before - after, impact_per="worst of 100 requests, %d at once" % now["clients"], **common)


@check("DB002", "sqlite-journal", "Journal mode of SQLite", "database", seconds=3.5,
       writes="a scratch file beside the SQLite file", needs=("database",), tags=("contention",))
def journal_mode(context: Context) -> Iterator[Finding]:
    """Put the same load on two scratch files beside the SQLite file, one in its journal mode, one in WAL.

    The load is that of DB004. WAL is advised when it halves the 99th percentile of reads or writes and gains 20 ms
    (our judgement). WAL needs shared memory: never on a network file system, where it is an error if on.
    """
    path = context.instance.sqlite_path
    facts = survey(context)
    if not path:
        return
    mode, type = facts["journal_mode"], file_system(path)
    if mode == "wal" or type in NETWORK:
        yield judge_journal_mode(mode, type, None, None)
        return
    url = context.instance.database_url
    now = _load(context, url, mode)
    yield judge_journal_mode(mode, type, now, _load(context, url, "wal"))


def judge_load(load: Load, busiest_minute: int) -> Finding:
    """Waits of 100 ms are felt; a lock error is a failed request."""
    evidence = dict(shown(load), busiest_minute_of_user_logs=busiest_minute)
    common: dict[str, Any] = {
        "evidence": evidence, "threshold": "p99 100 ms, no lock errors", "source": JUDGEMENT, "confidence": "medium"}
    wait = worst_wait(load)
    if wait <= 100 and not load["errors"]:
        return Finding(Severity.ok, "%d writers at once wait %.3g ms (p99)" % (load["clients"], wait), **common)
    return Finding(
        Severity.warning,
        "%d writers at once wait %.3g ms (p99), %d lock errors" % (load["clients"], wait, load["errors"]),
        remedy="see what another engine does: --compare-db postgresql://...",
        impact_ms=load["write_ms"]["mean"] - load["alone_ms"], impact_per="write, %d at once" % load["clients"],
        **common)


def judge_comparison(name: str, other: Load, load: Optional[Load]) -> Finding:
    """Moving to another engine must gain what is worth the work, under the same load."""
    evidence: dict[str, Any] = {"there": shown(other)}
    common: dict[str, Any] = {
        "subject": "--compare-db", "threshold": "p99 halved and %d ms gained" % GAIN_MS, "source": JUDGEMENT,
        "confidence": "medium"}
    there = worst_wait(other)
    if load is None:
        return Finding(Severity.ok, "%s: %d writers wait %.3g ms (p99)" % (name, other["clients"], there),
                       evidence=evidence, **common)
    here = worst_wait(load)
    evidence["here_p99_ms"] = here
    if there * 2 > here or here - there < GAIN_MS:
        return Finding(
            Severity.ok, "%s would gain nothing worth a move: p99 %.3g ms, here %.3g ms" % (name, there, here),
            evidence=evidence, **common)
    return Finding(
        Severity.advice, "%s under the same load: p99 %.3g ms, here %.3g ms" % (name, there, here),
        evidence=evidence, remedy="move the database there: gearbox db-migrate",
        impact_ms=load["write_ms"]["mean"] - other["write_ms"]["mean"],
        impact_per="write, %d at once" % load["clients"], **common)


@check("DB004", "database-contention", "Waits of concurrent writers", "database", seconds=2.0,
       writes="a scratch file beside the SQLite file, a scratch table in --compare-db", needs=("database",),
       tags=("contention",))
def contended(context: Context) -> Iterator[Finding]:
    """Have 8 processes at once read 20 log rows, insert one and commit, for a second, thinking 50 ms between.

    For SQLite that happens in a scratch file beside the database, of its journal mode, page size and busy timeout, with
    rows as long as those of user_logs. A 99th percentile above 100 ms or any lock error is a warning (our judgement);
    the busiest minute of user_logs stands beside it, to compare. With ``--compare-db URL`` the same load is put on a
    scratch table there, dropped afterwards, Ctrl-C included. A server that Kallithea uses itself is never written to.
    """
    facts = survey(context)
    load = None
    if context.instance.sqlite_path:
        load = _load(context, context.instance.database_url, facts["journal_mode"])
        yield judge_load(load, facts.get("log", {}).get("busiest_minute", 0))
    if context.compare_db:
        yield _compared(context, load)


def _compared(context: Context, load: Optional[Load]) -> Finding:
    name = context.compare_db.split(":", 1)[0].split("+")[0]
    try:
        return judge_comparison(name, _load(context, context.compare_db), load)
    except (NotMeasured, TuneError) as error:
        return Finding(Severity.unknown, "not measured: %s" % error, subject="--compare-db")


def judge_integrity(found: Mapping[str, Any]) -> Finding:
    """A damaged file gets worse with each write."""
    common: dict[str, Any] = {
        "evidence": {"complete": found["complete"], "took_ms": found["ms"]}, "threshold": "no complaint",
        "source": "https://www.sqlite.org/pragma.html#pragma_quick_check"}
    if found["complaints"]:
        return Finding(Severity.error, "the SQLite file is damaged: %s" % found["complaints"][0],
                       remedy="stop Kallithea, copy the file, restore a backup or sqlite3 .recover", **common)
    if not found["complete"]:
        return Finding(Severity.unknown, "not measured to the end: no damage seen in the part of the file checked",
                       remedy="at a quiet time: sqlite3 FILE 'PRAGMA quick_check;'", **common)
    return Finding(Severity.ok, "SQLite finds no damage in its file", **common)


@check("DB012", "sqlite-integrity", "Integrity of the SQLite file", "database", seconds=1.2, needs=("database",))
def integrity(context: Context) -> Iterator[Finding]:
    """Run ``PRAGMA quick_check`` on the SQLite file for at most a second, and say so when it did not come to the end.

    While it runs it holds a shared lock, which keeps writers waiting: hence the second.
    """
    survey(context)
    path = context.instance.sqlite_path
    if path:
        seconds = max(0.2, min(0.8, context.deadline.left - 0.3))
        yield judge_integrity(
            child.call("kallithea_tune.probes.sqlite:examine", seconds + 5, path=path, limit=seconds))
