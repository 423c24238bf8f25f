"""Whether concurrent writers wait too long for one another, and whether WAL or a move helps."""

from __future__ import annotations

import functools
from typing import Iterator, Mapping, Sequence

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database.client import SqlClient, sql_client
from kallithea_tune.perf_check.database.contention import (
    CLIENTS,
    Comparison,
    SqliteContention,
    comparison,
    sqlite_contention,
)
from kallithea_tune.perf_check.database.facts import DatabaseFacts
from kallithea_tune.perf_check.database.load import Kind, Load
from kallithea_tune.perf_check.database.server import database_facts
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Effect, Remedy
from kallithea_tune.perf_check.statistics import p99, p99_difference, p99_interval
from kallithea_tune.system.busyness import Part
from kallithea_tune.text import counted, figure, shell_word

LIMIT_MS = 100
GAIN_MS = 20
# With so many log rows in the busiest minute, one a second, writers meet often enough for a
# warning: our judgement.
BUSY_ROWS = 60
GAIN = f"halved, {GAIN_MS} ms less"


@check(
    "DB002",
    "sqlite-journal",
    "Journal mode of SQLite",
    measures=(sql_client, sqlite_contention),
    threshold=GAIN,
    source="https://www.sqlite.org/wal.html; the size of the gain is our judgement",
    tags=("contention",),
    disturbed_by=(Part.cpu, Part.disk),
)
def journal_mode(client: SqlClient, contention: SqliteContention) -> Iterator[Finding]:
    """Report where WAL, in which readers and a writer work at the same time, would be faster.

    WAL needs shared memory, so it is an error on a network file system.
    """
    if not contention.now:
        return
    mode, wal = contention.journal_mode, contention.wal
    if mode == "wal" and contention.on_network:
        yield Finding(
            Severity.error,
            "WAL does not work on a network file system",
            evidence={"journal_mode": mode},
            remedy=_set_journal_mode(client, "DELETE"),
        )
    elif not wal:
        message = f"the journal mode is {mode}"
        yield Finding(Severity.ok, message, evidence={"journal_mode": mode})
    else:
        yield _wal_gain(client, mode, contention.now, wal)


def _wal_gain(client: SqlClient, mode: str, now: Load, wal: Load) -> Finding:
    kind = slower_kind(now)
    slower_kind(wal)
    before, after = now.times_ms(kind), wal.times_ms(kind)
    finding = functools.partial(
        Finding,
        evidence={
            f"{mode}_p99_ms": p99(before),
            "wal_p99_ms": p99(after),
            kind.name: len(before),
        },
    )
    if not _gains(before, after):
        return finding(Severity.ok, f"journal mode {mode}: WAL would not be measurably better")
    return finding(
        Severity.advice,
        f"journal mode {mode}: 1 % of {kind.name} wait {figure(p99(before))} ms, "
        f"in WAL {figure(p99(after))}",
        remedy=_set_journal_mode(client, "WAL"),
        impact_ms=mean(before) - mean(after),
        impact_per=f"{kind.value}, {CLIENTS} clients",
        confidence="medium",
    )


def _set_journal_mode(client: SqlClient, mode: str) -> Remedy:
    sql = f"PRAGMA journal_mode = {mode}"
    return client.statements(sql, effect=Effect.reversible, stopped=True)


def slower_kind(load: Load) -> Kind:
    """Return the kind of requests with the worse 99th percentile.

    Raises NotMeasured when not one request of each kind succeeded.
    """
    if not load.writes_ms or not load.reads_ms:
        raise NotMeasured(f"no request succeeded: {''.join(load.errors[:1])}")
    return max(Kind, key=lambda kind: p99(load.times_ms(kind)))


def mean(samples: Sequence[float]) -> float:
    """Return the arithmetic mean; that of `statistics` is slow, since it is exact."""
    return sum(samples) / len(samples)


def _gains(before: Sequence[float], after: Sequence[float]) -> bool:
    gain_ms = p99(before) - p99(after)
    return (
        gain_ms >= GAIN_MS
        and p99(after) * 2 <= p99(before)
        and p99_difference(before, after).above_zero
    )


@check(
    "DB004",
    "database-contention",
    "Waits of concurrent writers",
    measures=(configuration, database_facts, sqlite_contention),
    threshold=f"{LIMIT_MS} ms",
    source="our judgement",
    tags=("contention",),
    disturbed_by=(Part.cpu, Part.disk),
)
def contended(
    config: Configuration, facts: DatabaseFacts, contention: SqliteContention
) -> Iterator[Finding]:
    """Report noticeable waits and failed requests under the load, in the file's journal mode.

    The load is far beyond that of most installations, so waits are only advice where the busiest
    minute of user_logs has few rows.
    """
    if contention.now:
        busiest_minute = facts.log.busiest_minute if facts.log else 0
        remedy = _remedy(contention, config.instance.path)
        yield judge_load(contention.now, busiest_minute, remedy)


def judge_load(load: Load, busiest_minute: int, remedy: str) -> Finding:
    """Judge the waits of one load, and give them the remedy."""
    finding = functools.partial(Finding, confidence="medium")
    if load.errors:
        return finding(
            Severity.warning,
            f"with {load.clients} clients at once, {counted(len(load.errors), 'request')} failed: "
            f"{load.errors[0]}",
            evidence={
                "failed": len(load.errors),
                "writes": len(load.writes_ms),
                "busiest_minute": busiest_minute,
            },
            remedy=remedy,
        )
    kind = slower_kind(load)
    interval = p99_interval(load.times_ms(kind))
    evidence = {
        **_percentiles(load),
        "busiest_minute": busiest_minute,
        "writes_per_s": len(load.writes_ms) / load.seconds,
        "p99_between_ms": [round(interval.low, 1), round(interval.high, 1)],
    }
    if interval.low <= LIMIT_MS:
        message = f"{load.clients} clients at once wait little for one another"
        return finding(Severity.ok, message, evidence=evidence)
    return finding(
        Severity.warning if busiest_minute >= BUSY_ROWS else Severity.advice,
        f"with {load.clients} clients at once, 1 % of {kind.name} wait "
        f"{figure(interval.estimate)} ms",
        evidence=evidence,
        remedy=remedy,
        impact_ms=mean(load.writes_ms) - load.alone_ms,
        excess=interval.low / LIMIT_MS,
        impact_per=f"write, {load.clients} clients",
    )


def _remedy(contention: SqliteContention, ini: str) -> str:
    """Return WAL where that helps, or the command that shows whether another engine would."""
    now, wal = contention.now, contention.wal
    if now and wal and all((now.reads_ms, now.writes_ms, wal.reads_ms, wal.writes_ms)):
        kind = slower_kind(now)
        if _gains(now.times_ms(kind), wal.times_ms(kind)):
            return f"see DB002: in WAL 1 % of them wait {figure(p99(wal.times_ms(kind)))} ms"
    command = f"gearbox perf-check -c {shell_word(ini)} --only DB013"
    return f"{command} --compare-db postgresql://USER@HOST/NAME"


@check(
    "DB013",
    "database-comparison",
    "The same load on another engine",
    measures=(comparison,),
    threshold=GAIN,
    source="our judgement",
    tags=("contention",),
    harm=Harm.housekeeping,
    disturbed_by=(Part.cpu, Part.disk),
)
def compared(result: Comparison) -> Iterator[Finding]:
    """Report whether moving to --compare-db gains enough to be worth it, under the same load."""
    yield _comparison(result.there, result.here)


def _comparison(there: Load, here: Mapping[str, Load]) -> Finding:
    slower_kind(there)
    finding = functools.partial(
        Finding,
        evidence={
            "there": _percentiles(there),
            **{"here_" + name: _percentiles(load) for name, load in here.items()},
        },
        confidence="medium",
    )
    waits_there = f"{_waits(there)} on {there.engine}"
    if "now" not in here:
        return finding(Severity.ok, f"1 % of writes/reads wait {waits_there}")
    now = here["now"]
    kind = slower_kind(now)
    before, after = now.times_ms(kind), there.times_ms(kind)
    waits = f"1 % of writes/reads wait {_waits(now)} here, {waits_there}"
    if not _gains(before, after):
        return finding(Severity.ok, f"{waits}: no gain worth a move")
    return finding(
        Severity.advice,
        f"{waits}: a gain",
        remedy="move the database there: gearbox db-migrate",
        impact_ms=mean(before) - mean(after),
        impact_per=f"{kind.value}, {CLIENTS} clients",
    )


def _waits(load: Load) -> str:
    return f"{figure(p99(load.writes_ms))}/{figure(p99(load.reads_ms))} ms"


def _percentiles(load: Load) -> dict[str, object]:
    """Return the evidence of a load, the slower kind first."""
    slower = slower_kind(load)
    kinds = sorted(Kind, key=lambda kind: kind is not slower)
    return {
        **{f"{kind.value}_p99_ms": p99(load.times_ms(kind)) for kind in kinds},
        "alone_ms": load.alone_ms,
    }
