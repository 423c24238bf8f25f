"""Whether the stores of sessions and caches work, answer, and forget what is old."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Callable, Iterator, Optional

from kallithea_tune.perf_check.caching.beaker_files_checks import (
    DAILY,
    MANY_FILES,
    NEVER_REMOVED,
    TOO_MANY_FILES,
)
from kallithea_tune.perf_check.caching.servers import ANSWER_SECONDS, Answer
from kallithea_tune.perf_check.caching.stores import SESSIONS, Rows, Store, Stores, stores
from kallithea_tune.perf_check.database.client import SqlClient
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Command, Effect, Steps, app_options, steps_of
from kallithea_tune.text import figure, megabytes

SLOW_MS, FULL_SHARE = 20.0, 0.9
JUDGEMENT = "our judgement"
MONTH = "2592000"
# Beaker stores the local time.
_DAYS_AGO = {
    "sqlite": "datetime('now', 'localtime', '-{days} days')",
    "postgresql": "LOCALTIMESTAMP - INTERVAL '{days} days'",
    "mysql": "NOW() - INTERVAL {days} DAY",
}


def judge_failure(store: Store, section: str) -> Finding:
    """A store that Beaker cannot make fails at each use."""
    sessions = store.user == SESSIONS
    fails = "every page fails" if sessions else f"every use of region {store.user} fails"
    return Finding(
        Severity.error,
        f"{store.user} in {store.type}: {fails} ({store.failure})",
        subject=store.user,
        evidence={"type": store.type, "said": store.failure},
        threshold="it can be created and used",
        source="tried here, with the installed Beaker",
        remedy=app_options(section, {store.option: "file"}),
    )


def judge_rows(store: Store, rows: Rows, client: SqlClient) -> Finding:
    """Judge the rows that nobody has accessed for longer than a session lasts."""
    finding = partial(
        Finding,
        subject=store.user,
        evidence={"rows": rows.rows, "old": rows.old, "table": rows.table},
        threshold=f"{MANY_FILES} old or {TOO_MANY_FILES}",
        source=NEVER_REMOVED,
    )
    diagnosis = (
        f"of {rows.rows} rows in {rows.table}, {rows.old} were not used for {rows.days} days"
    )
    if rows.old < MANY_FILES and rows.rows < TOO_MANY_FILES:
        return finding(Severity.ok, diagnosis)
    return finding(
        Severity.warning if rows.rows >= TOO_MANY_FILES else Severity.advice,
        diagnosis,
        remedy=client.statements(
            f"DELETE FROM {client.quoted(rows.table)} WHERE accessed < "
            # Where only few are old, new ones are made faster than that.
            + _DAYS_AGO[client.dialect].format(days=rows.days if rows.old * 10 > rows.rows else 7),
            DAILY,
            Effect.deletes,
        ),
    )


def judge_answer(store: Store, answer: Answer, section: str) -> Finding:
    """Judge a server by whether it answers, how fast, and whether it is full."""
    name = _name(store, answer)
    finding = partial(
        Finding,
        subject=f"{store.user}, {answer.place}",
        threshold=f"answers within {ANSWER_SECONDS:g} s, {SLOW_MS:g} ms a request",
        source=JUDGEMENT,
        evidence={
            "said": answer.failed or "answered",
            "answer_ms": answer.answer_ms,
            "used_mb": answer.used / 1e6,
            "limit_mb": answer.limit / 1e6 if answer.limit else "none",
            "entries": answer.entries,
            "evicted": answer.evicted,
        },
    )
    if answer.failed:
        waits = "every page waits or fails" if store.user == SESSIONS else "its cache is lost"
        return finding(
            Severity.error,
            f"{name} does not work ({answer.failed}): {waits}",
            remedy=app_options(section, {store.option: "file"}, f"unless you start {name}"),
        )
    full = _judge_memory(store, answer, finding, section)
    if full:
        return full
    if answer.answer_ms > SLOW_MS:
        return finding(
            Severity.advice,
            f"{name} takes {figure(answer.answer_ms)} ms a request, and a page makes several",
            remedy="keep it on this host, or in the same network",
            impact_ms=answer.answer_ms,
            impact_per="request to it",
        )
    return finding(Severity.ok, f"{name} answers in {figure(answer.answer_ms)} ms")


def _judge_memory(
    store: Store, answer: Answer, finding: Callable[..., Finding], section: str
) -> Optional[Finding]:
    """Judge whether the server has room for what it is to keep."""
    name = _name(store, answer)
    sessions = store.user == SESSIONS
    if (
        answer.policy == "noeviction"
        and answer.limit
        and (answer.used >= FULL_SHARE * answer.limit)
    ):
        return finding(
            Severity.error,
            f"{name} is full ({megabytes(answer.used)} of {megabytes(answer.limit)}) and refuses"
            " what does not fit",
            remedy=replace(
                _redis(answer, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
                note="and in redis.conf",
                effect=Effect.reversible,
            ),
        )
    if answer.evicted and sessions:
        return finding(
            Severity.warning,
            f"{name} has evicted {answer.evicted} entries for lack of memory: users are signed out",
            remedy=f"more than {megabytes(answer.limit)}, or a server for sessions alone",
        )
    if answer.everlasting >= MANY_FILES and sessions and not store.timeout:
        return finding(
            Severity.warning,
            f"{answer.everlasting} entries of {name} never expire: each visit leaves one",
            remedy=Steps(
                (*steps_of(app_options(section, {"session.timeout": MONTH})), _expiring(answer))
            ),
        )
    return None


def _redis(answer: Answer, *words: str) -> Command:
    host, _, port = answer.place.rpartition(":")
    return Command(("redis-cli", "-h", host, "-p", port, *words))


def _name(store: Store, answer: Answer) -> str:
    return f"{store.type.partition(':')[2]} at {answer.place}"


def _expiring(answer: Answer) -> Command:
    """Return the command that gives the sessions without an end a month."""
    script = (
        "for _, key in ipairs(redis.call('keys', 'beaker_cache:*')) do "
        "if redis.call('ttl', key) == -1 then "
        f"redis.call('expire', key, {MONTH}) end end"
    )
    return _redis(answer, "EVAL", script, "0")


@check(
    "CAC010",
    "cache-stores",
    "Stores of sessions and caches on servers",
    measures=(stores,),
    harm=Harm.access,
    tags=("cache", "probe"),
)
def store_state(measured: Stores) -> Iterator[Finding]:
    """Judge each store that is neither files nor memory."""
    for store in measured.stores:
        if store.failure:
            yield judge_failure(store, measured.section)
        if store.rows and store.client:
            yield judge_rows(store, store.rows, store.client)
        for answer in store.answers:
            yield judge_answer(store, answer, measured.section)
        if store.reason:
            yield Finding(Severity.unknown, f"not measured: {store.reason}", subject=store.user)
