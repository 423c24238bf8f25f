"""How Kallithea's pool of connections and the server's limits and memory fit together."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Optional

from kallithea_tune.config.instance import as_bool
from kallithea_tune.config.wsgi_server import server_of
from kallithea_tune.perf_check.database.server import Facts
from kallithea_tune.perf_check.database.server_checks import JUDGEMENT, SECONDS, size, survey
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check


def setting(settings: Mapping[str, str], name: str, default: int) -> int:
    """Return the engine option ``sqlalchemy.<name>``, or SQLAlchemy's own default."""
    try:
        return int(settings.get("sqlalchemy." + name, "").strip())
    except ValueError:
        return default


def judge_connections(used: int, allowed: int, wanted: Optional[int]) -> Finding:
    """When the server's last connection is taken, every further request fails."""
    share = 100.0 * used / allowed
    evidence = {
        "used": used,
        "max_connections": allowed,
        "kallithea_may_open": wanted or "not known",
    }
    common: dict[str, Any] = {
        "evidence": evidence,
        "threshold": "70 and 90 %",
        "source": "postgresqltuner, connection information; SQLAlchemy, QueuePool",
    }
    if share > 70:
        return Finding(
            Severity.error if share > 90 else Severity.warning,
            "%d of the database server's %d connections are in use" % (used, allowed),
            remedy="max_connections = %d in the server's configuration" % ((allowed * 2,)),
            **common,
        )
    if wanted and wanted > allowed:
        return Finding(
            Severity.warning,
            "Kallithea may open %d connections, the server allows %d" % (wanted, allowed),
            remedy="set sqlalchemy.pool_size = 1 and sqlalchemy.max_overflow = 2",
            **common,
        )
    return Finding(
        Severity.ok, "in use: %d of the server's %d connections" % (used, allowed), **common
    )


def may_open(processes: Optional[int], threads: Optional[int], pool: int) -> Optional[int]:
    """Return how many connections all processes may open: each a pool of them, but no more than it
    has threads.
    """
    return processes * min(threads or pool, pool) if processes else None


@check(
    "DB008",
    "database-connections",
    "Connections used and allowed",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def connections(context: Context) -> Iterator[Finding]:
    """Count the connections in use (pg_stat_activity, Threads_connected) against the server's
    max_connections.

    More than 70 % is a warning, more than 90 % an error, as postgresqltuner has it. What Kallithea
    may open is its processes times the lesser of its threads and pool_size + max_overflow (5 + 10
    unless set); Celery's workers, started from the same ini file, take one each and are counted
    when Celery is used. Not for SQLite.
    """
    facts = survey(context)
    if facts["engine"] == "SQLite":
        return
    instance = context.instance
    pool = setting(instance.settings, "pool_size", 5) + setting(
        instance.settings, "max_overflow", 10
    )
    server = server_of(instance)
    wanted = may_open(server.processes, server.threads, pool)
    if wanted and as_bool(instance.settings.get("use_celery", "false")):
        workers = instance.settings.get("celery.worker_concurrency", "1").strip()
        wanted += int(workers) if workers.isdigit() else 1
    yield judge_connections(facts["connections"], facts["max_connections"], wanted)


def judge_recycle(recycle: int, pre_ping: bool, idle_timeout: float, engine: str) -> Finding:
    """A pooled connection that the server closed meanwhile makes the next request fail."""
    common: dict[str, Any] = {
        "evidence": {
            "pool_recycle_s": recycle,
            "pool_pre_ping": pre_ping,
            "idle_timeout_s": idle_timeout,
        },
        "threshold": "the idle timeout",
        "source": "SQLAlchemy manual, setting pool recycle; MariaDB manual, wait_timeout",
    }
    if idle_timeout <= 0:
        return Finding(Severity.ok, f"{engine} closes no idle connections", **common)
    if pre_ping or 0 <= recycle < idle_timeout:
        return Finding(
            Severity.ok, f"pooled connections are renewed before {engine} closes them", **common
        )
    return Finding(
        Severity.warning,
        "{} closes idle connections after {:g} s, the pool keeps them {}".format(
            engine, idle_timeout, "for ever" if recycle < 0 else "%d s" % recycle
        ),
        remedy="set sqlalchemy.pool_recycle = %d" % max(1, int(idle_timeout) // 2),
        **common,
    )


@check(
    "DB011",
    "database-pool-recycle",
    "Age of pooled connections",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def pool_recycle(context: Context) -> Iterator[Finding]:
    """Compare ``sqlalchemy.pool_recycle`` with the server's own limit for idle connections.

    That limit is wait_timeout of MySQL and MariaDB, and idle_session_timeout of PostgreSQL (off
    unless set). Where the pool keeps connections longer, the first request after a quiet time
    fails. Not for SQLite.
    """
    facts = survey(context)
    if facts["engine"] == "SQLite":
        return
    settings = context.instance.settings
    yield judge_recycle(
        setting(settings, "pool_recycle", -1),
        as_bool(settings.get("sqlalchemy.pool_pre_ping", "false")),
        facts["idle_timeout_s"],
        facts["engine"],
    )


def judge_buffer_pool(pool: int, data: int, requests: int, reads: int) -> Finding:
    """What does not fit into InnoDB's memory is read from disk again."""
    missed = 100.0 * reads / max(requests, 1)
    common: dict[str, Any] = {
        "evidence": {
            "buffer_pool_mb": pool / 1e6,
            "database_mb": data / 1e6,
            "read_from_disk_percent": missed,
        },
        "threshold": "the size of the database",
        "source": JUDGEMENT,
    }
    if data <= pool:
        return Finding(Severity.ok, "the database fits into InnoDB's buffer pool", **common)
    return Finding(
        Severity.advice,
        f"the database ({data / 1e6:.0f} MB) outgrew InnoDB's buffer pool ({pool / 1e6:.0f} MB)",
        remedy="innodb_buffer_pool_size = %dM in the server's [mysqld]"
        % ((data * 5 // 4 // 1_000_000 + 1,)),
        **common,
    )


@check(
    "DB010",
    "database-buffer-pool",
    "InnoDB's buffer pool",
    "database",
    seconds=SECONDS,
    needs=("database",),
    shares="database",
)
def buffer_pool(context: Context) -> Iterator[Finding]:
    """Compare innodb_buffer_pool_size with the bytes of Kallithea's tables and indexes; MySQL and
    MariaDB only.

    The share of page requests that went to the disk since the server started stands beside it.
    """
    facts: Facts = survey(context)
    if "buffer_pool_bytes" in facts:
        yield judge_buffer_pool(
            facts["buffer_pool_bytes"], size(facts), facts["page_requests"], facts["page_reads"]
        )
