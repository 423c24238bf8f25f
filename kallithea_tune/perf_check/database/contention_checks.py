"""What several writers at once wait for one another: in this journal mode, in WAL, and on another
engine.
"""

from __future__ import annotations

import shlex
from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.url import sqlite_file
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.database import contention
from kallithea_tune.perf_check.database.contention import Target
from kallithea_tune.perf_check.database.server_checks import JUDGEMENT, survey
from kallithea_tune.perf_check.database.sqlite_checks import (
    DRIVER_TIMEOUT,
    busy_timeout,
    file_system,
)
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.perf_check.statistics import p99, p99_difference, p99_interval
from kallithea_tune.system.mounts import NETWORK
from kallithea_tune.text import figure

CLIENTS = 8
LOAD_SECONDS = 1.5
LIMIT_MS = 100
GAIN_MS = 20
# Log rows in the busiest minute from which on writers meet often enough for a warning: one a
# second, our judgement.
BUSY = 60
GAIN = "halved, %d ms less" % GAIN_MS
Load = Mapping[str, Any]


def _measured(context: Context, key: str, targets: Mapping[str, Target]) -> Mapping[str, Load]:
    """Put the load on `targets`, once in a run for each `key`."""
    lengths = survey(context).get("log", {}).get("lengths", (8, 20, 40))
    seconds = max(0.4, min(LOAD_SECONDS, (context.deadline.left - 1.5) / len(targets)))
    loads: Mapping[str, Load] = context.once(
        key, lambda: contention.measure(targets, CLIENTS, seconds, lengths)
    )
    return loads


def _here(context: Context) -> Mapping[str, Load]:
    """Return the load beside the SQLite file in its journal mode (``now``) and, where it can be
    had, in ``wal``.
    """
    facts, instance = survey(context), context.instance
    timeout = busy_timeout(instance)
    mode = facts["journal_mode"]
    modes = {"now": mode} if mode == "wal" or _on_network(context) else {"now": mode, "wal": "wal"}
    return _measured(
        context,
        "contention",
        {
            name: Target(
                instance.database_url,
                DRIVER_TIMEOUT if timeout is None else timeout,
                mode,
                facts["page_size"],
            )
            for name, mode in modes.items()
        },
    )


def _on_network(context: Context) -> bool:
    return file_system(context, sqlite_file(context.instance.database_url) or "") in NETWORK


def worse_of(load: Load) -> tuple[str, Sequence[float]]:
    """Return ``reads`` or ``writes``, whichever has the worse 99th percentile, with the
    milliseconds of each.

    Raises NotMeasured when not one of each came to its end.
    """
    if not load["writes"] or not load["reads"]:
        raise NotMeasured("no request came to its end: {}".format("; ".join(load["errors"][:1])))
    kind = max(("writes", "reads"), key=lambda kind: p99(load[kind]))
    return kind, load[kind]


def mean(samples: Sequence[float]) -> float:
    """Return the arithmetic mean, of which `statistics` makes a fraction first."""
    return sum(samples) / len(samples)


def judge_journal_mode(
    mode: str, on_network: bool, loads: Mapping[str, Load], path: str
) -> Finding:
    """WAL lets readers and a writer go on at the same time; whether that gains anything here is
    measured.
    """
    common: dict[str, Any] = {
        "threshold": GAIN,
        "source": "https://www.sqlite.org/wal.html; the size of the gain is our judgement",
    }
    remedy = f"stop Kallithea; sqlite3 {shlex.quote(path)} 'PRAGMA journal_mode = %s'"
    if mode == "wal" and on_network:
        return Finding(
            Severity.error,
            "WAL does not work on a network file system",
            evidence={"journal_mode": mode},
            remedy=remedy % "DELETE",
            **common,
        )
    if "wal" not in loads:
        return Finding(
            Severity.ok, f"the journal mode is {mode}", evidence={"journal_mode": mode}, **common
        )
    kind, before = worse_of(loads["now"])
    worse_of(loads["wal"])
    after = loads["wal"][kind]
    evidence = {f"{mode}_p99_ms": p99(before), "wal_p99_ms": p99(after), kind: len(before)}
    if not _gains(before, after):
        return Finding(
            Severity.ok,
            f"journal mode {mode}: WAL would not be measurably better",
            evidence=evidence,
            **common,
        )
    return Finding(
        Severity.advice,
        f"journal mode {mode}: 1 % of {kind} waits {figure(p99(before))} ms, in WAL {figure(p99(after))}",
        evidence=evidence,
        remedy=remedy % "WAL",
        impact_ms=mean(before) - mean(after),
        impact_per="%s, %d clients" % (kind[:-1], CLIENTS),
        confidence="medium",
        **common,
    )


def _gains(before: Sequence[float], after: Sequence[float]) -> bool:
    gain = p99(before) - p99(after)
    return (
        gain >= GAIN_MS
        and p99(after) * 2 <= p99(before)
        and p99_difference(before, after).above_zero
    )


@check(
    "DB002",
    "sqlite-journal",
    "Journal mode of SQLite",
    "database",
    seconds=5.0,
    writes="a scratch file beside the SQLite file",
    needs=("database",),
    tags=("contention",),
    shares="contention",
)
def journal_mode(context: Context) -> Iterator[Finding]:
    """Put the load of DB004 on two scratch files beside the SQLite file, one in its journal mode,
    one in WAL, in turn.

    WAL is advised when it halves the 99th percentile of reads or writes, gains 20 ms (our
    judgement), and the gain is beyond the noise (95 % bootstrap interval). WAL needs shared memory:
    on a network file system it is an error.
    """
    path = sqlite_file(context.instance.database_url)
    if path:
        mode = survey(context)["journal_mode"]
        yield judge_journal_mode(mode, _on_network(context), _here(context), path)


def judge_load(load: Load, busiest_minute: int, remedy: str) -> Finding:
    """Waits of 100 ms are felt, the more so where writers often meet; a lock error is a failed
    request.
    """
    common: dict[str, Any] = {
        "threshold": "%d ms" % LIMIT_MS,
        "source": JUDGEMENT,
        "confidence": "medium",
        "remedy": remedy,
    }
    if load["errors"]:
        count = len(load["errors"])
        return Finding(
            Severity.warning,
            "of %d clients at once, %d requests failed: %s"
            % (load["clients"], count, load["errors"][0]),
            evidence={
                "failed": count,
                "writes": len(load["writes"]),
                "busiest_minute": busiest_minute,
            },
            **common,
        )
    kind, waits = worse_of(load)
    interval = p99_interval(waits)
    common["evidence"] = {
        **_side(load),
        "busiest_minute": busiest_minute,
        "writes_per_s": len(load["writes"]) / load["seconds"],
        "p99_between_ms": [round(interval.low, 1), round(interval.high, 1)],
    }
    if interval.low <= LIMIT_MS:
        return Finding(
            Severity.ok,
            "%d clients at once wait little for one another" % load["clients"],
            **{**common, "remedy": ""},
        )
    return Finding(
        Severity.warning if busiest_minute >= BUSY else Severity.advice,
        "of %d clients at once, 1 %% of %s waits %s ms"
        % (load["clients"], kind, figure(interval.estimate)),
        impact_ms=mean(load["writes"]) - load["alone_ms"],
        impact_per="write, %d clients" % load["clients"],
        **common,
    )


@check(
    "DB004",
    "database-contention",
    "Waits of concurrent writers",
    "database",
    seconds=5.0,
    writes="a scratch file beside the SQLite file",
    needs=("database",),
    tags=("contention",),
    shares="contention",
)
def contended(context: Context) -> Iterator[Finding]:
    """Have 8 processes at once read 20 log rows, insert one and commit, for 1.5 s, thinking 50 ms
    between.

    For SQLite alone, in a scratch file beside the database, of its journal mode, page size and busy
    timeout, with rows as long as those of user_logs. It is a warning when the 99th percentile is
    above 100 ms (our judgement) with 95 % confidence, advice where the busiest minute of user_logs
    has less than 60 rows (our judgement, too), as the load is far beyond that. A failed request is
    a warning. A server that Kallithea uses itself is never written to.
    """
    facts = survey(context)
    if sqlite_file(context.instance.database_url):
        loads = _here(context)
        yield judge_load(
            loads["now"],
            facts.get("log", {}).get("busiest_minute", 0),
            _way_out(loads, context.instance),
        )


def _way_out(loads: Mapping[str, Load], instance: Instance) -> str:
    """Return what to do about waits: WAL where that helps, or what shows whether another engine
    would.
    """
    if "wal" in loads and all(load["reads"] and load["writes"] for load in loads.values()):
        kind, before = worse_of(loads["now"])
        if _gains(before, loads["wal"][kind]):
            return "see DB002: in WAL 1 % of them waits {} ms".format(
                figure(p99(loads["wal"][kind]))
            )
    return f"gearbox perf-check -c {shlex.quote(instance.path)} --only DB013 --compare-db postgresql://USER@HOST/NAME"


def judge_comparison(there: Load, here: Mapping[str, Load]) -> Finding:
    """Moving to another engine must gain what is worth the work, under the same load."""
    worse_of(there)
    common: dict[str, Any] = {
        "evidence": {
            "there": _side(there),
            **{"here_" + name: _side(load) for name, load in here.items()},
        },
        "threshold": GAIN,
        "source": JUDGEMENT,
        "confidence": "medium",
    }
    said = "{} on {}".format(_waits(there), there["engine"])
    if not here:
        return Finding(Severity.ok, f"1 % of writes/reads waits {said}", **common)
    kind, before = worse_of(here["now"])
    said = "1 % of writes/reads waits {} here, {}: ".format(_waits(here["now"]), said)
    if not _gains(before, there[kind]):
        return Finding(Severity.ok, said + "no gain worth a move", **common)
    return Finding(
        Severity.advice,
        said + "a gain",
        remedy="move the database there: gearbox db-migrate",
        impact_ms=mean(before) - mean(there[kind]),
        impact_per="%s, %d clients" % (kind[:-1], CLIENTS),
        **common,
    )


def _waits(load: Load) -> str:
    return "{}/{} ms".format(figure(p99(load["writes"])), figure(p99(load["reads"])))


def _side(load: Load) -> dict[str, Any]:
    kinds = ("writes", "reads") if worse_of(load)[0] == "writes" else ("reads", "writes")
    return {
        **{kind[:-1] + "_p99_ms": p99(load[kind]) for kind in kinds},
        "alone_ms": load["alone_ms"],
    }


@check(
    "DB013",
    "database-comparison",
    "The same load on another engine",
    "database",
    seconds=3.0,
    writes="a scratch table in --compare-db",
    needs=("database",),
    tags=("contention",),
)
def compared(context: Context) -> Iterator[Finding]:
    """With ``--compare-db URL``, put the load of DB004 on a scratch table there, and set both side
    by side.

    The table is named kallithea_tune_scratch_ and 16 hexadecimal digits, and dropped afterwards,
    Ctrl-C included. A move is advised when it halves the 99th percentile of reads or writes and
    gains 20 ms beyond the noise. Kallithea's own database is never written to, so where that is a
    server, the other one is shown alone.
    """
    if not context.compare_db:
        return
    if not sqlite_file(context.instance.database_url) and _same(
        context.compare_db, context.instance.database_url
    ):
        raise NotMeasured("--compare-db is Kallithea's own database, which is not written to")
    here = _here(context) if sqlite_file(context.instance.database_url) else {}
    there = _measured(context, "contention there", {"there": Target(context.compare_db)})["there"]
    yield judge_comparison(there, here)


def _same(one: str, other: str) -> bool:
    from sqlalchemy.engine.url import make_url

    places = [
        (url.get_backend_name(), url.host, url.port, url.database)
        for url in map(make_url, (one, other))
    ]
    return places[0] == places[1]
